//! Tables of names that are no names of files, and files of names that are no text or fit into no archive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

/// The files below a folder by the bytes of their paths.
fn files(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[tokio::test]
async fn files_whose_names_are_no_text_come_back() {
    let portal = PlainPortal::new(10);
    let root = portal.files();
    // As Latin-1 has é, cut characters, and characters that stand for bytes themselves.
    let names: [&[u8]; 5] = [
        b"r\xe9sum\xe9.txt",
        "r\u{e9}sum\u{e9}.txt".as_bytes(),
        "r\u{10fee9}sum\u{10fee9}.txt".as_bytes(),
        b"Vertr\xe4ge/2026/\xff\xfe",
        b"Vertr\xe4ge/cut \xf0\x9f",
    ];
    let write = |content: &str| {
        for name in names {
            let path = root.join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [content.as_bytes(), name].concat()).unwrap();
        }
    };
    write("content of ");
    std::os::unix::fs::symlink(OsStr::from_bytes(names[3]), root.join("link")).unwrap();
    let before = files(&root);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let warning = service.progress().await["warning"].as_str().unwrap().to_owned();
    assert!(warning.contains("4 more have a name that is not UTF-8"), "{warning}");
    assert_eq!(members(&super::local_path(&archive))["storage/link"], before[names[3]]);
    let id = archive["id"].as_str().unwrap();
    assert!(service.cli(&["verify", id]).status.success());

    write("spoiled");
    fs::write(root.join(OsStr::from_bytes(b"later\xe9")), "later").unwrap();
    fs::remove_file(root.join(OsStr::from_bytes(names[0]))).unwrap();
    service.restore(&json!({"backupId": id, "dump": true})).await;
    assert!(files(&root) == before, "{:?}", files(&root).keys());
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
