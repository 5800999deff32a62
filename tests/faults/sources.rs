use serde_json::json;

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
