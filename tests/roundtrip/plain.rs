use std::process::Command;

use serde_json::{Value, json};

use super::local_path;
use crate::support::portal::{PlainPortal, members, tree};
use crate::support::service::Service;

#[tokio::test]
async fn an_archive_holds_every_row_and_file() {
    let portal = PlainPortal::new(20_000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let path = local_path(&archive);
    let members = members(&path);

    for (name, content) in tree(&portal.files()) {
        assert_eq!(members.get(&format!("storage/{name}")), Some(&content), "{name}");
    }
    assert_eq!(members["dump"], b"True");
    assert!(!members.contains_key("databases/data/empty"));

    let copy = service.dir.path().join("copy.db");
    let db = rusqlite::Connection::open(&copy).unwrap();
    for part in ["scheme", "data"] {
        for (_, sql) in members.range(format!("databases/{part}/")..format!("databases/{part}0")) {
            db.execute_batch(std::str::from_utf8(sql).unwrap()).unwrap();
        }
    }
    // Tables are loaded in another order than they were made in.
    let dump = |path: &std::path::Path| {
        let dump = Command::new("sqlite3").arg(path).arg(".dump").output().unwrap().stdout;
        let mut lines: Vec<_> = dump.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert!(dump(&copy).len() > 20_000);
    assert!(dump(&copy) == dump(&portal.database()));
}

#[tokio::test]
async fn everybodys_tools_read_an_archive_without_a_word() {
    let portal = PlainPortal::new(100);
    let service = Service::start(&portal.config()).await;
    let path = local_path(&service.backup("Local", json!([])).await);
    let python = "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]):\n    pass";
    for command in [
        Command::new("tar").arg("tzf").arg(&path),
        Command::new("gzip").arg("-t").arg(&path),
        Command::new("python3").arg("-c").arg(python).arg(&path),
    ] {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
    }
}

#[tokio::test]
async fn verbs_read_what_the_service_stored() {
    let portal = PlainPortal::new(1000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let path = local_path(&archive);
    let run = |args: &[&str]| {
        let output = service.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };

    for reference in [id, path.to_str().unwrap(), archive["url"].as_str().unwrap()] {
        assert_eq!(run(&["verify", reference, "--json"])["ok"], true, "{reference}");
        let entries = run(&["ls", reference, "--json"]);
        let paths: Vec<_> = entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["path"].as_str().unwrap())
            .collect();
        assert!(paths.contains(&"databases/data/note"), "{paths:?}");
    }
    let out = service.dir.path().join("out");
    run(&[
        "extract",
        id,
        "storage/deep",
        "databases/scheme/note",
        "--into",
        out.to_str().unwrap(),
        "--json",
    ]);
    let extracted = tree(&out);
    assert_eq!(extracted["storage/deep/naïve 100% #1.txt"], b"x");
    assert!(extracted.contains_key("databases/scheme/note"));
    assert_eq!(run(&["list", "--json"])[0]["id"], id);

    // A catalog that is lost is rebuilt from the archives.
    let other = Service::prepare(&format!(
        "[storage.local]\nroot = \"{}\"\n{}",
        service.backups().display(),
        portal.config()
    ));
    let output = other.cli(&["import", "local", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(imported["added"][0]["id"], id);
    assert_eq!(imported["added"][0]["sha256"], archive["sha256"]);
    let again = other.cli(&["import", "local", "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["known"].as_array().unwrap().len(), 1);
}
