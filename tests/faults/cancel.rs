//! What a backup to a slow bucket leaves when it is stopped in the middle.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::portal::{PlainPortal, noise};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::S3Server;
use crate::support::service::{Service, names};

/// A service, with a backup that has sent some of its parts and has others on their way.
async fn sending() -> (PlainPortal, S3Server, Proxy, Service) {
    let portal = PlainPortal::new(10);
    std::fs::write(portal.files().join("large.bin"), noise(100 << 20)).unwrap();
    let s3 = S3Server::start().await;
    let faults = Faults { delay: Duration::from_millis(20), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let config = format!(
        "[storage.custom_cloud]\nurl = \"s3://{}/own\"\n{}\n{}",
        s3.bucket,
        s3.configured(Some(&proxy.endpoint), &[]),
        portal.config()
    );
    let service = Service::start(&config).await;
    service.start_backup("CustomCloud", json!([])).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.passed() < 24 << 20 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!s3.open_uploads().is_empty());
    (portal, s3, proxy, service)
}

/// Nothing is there, and nothing comes any more.
async fn assert_empty(s3: &S3Server) {
    for _ in 0..4 {
        assert_eq!(s3.open_uploads(), Vec::<String>::new());
        assert_eq!(names(&s3.bucket_dir().join("own")), Vec::<String>::new());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_backup_leaves_no_parts() {
    let (_portal, s3, _proxy, service) = sending().await;
    let cancelled = service.post("/api/2.0/backup/cancelbackup?dump=true", &json!({})).await;
    assert!(cancelled.status().is_success());
    service.finish().await;
    let jobs = service.json("/v1/jobs?kind=backup").await;
    assert_eq!(jobs["items"][0]["state"], "cancelled", "{jobs}");
    assert_empty(&s3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_a_signal_stops_leaves_no_parts() {
    let (_portal, s3, _proxy, mut service) = sending().await;
    assert!(service.terminate().success());
    assert_empty(&s3).await;
}
