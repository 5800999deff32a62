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

    // What cannot be read, and of which nothing was kept, cannot be added to.
    catalog(&service).execute("delete from portal_backup_memos", []).unwrap();
    let (full, warnings) = increment(&service).await;
    assert_eq!((&full["mode"], &full["parentId"]), (&json!("full"), &Value::Null));
    let warning = warnings[0].as_str().unwrap();
    assert!(warning.contains("a full backup was made"), "{warning}");
    assert!(warning.contains("identity"), "{warning}");
}

fn catalog(service: &Service) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(service.dir.path().join("catalog.db")).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    db
}

/// What the catalog keeps of an archive.
fn memo(service: &Service, archive: &Value) -> Vec<String> {
    let db = catalog(service);
    let sql = "select content from portal_backup_memos where archive_id = ?1 order by part";
    let mut rows = db.prepare(sql).unwrap();
    let rows = rows.query_map([archive["id"].as_str().unwrap()], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn size(archive: &Value) -> u64 {
    archive["size"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_open_archives_adds_to_them_all_the_same() {
    let (portal, key) = (PlainPortal::new(40_000), Key::new());
    let mut service = Service::start(&(portal.config() + &key.recipients())).await;
    let mut links: Vec<Value> = Vec::new();
    for step in 0..4 {
        // Of the last step but one nothing is new in the tables, so that its lists lie in its parent.
        match step {
            2 => std::fs::write(portal.files().join("new.txt"), "2").unwrap(),
            step => edit(&portal, step),
        }
        let (archive, warnings) = increment(&service).await;
        let (mode, expected) = if step == 0 { ("full", 1) } else { ("incremental", 0) };
        assert_eq!(archive["mode"], mode, "{warnings}");
        assert_eq!(warnings.as_array().unwrap().len(), expected, "{warnings}");
        if let Some(parent) = links.last() {
            assert_eq!(archive["parentId"], parent["id"]);
        }
        links.push(archive);
        // Nothing that was only in memory is needed.
        service.kill();
        service.restart().await;
    }
    assert!(size(&links[2]) * 10 < size(&links[0]), "{links:?}");
    let (last, files) = (&links[3], tree(&portal.files()));
    let rows = dump(&portal.database());
    for link in &links {
        let memo = memo(&service, link);
        assert!(!memo.is_empty() && memo.iter().all(|part| part.starts_with("sealed:v1:")));
    }

    // It is for adding to them alone.
    let id = last["id"].as_str().unwrap();
    for args in [&["ls", id][..], &["restore", id, "--yes"]] {
        let (ok, text) = run(&service, args);
        assert!(!ok && text.contains("--identity FILE"), "{text}");
    }
    let (ok, text) = run(&service, &["verify", id, "--identity", &key.file()]);
    assert!(ok && text.contains("40003 rows"), "{text}");
    change(&portal);
    let (ok, text) = run(&service, &["restore", id, "--yes", "--identity", &key.file()]);
    assert!(ok, "{text}");
    assert_eq!(tree(&portal.files()), files);
    let restored = dump(&portal.database());
    let restored: std::collections::HashSet<_> = restored.lines().collect();
    assert!(rows.lines().all(|row| restored.contains(row)));

    // As one archive; what fails shows no archive as if it had been made.
    let (ok, text) = run(&service, &["consolidate", id]);
    assert!(!ok && text.contains("--identity FILE") && !text.contains("stored and"), "{text}");
    let (ok, text) = run(&service, &["consolidate", id, "--identity", &key.file(), "--json"]);
    assert!(ok, "{text}");
    let made: Value = serde_json::from_str(&text).unwrap();
    let made = &made["archive"];
    assert_eq!((&made["mode"], memo(&service, made).is_empty()), (&json!("full"), false));
    let full = made["id"].as_str().unwrap();
    let (ok, text) = run(&service, &["verify", full, "--identity", &key.file()]);
    assert!(ok && text.contains("40003 rows"), "{text}");
    edit(&portal, 5);
    let (archive, warnings) = increment(&service).await;
    assert_eq!((&archive["mode"], warnings), (&json!("incremental"), json!([])));
    let delete = async |id: &str| {
        let url = format!("{}/api/2.0/backup/deletebackup/{id}", service.base);
        let answer = service.http.delete(url).bearer_auth(&service.key).send().await.unwrap();
        assert!(answer.status().is_success());
    };
    delete(archive["id"].as_str().unwrap()).await;

    // It goes with its archive.
    delete(id).await;
    assert_eq!(memo(&service, last), Vec::<String>::new());
    assert!(!memo(&service, &links[2]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_and_is_not_as_it_was_makes_a_full_backup() {
    let (portal, key) = (PlainPortal::new(1000), Key::new());
    let service = Service::start(&(portal.config() + &key.recipients())).await;
    let (first, _) = increment(&service).await;
    let other = memo(&service, &first);
    let wrong = |set: &str| {
        let sql = format!(
            "update portal_backup_memos set {set} where archive_id = \
             (select id from portal_backup_archives order by created_on desc limit 1)"
        );
        let db = catalog(&service);
        // Older ones would do as well.
        let others = "delete from portal_backup_memos where archive_id <> \
             (select id from portal_backup_archives order by created_on desc limit 1)";
        db.execute(others, []).unwrap();
        assert_eq!(db.execute(&sql, []).unwrap(), 1);
    };
    let another = format!("content = '{}'", other[0]);
    for set in [another.as_str(), "content = substr(content, 1, 100)", "part = 1", "content = ''"] {
        // What is not of this archive, cut, missing, or nothing.
        let (full, _) = increment(&service).await;
        let (full, _) = match full["mode"].as_str() {
            Some("full") => (full, ()),
            _ => {
                let body = json!({"storageType": "Local", "dump": true});
                let job =
                    super::front_door::ended(&service, service.post("/v1/backups", &body).await);
                let id = job.await["archiveId"].as_str().unwrap().to_owned();
                (service.json(&format!("/v1/archives/{id}")).await, ())
            }
        };
        wrong(set);
        let (archive, warnings) = increment(&service).await;
        assert_eq!(archive["mode"], "full", "{set}");
        let warning = warnings[0].as_str().unwrap();
        let name = full["name"].as_str().unwrap();
        assert!(warning.contains("a full backup was made") && warning.contains(name), "{warning}");
    }
}
