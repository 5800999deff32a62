//! `kill -9` while something runs: it is done in the end, or as if it had never been.

use std::time::Duration;

use serde_json::json;

use super::raven::{Raven, rows};
use crate::support::service::names;

#[tokio::test]
async fn a_killed_backup_is_made_again() {
    let mut raven = Raven::start("").await;
    let body = json!({"BackupLocation": "bk"});
    assert_eq!(raven.post("/fs/NorthwindFS/admin/backup", &body).await.status, 201);
    tokio::time::sleep(Duration::from_millis(30)).await;
    raven.service.kill();
    raven.service.restart().await;
    let status = raven.ended("/fs/NorthwindFS").await;
    let last = status["Messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["Message"], "Voron backup db finished", "{status}");
    assert_eq!(names(&raven.at("bk")), ["Filesystem.Document", "RavenDB.Voron.Backup"]);
}

#[tokio::test]
async fn a_killed_restore_leaves_all_or_nothing() {
    let mut raven = Raven::start("").await;
    raven.good_backup("/databases/Northwind", "", "bk").await;
    for (name, after) in [("First", 10), ("Second", 60), ("Third", 150)] {
        let body = json!({"DatabaseName": name, "BackupLocation": "bk", "DatabaseLocation": name});
        let id = raven.post("/admin/restore", &body).await.json()["OperationId"].clone();
        tokio::time::sleep(Duration::from_millis(after)).await;
        raven.service.kill();
        raven.service.restart().await;
        let done = raven.operation(&id).await;
        let known = raven.get("/databases").await.text.contains(name);
        assert_eq!(known, done["Faulted"] == false, "{done} {}", raven.service.log());
        match known {
            true => {
                let restored = raven.at(name).join(format!("{name}.db"));
                assert_eq!(rows(&restored), rows(&raven.portal.database()));
            }
            false => assert!(!raven.at(name).exists(), "{done}"),
        }
    }
}
