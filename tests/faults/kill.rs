use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::portal::PlainPortal;
use crate::support::service::{HANG, Service, names};

/// Waits until the backup has got somewhere.
async fn under_way(service: &Service, percent: i64) {
    let deadline = Instant::now() + HANG;
    while service.progress().await["progress"].as_i64().unwrap() < percent {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the job runs again, or has ended: no job of a dead process is called running for longer than a minute.
async fn taken_up(service: &Service, job: &Value) {
    let path = format!("/v1/jobs/{}", job["taskId"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let job = service.json(&path).await;
        if job["attempt"] == 2 || job["finishedOn"].is_string() {
            return;
        }
        assert!(Instant::now() < deadline, "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_killed_backup_is_run_again_and_leaves_nothing_behind() {
    for percent in [0, 20, 60] {
        let portal = PlainPortal::new(400_000);
        let mut service = Service::start(&portal.config()).await;
        let job = service.start_backup("Local", json!([])).await;
        under_way(&service, percent).await;
        service.kill();
        service.restart().await;
        taken_up(&service, &job).await;
        let done = service.finish().await;
        assert_eq!(done["taskId"], job["taskId"]);
        assert_eq!(done["error"], "", "{done}");
        let left = names(&service.backups());
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].ends_with(".tar.gz"), "{left:?}");
        assert_eq!(service.json("/api/2.0/backup/getbackuphistory").await["count"], 1);
    }
}

#[tokio::test]
async fn a_signal_stops_cleanly_and_the_job_goes_on_at_the_next_start() {
    let portal = PlainPortal::new(400_000);
    let mut service = Service::start(&portal.config()).await;
    service.start_backup("Local", json!([])).await;
    under_way(&service, 5).await;
    assert!(service.terminate().success());
    assert_eq!(names(&service.backups()), Vec::<String>::new());
    service.restart().await;
    assert_eq!(service.finish().await["error"], "");
}
