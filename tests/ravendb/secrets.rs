//! Configuration documents that hold secrets. Issue: "secrets in it are stored only when the configuration allows, with
//! a warning message in the status".

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::raven::{Raven, rows};
use crate::support::portal::tree;

const DATABASE: &str = "/databases/Northwind";
const AGE: &[u8] = b"age-encryption.org/v1";

/// A backup with a secret in its document; what its messages say of secrets.
async fn backup(raven: &Raven) -> String {
    let document = json!({"Id": "X", "SecuredSettings": {"Raven/Key": "hunter2"}});
    let body = json!({"BackupLocation": "bk", "DatabaseDocument": document});
    let messages = raven.backup(DATABASE, "", body).await;
    let texts: Vec<_> = messages.iter().map(|m| m["Message"].as_str().unwrap()).collect();
    let warnings: Vec<_> = texts.iter().filter(|text| text.contains("secrets")).collect();
    assert_eq!(warnings.len(), 1, "{texts:?}");
    (*warnings[0]).to_owned()
}

#[tokio::test]
async fn they_are_stored_where_it_is_allowed() {
    let raven = Raven::start("[ravendb]\nstore_secrets = true\n").await;
    let warning = backup(&raven).await;
    assert_eq!(warning, "Warning: Database.Document holds secrets in clear");
    let stored = std::fs::read_to_string(raven.at("bk/Database.Document")).unwrap();
    assert!(stored.contains("hunter2"), "{stored}");
}

/// Issue: "since configuration documents and dumps carry secrets … encrypts every archive"
#[tokio::test]
async fn they_are_encrypted_where_archives_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passphrase");
    std::fs::write(&file, "correct horse battery staple").unwrap();
    let more = format!(
        "[ravendb]\nstore_secrets = true\n[encryption]\npassphrase_file = \"{}\"\n",
        file.display()
    );
    let raven = Raven::start(&more).await;
    let warning = backup(&raven).await;
    assert!(warning.ends_with("is encrypted as the backup is"), "{warning}");
    for name in ["Database.Document", "RavenDB.Voron.Backup"] {
        let stored = std::fs::read(raven.at("bk").join(name)).unwrap();
        assert!(stored.starts_with(AGE), "{name}");
    }
    let done = raven.restore("/admin/restore", json!({"BackupLocation": "bk"})).await;
    assert_eq!(done["Faulted"], false, "{done}");
    assert_eq!(rows(&raven.portal.dir.path().join("X.db")), rows(&raven.portal.database()));
    // One without secrets stays as it was for everybody.
    raven.good_backup("/fs/NorthwindFS", "", "fs").await;
    let document = std::fs::read(raven.at("fs/Filesystem.Document")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&document).unwrap()["Id"], "NorthwindFS");
}

/// A key as `age-keygen` makes it, in a file; and the configuration of a service that has it.
fn key(dir: &Path, name: &str) -> (String, String) {
    let file = dir.join(name).display().to_string();
    let made = Command::new("age-keygen").args(["-o", &file]).output().unwrap();
    assert!(made.status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let section =
        format!("[encryption]\nrecipients = [\"{recipient}\"]\nidentity_file = \"{file}\"\n");
    (file, section)
}

/// What `age` makes of a file; None: the key does not open it.
fn clear(file: &Path, key: &str) -> Option<Vec<u8>> {
    let age = Command::new("age").args(["-d", "-i", key]).arg(file).output().unwrap();
    age.status.success().then_some(age.stdout)
}

/// Issue: "Key rotation: `portal-backup rekey`", of these backups too: full ones, increments and documents.
#[tokio::test]
async fn other_keys_are_made_for_backups_and_documents() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [key(dir.path(), "a"), key(dir.path(), "b"), key(dir.path(), "c")];
    let more = "[ravendb]\nstore_secrets = true\n";
    let mut raven = Raven::start(&format!("{more}{}", keys[0].1)).await;
    backup(&raven).await;
    let increment = async |raven: &Raven| {
        let db = rusqlite::Connection::open(raven.portal.database()).unwrap();
        db.execute("insert into note (body, weight) values ('more', 1)", []).unwrap();
        raven.good_backup(DATABASE, "?incremental=true", "inc").await;
        let newest = raven.service.json("/v1/archives?limit=1").await["items"][0].clone();
        newest["mode"].as_str().unwrap().to_owned()
    };
    assert_eq!(increment(&raven).await, "full");
    assert_eq!(increment(&raven).await, "incremental");

    // Each time the other of two names: RavenDB's own, and that with `.age`.
    for (turn, ending) in [(1, ".age"), (2, "")] {
        let (old, new) = (&keys[turn - 1], &keys[turn]);
        raven.service.kill();
        raven.service.reconfigure(|text| text.replace(&old.1, &new.1));
        raven.service.restart().await;
        let output = raven.service.cli(&["rekey", "--all", "--identity", &old.0, "--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said["failed"], json!([]));
        assert_eq!(said["rekeyed"].as_array().unwrap().len(), 2 + turn, "{said}");
        let files: Vec<_> = tree(&raven.at("bk")).into_keys().collect();
        assert_eq!(
            files,
            [format!("Database.Document{ending}"), format!("RavenDB.Voron.Backup{ending}")]
        );
        for file in files {
            let file = raven.at("bk").join(file);
            assert!(clear(&file, &old.0).is_none(), "{}", file.display());
            assert!(clear(&file, &new.0).is_some(), "{}", file.display());
        }
        let document = clear(&raven.at(&format!("bk/Database.Document{ending}")), &new.0).unwrap();
        assert!(String::from_utf8(document).unwrap().contains("hunter2"));

        // They are what they were: restored, added to, and not written over.
        let rows_now = rows(&raven.portal.database());
        for (from, more) in [("bk", 0), ("inc", 1 + turn)] {
            let name = format!("{from}{turn}");
            let body = json!({"BackupLocation": from, "DatabaseName": name});
            let done = raven.restore("/admin/restore", body).await;
            assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
            let restored = rows(&raven.portal.dir.path().join(format!("{name}.db")));
            assert_eq!(restored.len(), rows_now.len() - (1 + turn) + more, "{name}");
            assert!(restored.iter().all(|row| rows_now.contains(row)), "{name}");
        }
        let messages = raven.backup(DATABASE, "", json!({"BackupLocation": "bk"})).await;
        let last = messages.last().unwrap()["Message"].as_str().unwrap();
        assert!(last.contains("Denying request to perform a full backup"), "{last}");
        assert_eq!(increment(&raven).await, "incremental");
    }
}
