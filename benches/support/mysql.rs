//! The machine's MariaDB: `root@127.0.0.1:3306` without a password.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::Result;

pub const ACCESS: &str = "--host=127.0.0.1 --port=3306 --user=root";

pub fn url(database: &str) -> String {
    format!("mysql://root@127.0.0.1:3306/{database}")
}

fn client() -> Command {
    let mut command = Command::new("mariadb");
    command.args(ACCESS.split(' ')).args(["--batch", "--skip-column-names"]);
    command.args(["--default-character-set=utf8mb4"]);
    command
}

/// Runs statements and returns what they print, fields parted by tabs.
pub fn query(sql: &str) -> Result<String> {
    let output = client().args(["--execute", sql]).output()?;
    if !output.status.success() {
        return Err(format!("mariadb: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A client that is being fed statements.
pub struct Load(Child);

impl Load {
    pub fn into(database: &str) -> Result<Self> {
        Ok(Self(client().arg(database).stdin(Stdio::piped()).spawn()?))
    }

    pub fn send(&mut self, sql: &[u8]) -> Result<()> {
        Ok(self.0.stdin.as_mut().ok_or("mariadb has no input")?.write_all(sql)?)
    }

    pub fn finish(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        if self.0.wait()?.success() { Ok(()) } else { Err("mariadb refused the rows".into()) }
    }
}
