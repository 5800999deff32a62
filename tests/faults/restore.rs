//! A restore that is killed leaves the old portal or the new one, never a mixture.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::json;

use crate::roundtrip::docspace::{config, fingerprint};
use crate::roundtrip::restore::{change, dump};
use crate::support::docspace::DocSpace;
use crate::support::portal::{PlainPortal, tree};
use crate::support::service::Service;

#[tokio::test]
async fn a_killed_restore_of_a_plain_portal_is_all_or_nothing() {
    let portal = PlainPortal::new(60_000);
    let mut service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    change(&portal);
    // Afterwards the archive's tables are there, and the one that it does not know.
    let old = (dump(&portal.database()), tree(&portal.files()));
    let body = json!({"backupId": archive["id"], "dump": true});
    let started = Instant::now();
    service.restore(&body).await;
    let whole = started.elapsed();
    let new = (dump(&portal.database()), tree(&portal.files()));
    assert_ne!(old, new);
    let mut ends = [0, 0];
    for step in 0..12 {
        // Back to the old portal, with what the archive does not have.
        change_back(&portal, &old);
        let answer = service.post("/api/2.0/backup/startrestore", &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        tokio::time::sleep(whole.mul_f64(f64::from(step) / 11.0)).await;
        service.kill();
        service.restart().await;
        let done = service.finish_restore().await;
        let now = (dump(&portal.database()), tree(&portal.files()));
        if done["error"] == "" {
            ends[1] += 1;
            assert!(now == new, "step {step}: it says done, and is not the new portal");
        } else {
            ends[0] += 1;
            let error = done["error"].as_str().unwrap();
            assert!(error.contains("put back as it was"), "{error}");
            assert!(now == old, "step {step}: it says undone, and is not the old portal: {done}");
        }
        assert!(!portal.files().join(".portal-backup").exists());
    }
    assert!(ends[0] > 0, "none was killed in time: {ends:?}");
}

/// Makes the portal what it was, by other means than a restore.
fn change_back(portal: &PlainPortal, old: &(String, std::collections::BTreeMap<String, Vec<u8>>)) {
    use std::io::Write;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", portal.database().display()));
    }
    let mut client = std::process::Command::new("sqlite3")
        .arg(portal.database())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(old.0.as_bytes()).unwrap();
    assert!(client.wait().unwrap().success());
    std::fs::remove_dir_all(portal.files()).unwrap();
    for (name, content) in &old.1 {
        let path = portal.files().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[tokio::test]
async fn a_killed_restore_of_a_docspace_is_all_or_nothing() {
    let docspace = DocSpace::create().await;
    let mut service = Service::start(&config(&docspace)).await;
    let archive = service.backup("Local", json!([])).await;
    let body = json!({"backupId": archive["id"], "dump": true});
    let started = Instant::now();
    service.restore(&body).await;
    let whole = started.elapsed();
    let new = (fingerprint(&docspace.database), tree(docspace.root()));
    let mut undone = 0;
    for step in 0..10 {
        docspace.execute(&[format!("update core_user set firstname = 'changed {step}'")]).await;
        let logo = docspace.root().join("Studio/00/00/01/logo/logo.png");
        std::fs::write(&logo, format!("changed {step}")).unwrap();
        let old = (fingerprint(&docspace.database), tree(docspace.root()));
        let answer = service.post("/api/2.0/backup/startrestore", &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        tokio::time::sleep(whole.mul_f64(f64::from(step) / 9.0)).await;
        service.kill();
        service.restart().await;
        let done = service.finish_restore().await;
        let now = (fingerprint(&docspace.database), tree(docspace.root()));
        if done["error"] == "" {
            assert!(now == new, "step {step}: it says done, and is not the new portal");
        } else {
            undone += 1;
            assert!(now == old, "step {step}: it says undone, and is not the old portal: {done}");
        }
        assert_eq!(
            docspace.number("select count(*) from information_schema.schemata where schema_name like concat(database(), '%')").await,
            1,
            "step {step}: something is left on the server"
        );
        assert_eq!(
            docspace.number("select count(*) from tenants_tenants where status = 4").await,
            0
        );
    }
    assert!(undone > 0, "none was killed in time");
}

#[tokio::test]
async fn restores_and_backups_exclude_each_other() {
    let portal = PlainPortal::new(300_000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let body = json!({"backupId": archive["id"], "dump": true});
    let first = service.post("/api/2.0/backup/startrestore", &body).await;
    let first: serde_json::Value = first.json().await.unwrap();
    let second = service.post("/api/2.0/backup/startrestore", &body).await;
    let second: serde_json::Value = second.json().await.unwrap();
    assert_eq!(first["response"]["taskId"], second["response"]["taskId"]);
    let backup = json!({"storageType": "Local", "dump": true});
    let refused = service.post("/api/2.0/backup/startbackup", &backup).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(service.finish_restore().await["error"], "");
    service.start_backup("Local", json!([])).await;
    let refused = service.post("/api/2.0/backup/startrestore", &body).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(service.finish().await["error"], "");
}
