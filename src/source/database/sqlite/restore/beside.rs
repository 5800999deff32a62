//! The files of one attempt: `.{file}.portal-backup-{attempt}` beside the live file, and with `-old` the state that
//! the live file had.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::source::restore::AttemptId;

/// What SQLite puts beside a database file.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub live: PathBuf,
    pub staged: PathBuf,
    pub kept: PathBuf,
}

impl Beside {
    /// `path`: the live file, which may be a link, or not exist.
    pub fn new(path: &Path, attempt: &AttemptId) -> Self {
        let live = resolve(path);
        let mut name = OsString::from(".");
        name.push(live.file_name().unwrap_or_default());
        name.push(format!(".portal-backup-{attempt}"));
        let staged = live.with_file_name(&name);
        name.push("-old");
        Self { kept: live.with_file_name(name), staged, live }
    }

    /// Removes what the attempt staged and kept.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.staged)?;
        remove(&self.kept)?;
        self.sync_folder()
    }

    /// Makes names on disc what they are.
    pub fn sync_folder(&self) -> io::Result<()> {
        File::open(folder(&self.live))?.sync_all()
    }
}

/// Where a file really lies: SQLite puts its journals there, too.
pub(super) fn resolve(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

/// Makes an empty file that only we can read: it gets everything that the portal knows.
pub(super) fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Puts a file's content on disc. Never for a file that others have open: closing it would end their locks.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a database and what SQLite put beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for companion in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(companion);
        gone(std::fs::remove_file(Path::new(&name)))?;
    }
    gone(std::fs::remove_file(path))
}
