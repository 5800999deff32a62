//! What is told while jobs run is about how far they are.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

/// Every phase and percentage that is told of a job until its end.
async fn told(service: &Service, job: &Value) -> Vec<(String, u64)> {
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut told = Vec::new();
    loop {
        let job = service.json(&path).await;
        let percent = job["percent"].as_u64().unwrap();
        told.push((job["phase"].as_str().unwrap().to_owned(), percent));
        if !["queued", "running"].contains(&job["state"].as_str().unwrap()) {
            assert_eq!(job["state"], "succeeded", "{job}");
            return told;
        }
        assert!(Instant::now() < deadline, "{job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn started(service: &Service, path: &str, body: Value) -> Value {
    service.post(path, &body).await.json().await.unwrap()
}

/// Of a text next to nothing is left, and so is nearly nothing to be read back.
#[tokio::test]
async fn a_backup_of_text_does_not_jump() {
    let portal = PlainPortal::new(10);
    let mut text = std::fs::File::create(portal.files().join("text")).unwrap();
    for _ in 0..60 {
        text.write_all("text ".repeat(1 << 20).as_bytes()).unwrap();
    }
    let config = format!("[limits]\nread = \"50MiB\"\n{}", portal.config());
    let service = Service::start(&config).await;
    let body = json!({"storageType": "Local", "dump": true});
    let job = started(&service, "/v1/backups", body).await;
    let told = told(&service, &job).await;
    let reading = told.iter().filter(|(phase, _)| phase == "files" || phase == "database");
    let reached = reading.map(|(_, percent)| *percent).max();
    assert!(reached >= Some(70), "{told:?}");
}

#[tokio::test]
async fn a_restore_is_not_over_when_its_archive_is_verified() {
    let portal = PlainPortal::new(300_000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let body = json!({"archiveId": archive["id"]});
    let job = started(&service, "/v1/restores", body).await;
    let told = told(&service, &job).await;
    let staging: Vec<_> = told.iter().filter(|(phase, _)| phase == "staging").collect();
    assert!(staging.first().is_some_and(|(_, percent)| *percent < 70), "{told:?}");
    let steps = told.iter().map(|(_, percent)| *percent).collect::<std::collections::BTreeSet<_>>();
    assert!(steps.len() > 5, "{told:?}");

    let path = format!("/v1/archives/{}/verify", archive["id"].as_str().unwrap());
    let job = started(&service, &path, json!({"restore": true})).await;
    let told = self::told(&service, &job).await;
    let staging: Vec<_> = told.iter().filter(|(phase, _)| phase == "staging").collect();
    assert!(staging.first().is_some_and(|(_, percent)| *percent < 50), "{told:?}");
}
