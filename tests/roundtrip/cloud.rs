//! Archives in a bucket.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::portal::{PlainPortal, members, tree};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::S3Server;
use crate::support::service::Service;

/// `[storage.custom_cloud]` on a bucket of the server, reached by `endpoint`.
pub fn config(portal: &PlainPortal, s3: &S3Server, endpoint: Option<String>) -> String {
    let impatient = [("max_retries", "1"), ("retry_timeout", "2")];
    let more = if endpoint.is_some() { &impatient[..] } else { &[] };
    format!(
        "[storage.custom_cloud]\nurl = \"s3://{}/backups\"\n{}\n{}",
        s3.bucket,
        s3.configured(endpoint.as_deref(), more),
        portal.config()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_to_a_bucket_and_is_downloaded_from_there() {
    let portal = PlainPortal::new(5000);
    let s3 = S3Server::start().await;
    let service = Service::start(&config(&portal, &s3, None)).await;
    let archive = service.backup("CustomCloud", json!([])).await;
    assert_eq!(archive["storageType"], "CustomCloud");
    let link = service.progress().await["link"].as_str().unwrap().to_owned();
    assert!(link.contains("X-Amz-Signature"), "{link}");
    let download = reqwest::get(&link).await.unwrap();
    assert_eq!(download.status(), StatusCode::OK);
    let path = service.dir.path().join("download.tar.gz");
    std::fs::write(&path, download.bytes().await.unwrap()).unwrap();
    let members = members(&path);
    for (name, content) in tree(&portal.files()) {
        assert!(members[&format!("storage/{name}")] == content, "{name}");
    }
    let id = archive["id"].as_str().unwrap();
    let output = service.cli(&["verify", id, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let range = service
        .request(reqwest::Method::GET, &format!("/v1/archives/{id}/content"))
        .header("Range", "bytes=0-1")
        .send()
        .await
        .unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.bytes().await.unwrap().as_ref(), [0x1f, 0x8b]);
    assert_eq!(s3.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_half_way_fails_the_job_and_is_left_clean() {
    let portal = PlainPortal::new(100);
    let noise = crate::support::portal::noise(40 << 20);
    std::fs::write(portal.files().join("large.bin"), noise).unwrap();
    let s3 = S3Server::start().await;
    let proxy =
        Proxy::start(&s3.address(), Faults { cut_after: Some(20 << 20), ..Faults::default() })
            .await;
    let endpoint = proxy.endpoint.clone();
    let service = Service::start(&config(&portal, &s3, Some(endpoint))).await;
    service.start_backup("CustomCloud", json!([])).await;
    let done = service.finish().await;
    assert_eq!(done["status"], 4, "{done}");
    assert_ne!(done["error"], "");
    proxy.heal();
    // The parts that could not be removed while the storage was away are removed once it is back.
    let deadline = std::time::Instant::now() + crate::support::service::HANG;
    while !s3.open_uploads().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", s3.open_uploads());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let archive: Value = service.backup("CustomCloud", json!([])).await;
    let output = service.cli(&["verify", archive["id"].as_str().unwrap()]);
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_bucket_is_named() {
    let portal = PlainPortal::new(10);
    let s3 = S3Server::start().await;
    let config = config(&portal, &s3, None).replace("/backups\"", "-nowhere/backups\"");
    let service = Service::start(&config).await;
    service.start_backup("CustomCloud", json!([])).await;
    let done = service.finish().await;
    assert_eq!(done["status"], 4);
    assert!(done["error"].as_str().unwrap().contains("nowhere"), "{done}");
}
