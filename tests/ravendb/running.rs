//! What is told while something runs: here by a service whose jobs nobody runs.

use serde_json::{Value, json};

use super::raven::Raven;

const DATABASE: &str = "/databases/Northwind";

/// A3 "already running: `Backup is already running` (… per database/fs)"; A5 "written with IsRunning=true,
/// Completed=null, Messages=[] before the request returns"
#[tokio::test]
async fn a_backup_at_a_time_of_each_source() {
    let mut raven = Raven::start("").await;
    raven.set_role("api").await;
    let body = json!({"BackupLocation": "bk"});
    assert_eq!(raven.post("/databases/Northwind/admin/backup", &body).await.status, 201);
    let status = raven.status(DATABASE).await.json();
    assert_eq!((&status["IsRunning"], &status["Completed"]), (&json!(true), &Value::Null));
    assert_eq!(status["Messages"], json!([]));
    assert!(status.get("Success").is_none(), "3.5 only");
    let again = raven.post("/Databases/NORTHWIND/Admin/Backup?x=1", &body).await;
    assert_eq!(again.status, 500);
    assert_eq!(again.json()["Url"], "/Databases/NORTHWIND/Admin/Backup?x=1");
    assert!(again.json()["Error"].as_str().unwrap().contains("Backup is already running"));
    let body = json!({"BackupLocation": "bk-fs"});
    assert_eq!(raven.post("/fs/NorthwindFS/admin/backup", &body).await.status, 201);
    // A restart in between changes nothing, and then the work is done.
    raven.set_role("all").await;
    for source in [DATABASE, "/fs/NorthwindFS"] {
        let status = raven.ended(source).await;
        let last = status["Messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["Message"], "Voron backup db finished", "{status}");
    }
    // "3.0 backups have **no** operation id"
    assert_eq!(raven.get("/operations").await.json(), json!([]));
    assert_eq!(raven.get("/operation/status?id=1").await.status, 404);
}

/// A4 "another restore running (db or fs, global)", "same, with RestoreStartTimeout"; A1 `InProgress`; A6
#[tokio::test]
async fn a_restore_at_a_time() {
    let mut raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", "db").await;
    raven.good_backup("/fs/NorthwindFS", "", "fs").await;
    raven.set_role("api").await;
    let body = json!({"DatabaseName": "New", "BackupLocation": "db"});
    let started = raven.post("/admin/restore", &body).await;
    assert_eq!(started.status, 200);
    let id = started.json()["OperationId"].clone();
    let busy = raven
        .post("/admin/fs/restore", &json!({"FilesystemName": "NewFS", "BackupLocation": "fs"}))
        .await;
    assert_eq!(busy.status, 503);
    assert_eq!(busy.text, "Another restore is in progress (resource name = New)");
    assert_eq!(busy.header("content-type"), "text/plain; charset=utf-8");
    let begun = std::time::Instant::now();
    let body = json!({"DatabaseName": "Other", "BackupLocation": "db", "RestoreStartTimeout": 1});
    let busy = raven.post("/admin/restore", &body).await;
    assert_eq!(busy.status, 503);
    assert_eq!(
        busy.text,
        "Another restore is still in progress (resource name = New). Waited 1 seconds for other restore to complete."
    );
    assert!(begun.elapsed().as_secs_f64() >= 1.0);
    let progress = raven.get("/docs/Raven/Restore/InProgress").await;
    assert_eq!(progress.text, r#"{"Resource":"New"}"#);
    // "Deleted when a restore starts and re-created at its first message (so 404 meanwhile is normal …)"
    let status = raven.get("/docs/Raven/Restore/Status").await;
    assert_eq!((status.status, status.text.as_str()), (404, ""));
    // "also `/databases/{db}/…`, `/fs/{fs}/…`"; restores cannot be killed
    for path in [
        "/operation/status",
        "/databases/northwind/operation/status",
        "/fs/NorthwindFS/operation/status",
        "/operation/kill",
    ] {
        let status = raven.get(&format!("{path}?id={id}")).await;
        assert_eq!(status.text, r#"{"Completed":false,"Faulted":false,"State":null}"#, "{path}");
    }
    let listed = raven.get("/operations").await.json();
    assert_eq!(listed[0]["Id"], id);
    assert_eq!(listed[0]["TaskStatus"], "Running");
    assert_eq!(listed[0]["TaskType"], "RestoreDatabase");
    assert_eq!(listed[0]["Payload"], "Restoring database New from db");
    raven.set_role("all").await;
    let done = raven.operation(&id).await;
    assert_eq!(done, json!({"Completed": true, "Faulted": false, "State": null}));
}

/// A6 "3.5 adds `Canceled` bool and `Exception`"; only 3.5 backups can be killed
#[tokio::test]
async fn a_backup_of_3_5_is_an_operation_and_can_be_killed() {
    let mut raven = Raven::version_3_5().await;
    raven.set_role("api").await;
    let started =
        raven.post("/databases/Northwind/admin/backup", &json!({"BackupLocation": "bk"})).await;
    assert_eq!(started.status, 202);
    let id = started.json()["OperationId"].clone();
    assert_eq!(started.json(), json!({ "OperationId": id }));
    let listed = raven.get("/operations").await.json();
    assert_eq!(
        (&listed[0]["TaskType"], &listed[0]["Killable"]),
        (&json!("BackupDatabase"), &json!(true))
    );
    assert_eq!(listed[0]["Description"], "Backup to: bk");
    let killed = raven.get(&format!("/operation/kill?id={id}")).await.json();
    let expected = json!({"Completed": true, "Faulted": false, "Canceled": true,
        "State": {"Progress": null, "Error": null}, "Exception": null});
    assert_eq!(killed, expected);
    let status = raven.ended(DATABASE).await;
    assert_eq!(status["Success"], false);
    assert_eq!(status["Messages"][0]["Message"], "Backup was canceled");
    raven.set_role("all").await;
    // And one that is not killed.
    let messages = raven.backup(DATABASE, "", json!({"BackupLocation": "bk"})).await;
    assert_eq!(messages.last().unwrap()["Message"], "Voron backup db finished");
    assert_eq!(raven.ended(DATABASE).await["Success"], true);
}
