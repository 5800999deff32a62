use serde_json::json;

use crate::support::disk::SmallDisk;
use crate::support::portal::PlainPortal;
use crate::support::service::{Service, names};

#[tokio::test]
async fn wrong_database_credentials_fail_the_job_with_the_servers_words() {
    let portal = PlainPortal::new(10);
    let config = portal.config().replace(
        &format!("sqlite://{}", portal.database().display()),
        "mysql://nobody:hunter2@127.0.0.1:3306/x",
    );
    let service = Service::start(&config).await;
    service.start_backup("Local", json!([])).await;
    let done = service.finish().await;
    assert_eq!(done["status"], 4, "{done}");
    let error = done["error"].as_str().unwrap();
    assert!(error.contains("Access denied") || error.contains("denied"), "{error}");
    assert!(!error.contains("hunter2") && !service.log().contains("hunter2"));
    assert_eq!(names(&service.backups()), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let portal = PlainPortal::new(10);
    std::os::unix::fs::symlink("/etc/hostname", portal.files().join("outside")).unwrap();
    let service = Service::start(&portal.config()).await;
    service.backup("Local", json!([])).await;
    let warning = service.progress().await["warning"].as_str().unwrap().to_owned();
    assert!(warning.contains("outside"), "{warning}");
}

#[tokio::test]
async fn a_full_disk_fails_the_job_leaves_nothing_and_the_next_backup_is_fine() {
    let portal = PlainPortal::new(10);
    // Noise, so that it cannot be compressed to fit.
    let noise: Vec<u8> = (0..12_u32 << 18)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes())
        .collect();
    std::fs::write(portal.files().join("noise.bin"), &noise).unwrap();
    let service = Service::start(&portal.config()).await;
    let small = service.backups().join("small");
    std::fs::create_dir_all(&small).unwrap();
    if !SmallDisk::mount_at(&small, 4) {
        return;
    }
    service.start_backup("Local", json!([{"key": "filePath", "value": "small"}])).await;
    let done = service.finish().await;
    let left = names(&small);
    SmallDisk::unmount(&small);
    assert_eq!(done["status"], 4, "{done}");
    let error = done["error"].as_str().unwrap();
    assert!(error.contains("no space left"), "{error}");
    assert_eq!(left, Vec::<String>::new());
    service.backup("Local", json!([{"key": "filePath", "value": "small"}])).await;
    assert_eq!(names(&small).len(), 1);
}

#[tokio::test]
async fn a_limit_of_file_sizes_fails_the_job_and_not_the_service() {
    let portal = PlainPortal::new(10);
    let mut service = Service::prepare(&portal.config());
    service.restart_with_file_limit(3 << 20).await;
    service.start_backup("Local", json!([])).await;
    let done = service.finish().await;
    assert_eq!(done["status"], 4, "{done}");
    assert!(done["error"].as_str().unwrap().contains("a limit of the system"), "{done}");
    assert_eq!(names(&service.backups()), Vec::<String>::new());
    std::fs::remove_file(portal.files().join("noise.bin")).unwrap();
    service.backup("Local", json!([])).await;
}
