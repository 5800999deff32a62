//! Increments that are encrypted, or that add to what is.

use serde_json::{Value, json};

use super::front_door::{increment, path, run};
use crate::roundtrip::encrypted::{Key, decrypted};
use crate::roundtrip::restore::{change, dump};
use crate::support::portal::{PlainPortal, members, tree};
use crate::support::service::Service;

fn edit(portal: &PlainPortal, step: i64) {
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.execute("update note set body = 'link' where id % 7 = ?1", [step]).unwrap();
    std::fs::write(portal.files().join("new.txt"), format!("{step}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_chain_comes_back() {
    let (portal, key) = (PlainPortal::new(5000), Key::new());
    let mut service = Service::start(&(portal.config() + &key.both())).await;
    let mut links = Vec::new();
    for step in 0..3 {
        edit(&portal, step);
        let (archive, warnings) = increment(&service).await;
        let (mode, expected) = match step {
            0 => ("full", 1),
            _ => ("incremental", 0),
        };
        assert_eq!(
            (archive["mode"].as_str(), warnings.as_array().unwrap().len()),
            (Some(mode), expected)
        );
        assert!(archive["name"].as_str().unwrap().ends_with(".tar.gz.age"), "{archive}");
        links.push(archive);
    }
    let last = &links[2];
    let id = last["id"].as_str().unwrap();
    let (rows, files) = (dump(&portal.database()), tree(&portal.files()));
    assert!(!members(&decrypted(&path(last), &key)).contains_key("storage/noise.bin"));
    for reference in [id, path(last).to_str().unwrap(), last["url"].as_str().unwrap()] {
        let (ok, text) = run(&service, &["verify", reference]);
        assert!(ok && text.contains("5003 rows"), "{text}");
    }
    change(&portal);
    service.restore(&json!({"backupId": id, "dump": true})).await;
    assert_eq!(tree(&portal.files()), files);
    let restored = dump(&portal.database());
    let restored: std::collections::HashSet<_> = restored.lines().collect();
    assert!(rows.lines().all(|row| restored.contains(row)));

    // As one archive it is encrypted, too.
    let (ok, text) = run(&service, &["consolidate", id, "--json"]);
    assert!(ok, "{text}");
    let made: Value = serde_json::from_str(&text).unwrap();
    assert!(made["archive"]["name"].as_str().unwrap().ends_with(".tar.gz.age"), "{text}");
    assert!(members(&decrypted(&path(&made["archive"]), &key)).contains_key("storage/noise.bin"));
    let (ok, text) = run(&service, &["verify", made["archive"]["id"].as_str().unwrap()]);
    assert!(ok && text.contains("is whole"), "{text}");

    // Other keys for all of them: each is found by its id all the same.
    let new = Key::new();
    service.kill();
    service.reconfigure(|text| text.replace(&key.both(), &new.both()));
    service.restart().await;
    let (ok, text) = run(&service, &["rekey", "--all", "--identity", &key.file()]);
    assert!(ok, "{text}");
    let (ok, text) = run(&service, &["verify", id]);
    assert!(ok && text.contains("5003 rows"), "{text}");
    std::fs::write(portal.files().join("new.txt"), "after").unwrap();
    service.restore(&json!({"backupId": id, "dump": true})).await;
    assert_eq!(tree(&portal.files()), files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_increment_needs_and_nobody_opens_is_told() {
    let (portal, key) = (PlainPortal::new(1000), Key::new());
    let mut service = Service::start(&(portal.config() + &key.both())).await;
    let (full, _) = increment(&service).await;
    // In clear, upon what is encrypted.
    service.kill();
    let identity = format!("[encryption]\nidentity_file = \"{}\"\n", key.file());
    service.reconfigure(|text| text.replace(&key.both(), &identity));
    service.restart().await;
    edit(&portal, 1);
    let (clear, warnings) = increment(&service).await;
    assert_eq!((&clear["parentId"], warnings), (&full["id"], json!([])));
    let (id, file) = (clear["id"].as_str().unwrap(), path(&clear));
    assert!(file.to_str().unwrap().ends_with(".tar.gz"));
    let (ok, text) = run(&service, &["verify", file.to_str().unwrap()]);
    assert!(ok && text.contains("1003 rows"), "{text}");

    service.kill();
    service.reconfigure(|text| text.replace(&identity, &key.recipients()));
    service.restart().await;
    let files = tree(&portal.files());
    for reference in [id, file.to_str().unwrap()] {
        let (ok, text) = run(&service, &["verify", reference]);
        let name = full["name"].as_str().unwrap();
        assert!(!ok && text.contains(name) && text.contains("--identity FILE"), "{text}");
        let (ok, text) = run(&service, &["restore", reference, "--yes"]);
        assert!(!ok && text.contains(name) && text.contains("--identity FILE"), "{text}");
        let (ok, text) = run(&service, &["verify", reference, "--identity", &key.file()]);
        assert!(ok && text.contains("1003 rows"), "{text}");
    }
    assert_eq!(tree(&portal.files()), files, "nothing was touched");

    // What cannot be read cannot be added to.
    for number in 0..2 {
        let (full, warnings) = increment(&service).await;
        assert_eq!((&full["mode"], &full["parentId"]), (&json!("full"), &Value::Null), "{number}");
        let warning = warnings[0].as_str().unwrap();
        assert!(warning.contains("a full backup was made"), "{warning}");
        assert!(warning.contains("identity"), "{warning}");
    }
}
