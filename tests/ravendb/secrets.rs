//! Configuration documents that hold secrets. Issue: "secrets in it are stored only when the configuration allows, with
//! a warning message in the status".

use serde_json::{Value, json};

use super::raven::{Raven, rows};

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

    // Other keys for everything: these archives' names cannot change, and that is no failure.
    let output = raven.service.cli(&["rekey", "--all"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("2 backups of RavenDB's API stay"), "{said}");
}
