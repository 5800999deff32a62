//! Tables of names that are no names of files, and files of names that fit into no archive.

use std::fs;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::portal::{PlainPortal, members};
use crate::support::service::Service;

const NAMES: [&str; 9] = ["x", "x/", "a//b", "a/b", "..", "50%", "a%2Fb", "back\\slash", "é"];

#[tokio::test]
async fn tables_of_any_name_come_back() {
    let portal = PlainPortal::new(10);
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    for name in NAMES {
        db.execute_batch(&format!("create table \"{name}\" (t)")).unwrap();
        db.execute(&format!("insert into \"{name}\" values (?)"), [name]).unwrap();
    }
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let stored = members(&super::local_path(&archive));
    assert!(stored.contains_key("databases/data/x") && stored.contains_key("databases/data/x%2F"));
    for name in NAMES {
        db.execute_batch(&format!("update \"{name}\" set t = 'spoiled'")).unwrap();
    }
    drop(db);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    for name in NAMES {
        let sql = format!("select group_concat(t) from \"{name}\"");
        assert_eq!(db.query_row(&sql, [], |row| row.get::<_, String>(0)).unwrap(), name);
    }
}

#[tokio::test]
async fn a_name_that_no_archive_can_hold_is_named_and_stops_nothing() {
    let portal = PlainPortal::new(10);
    fs::create_dir(portal.files().join("x\\..")).unwrap();
    fs::write(portal.files().join("..\\y"), "y").unwrap();
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let warning = service.progress().await["warning"].as_str().unwrap().to_owned();
    assert!(warning.contains("x\\..") && warning.contains("..\\y"), "{warning}");
    let stored = members(&super::local_path(&archive));
    assert!(stored.contains_key("storage/plain.txt"));
    assert!(String::from_utf8_lossy(&stored["storage/missing_info"]).contains("..\\y"));
    // Nor is there one to be asked for.
    let entries = format!("/v1/archives/{}/entries", archive["id"].as_str().unwrap());
    for name in ["..%2F..%2Fetc%2Fpasswd", "storage%2F..%5Cy", "nothing"] {
        let answer = service.get(&format!("{entries}/{name}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
    }
}
