//! A catalog that was lost, or begins anew, beside tables of DocSpace's that know the archives.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::docspace_tables::{config, eventually};
use crate::increments::front_door::increment;
use crate::roundtrip::foreign::{TABLE, listed, write};
use crate::support::docspace::DocSpace;
use crate::support::service::Service;

const THEIRS: &str = "d0000000-0000-4000-8000-00000000000a";

fn lose_catalog(dir: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("catalog.db{end}")));
    }
}

#[tokio::test]
async fn a_lost_catalog_learns_what_increments_need() {
    let docspace = DocSpace::create().await;
    docspace.execute(&["DELETE FROM backup_backup"]).await;
    let mut service = Service::start(&config(&docspace)).await;
    let full = service.backup("Local", json!([])).await;
    let (child, _) = increment(&service).await;
    assert_eq!(child["parentId"], full["id"]);
    let needs = "SELECT JSON_VALUE(storage_params, '$.parentId') FROM backup_backup \
                 ORDER BY created_on DESC LIMIT 1";
    eventually(&docspace, needs, full["id"].as_str().unwrap()).await;
    assert!(service.terminate().success());
    lose_catalog(service.dir.path());
    service.key = service.new_key("write");
    // The service reads the tables by itself, before anybody imports.
    service.restart().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while service.json("/v1/archives").await["total"] != 2 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let path = |archive: &Value| format!("/v1/archives/{}", archive["id"].as_str().unwrap());
    let found = service.json(&path(&child)).await;
    for name in ["mode", "parentId", "url", "sha256", "size", "dump"] {
        assert_eq!(found[name], child[name], "{name}");
    }
    let refused = service.request(Method::DELETE, &path(&full)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
}

/// Issue 5, scope 6: "`portal-backup import` takes them over", and not twice.
#[tokio::test]
async fn an_import_enters_no_archive_beside_docspaces_own_record() {
    let docspace = DocSpace::create().await;
    let service = Service::prepare(&config(&docspace));
    std::fs::create_dir_all(service.backups()).unwrap();
    let file = service.backups().join("acme_2026-06-10_03-00-00.tar.gz");
    let list = listed(&[]);
    write(&file, &[("dump", b"True"), TABLE, ("storage/restore_info", &list)]);
    docspace
        .execute(&[
            "DELETE FROM backup_backup".to_owned(),
            format!(
                "INSERT INTO backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, \
                 created_on, hash, removed, paid, storage_params) VALUES ('{THEIRS}', -1, 1, \
                 'acme_2026-06-10_03-00-00.tar.gz', 3, '{}', '2026-06-10 03:00:00', '', 0, 0, '{{}}')",
                file.display()
            ),
        ])
        .await;
    for _ in 0..2 {
        let output = service.cli(&["import", "local", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(imported["added"], json!([]));
        assert_eq!(imported["known"], json!(["acme_2026-06-10_03-00-00.tar.gz"]));
    }
    let listed = service.cli(&["list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with(THEIRS) && listed.lines().count() == 1, "{listed}");
}

/// docs/OPERATIONS.md, "Disaster recovery": "make the portal's databases (empty)".
#[tokio::test]
async fn an_import_needs_no_tables() {
    let docspace = DocSpace::create().await;
    let mut service = Service::start(&config(&docspace)).await;
    let made = service.backup("Local", json!([])).await;
    assert!(service.terminate().success());
    lose_catalog(service.dir.path());
    let name = &docspace.database;
    docspace
        .execute(&[format!("DROP DATABASE `{name}`"), format!("CREATE DATABASE `{name}`")])
        .await;
    let output = service.cli(&["import", "local", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(imported["added"][0]["id"], made["id"]);
}
