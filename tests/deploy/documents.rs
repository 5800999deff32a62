//! Commands of the documents, run. A block of `docs/OPERATIONS.md` that begins with "```sh tested PART" is run
//! here: the blocks of one part in their order, as one script, on a machine of their own, where the paths of
//! the document lie in a temporary folder.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::rendered::root;
use crate::support::portal::{PlainPortal, tree};

fn blocks(part: &str) -> String {
    let document = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let mut script = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```sh tested ") == Some(part) {
            for command in lines.by_ref().take_while(|line| *line != "```") {
                script += command;
                script.push('\n');
            }
        }
    }
    assert!(!script.is_empty(), "no block is marked {part}");
    script
}

/// A machine by its folder: the service's configuration, catalog and key are on it, the portal and the
/// archives are not.
struct Machine<'a> {
    dir: tempfile::TempDir,
    port: u16,
    archives: &'a Path,
    portal: &'a PlainPortal,
}

impl<'a> Machine<'a> {
    fn new(archives: &'a Path, portal: &'a PlainPortal) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let machine = Self { dir, port, archives, portal };
        for folder in ["bin", "etc/portal-backup", "var/lib/portal-backup", "safe"] {
            std::fs::create_dir_all(machine.dir.path().join(folder)).unwrap();
        }
        // On this machine /etc is elsewhere, so the program has to be told.
        let program = machine.dir.path().join("bin/portal-backup");
        let wrapper = format!(
            "#!/bin/sh\nexec {} \"$@\" --config /etc/portal-backup/portal-backup.toml\n",
            env!("CARGO_BIN_EXE_portal-backup")
        );
        std::fs::write(&program, machine.place(&wrapper)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[catalog]\nurl = \"sqlite:///var/lib/portal-backup/catalog.db\"\n[storage.local]\nroot = \"/backups\"\n{}",
            portal.config()
        );
        let file = machine.dir.path().join("etc/portal-backup/portal-backup.toml");
        std::fs::write(file, machine.place(&config)).unwrap();
        machine
    }

    fn place(&self, text: &str) -> String {
        let home = self.dir.path().display().to_string();
        text.replace("/etc/portal-backup", &format!("{home}/etc/portal-backup"))
            .replace("/var/lib/portal-backup", &format!("{home}/var/lib/portal-backup"))
            .replace("/backups", &self.archives.display().to_string())
            .replace("/safe", &format!("{home}/safe"))
            .replace("127.0.0.1:5012", &format!("127.0.0.1:{}", self.port))
    }

    /// Runs the blocks of a part as one script; what they printed.
    fn run(&self, part: &str) -> String {
        // What the script leaves running ends with it.
        let script = format!(
            "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{}",
            self.place(&blocks(part))
        );
        let path = format!("{}/bin:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("timeout")
            .args(["120", "bash", "-x", "-c", &script])
            .current_dir(self.portal.dir.path())
            .env("PATH", path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{part}:\n{said}\n{log}");
        said
    }
}

#[test]
fn moving_in_and_what_comes_after_work_as_written() {
    let portal = PlainPortal::new(200);
    let archives = tempfile::tempdir().unwrap();
    let before = tree(&portal.files());
    {
        let machine = Machine::new(archives.path(), &portal);
        let said = machine.run("moving");
        assert!(said.contains("\"isCompleted\":true"), "{said}");
        assert!(machine.run("monitoring").contains("portal_backup_last_success_timestamp_seconds"));
        machine.run("catalog");
        let safe = std::fs::read_dir(machine.dir.path().join("safe")).unwrap().count();
        assert!(safe >= 3, "only {safe} files were put in safety");
    }
    // The machine is gone, and what the portal was.
    std::fs::remove_dir_all(portal.files()).unwrap();
    std::fs::create_dir(portal.files()).unwrap();
    for file in ["portal.db", "portal.db-wal", "portal.db-shm"] {
        let _ = std::fs::remove_file(portal.dir.path().join(file));
    }
    rusqlite::Connection::open(portal.database()).unwrap().execute_batch("vacuum").unwrap();

    let machine = Machine::new(archives.path(), &portal);
    let said = machine.run("recovery");
    assert!(tree(&portal.files()) == before, "other files came back: {said}");
    let database = rusqlite::Connection::open(portal.database()).unwrap();
    let rows: u32 = database.query_row("select count(*) from note", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 200);
}
