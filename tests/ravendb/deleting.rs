//! Deleting what restores made: A4 "delete the database X and restore again".

use reqwest::Method;
use serde_json::json;

use super::raven::{Answer, Raven, rows};
use crate::support::portal::tree;

async fn delete(raven: &Raven, path: &str) -> Answer {
    raven.send(Method::DELETE, path, "", &raven.service.key).await
}

#[tokio::test]
async fn a_restored_database_can_be_deleted_and_restored_again() {
    let raven = Raven::start("").await;
    raven.good_backup("/databases/Northwind", "", "bk").await;
    let body = json!({"DatabaseName": "Copy", "BackupLocation": "bk"});
    assert_eq!(raven.restore("/admin/restore", body.clone()).await["Faulted"], false);
    assert_eq!(raven.post("/admin/restore", &body).await.status, 400, "it exists");
    let reader = raven.service.new_key("read");
    let refused = raven.send(Method::DELETE, "/admin/databases/Copy", "", &reader).await;
    assert_eq!(refused.status, 401);

    let copy = raven.portal.dir.path().join("Copy.db");
    assert_eq!(delete(&raven, "/admin/databases/copy?hard-delete=True").await.status, 200);
    assert!(!copy.exists());
    assert_eq!(raven.get("/databases").await.json(), json!(["Northwind"]));
    assert_eq!(raven.restore("/admin/restore", body).await["Faulted"], false);
    assert_eq!(rows(&copy), rows(&raven.portal.database()));
    // Without the flag only the name is given up.
    assert_eq!(delete(&raven, "/admin/databases/Copy").await.status, 200);
    assert_eq!(rows(&copy), rows(&raven.portal.database()));
    assert_eq!(delete(&raven, "/admin/databases/Copy").await.status, 404);
}

#[tokio::test]
async fn a_restored_file_system_can_be_deleted_and_a_configured_one_cannot() {
    let raven = Raven::start("").await;
    raven.good_backup("/fs/NorthwindFS", "", "bk").await;
    let body = json!({"FilesystemName": "Copy", "BackupLocation": "bk"});
    assert_eq!(raven.restore("/admin/fs/restore", body).await["Faulted"], false);
    assert_eq!(delete(&raven, "/admin/fs/Copy?hard-delete=true").await.status, 200);
    assert!(!raven.portal.dir.path().join("Copy").exists());
    let files = tree(&raven.portal.files());
    for path in ["/admin/fs/NorthwindFS", "/admin/databases/Northwind"] {
        let refused = delete(&raven, &format!("{path}?hard-delete=true")).await;
        assert_eq!(refused.status, 409, "{}", refused.text);
    }
    assert_eq!(tree(&raven.portal.files()), files);
    assert_eq!(raven.get("/fs").await.json(), json!(["NorthwindFS"]));
    assert!(raven.portal.database().is_file());
}
