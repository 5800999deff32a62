//! The Rust client that openapi-generator makes of openapi.yaml: backup, progress, history, our own API and
//! restore. BASE and KEY come from the environment.

use std::time::{Duration, Instant};

use openapi::apis::configuration::{ApiKey, Configuration};
use openapi::apis::{Error, archives_api, backup_api, jobs_api};
use openapi::models::{
    BackupDto, BackupRestoreDto, BackupStorageType, JobState, NewBackup, StorageType,
};

macro_rules! wait {
    ($ask:expr, $done:expr) => {{
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let answer = $ask;
            if $done(&answer) {
                break answer;
            }
            assert!(Instant::now() < deadline, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut client = Configuration::new();
    client.base_path = std::env::var("BASE").unwrap();
    client.api_key = Some(ApiKey { prefix: None, key: std::env::var("KEY").unwrap() });

    let mut backup = BackupDto::new();
    backup.storage_type = Some(BackupStorageType::Local);
    backup.dump = Some(true);
    let started = backup_api::start_backup(&client, Some(backup)).await.unwrap().response.unwrap();
    let finished = wait!(
        backup_api::get_backup_progress(&client, Some(true)).await.unwrap().response.unwrap(),
        |progress: &openapi::models::BackupProgress| progress.is_completed == Some(true)
    );
    assert_eq!(finished.error, Some(Some(String::new())));
    assert_eq!(finished.task_id, started.task_id);
    let history = backup_api::get_backup_history(&client, None).await.unwrap().response.unwrap();
    let id = history[0].id.to_string();
    assert_eq!(Some(Some(id.clone())), started.task_id);

    let mut new = NewBackup::new(StorageType::Local);
    new.dump = Some(true);
    let asked = jobs_api::create_backup(&client, new).await.unwrap();
    let job = wait!(
        jobs_api::get_job(&client, &asked.id.to_string()).await.unwrap(),
        |job: &openapi::models::Job| job.finished_on.is_some()
    );
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    let archive = job.archive_id.unwrap().to_string();
    let archive = archives_api::get_archive(&client, &archive).await.unwrap();
    assert!(archive.verified_on.is_some(), "{archive:?}");

    let mut restore = BackupRestoreDto::new(id.clone());
    restore.dump = Some(true);
    restore.storage_type = Some(BackupStorageType::Local);
    backup_api::start_backup_restore(&client, restore).await.unwrap();
    let restored = wait!(
        backup_api::get_restore_progress(&client, Some(true)).await.unwrap().response.unwrap(),
        |progress: &openapi::models::BackupProgress| progress.is_completed == Some(true)
    );
    assert_eq!(restored.error, Some(Some(String::new())), "{restored:?}");

    assert_eq!(backup_api::delete_backup(&client, &id).await.unwrap().response, Some(true));
    match backup_api::delete_backup(&client, &id).await {
        Err(Error::ResponseError(answer)) => assert_eq!(answer.status, 404),
        other => panic!("it was deleted twice: {other:?}"),
    }
    println!("backups, progress, history, jobs, archives, restores");
}
