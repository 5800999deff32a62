use serde_json::json;

use super::*;
use crate::jobs::ProgressView;

pub fn job(state: JobState) -> Job {
    Job {
        id: "0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b".parse().unwrap(),
        kind: JobKind::Backup,
        state,
        tenant_id: 1,
        dump: true,
        request: Value::Null,
        attempt: 1,
        progress: ProgressView { percent: 42, ..ProgressView::default() },
        archive_id: None,
        error: None,
        warnings: Vec::new(),
        warnings_omitted: 0,
        created_on: Timestamp::UNIX_EPOCH,
        started_on: None,
        finished_on: None,
        cancel_requested: false,
    }
}

pub fn running() -> BackupProgress {
    BackupProgress::new(&job(JobState::Running), String::new())
}

pub fn record() -> BackupHistoryRecord {
    BackupHistoryRecord::from(&archive())
}

pub fn archive() -> ArchiveRecord {
    ArchiveRecord {
        id: "7a1f0c9e-0000-4f0e-9d0c-3a1b5e6f7a8b".parse().unwrap(),
        name: "workspace_2026-03-01_02-15-00.tar.gz".to_owned(),
        url: "file:///backups".to_owned(),
        size: 10,
        sha256: "ab".repeat(32),
        created_on: "2026-03-01T02:15:00.75Z".parse().unwrap(),
        ..ArchiveRecord::sample()
    }
}

#[test]
fn states_on_the_wire() {
    let of = |state| {
        let progress = BackupProgress::new(&job(state), String::new());
        let value = serde_json::to_value(&progress).unwrap();
        (value["status"].clone(), value["isCompleted"].clone(), value["progress"].clone())
    };
    assert_eq!(of(JobState::Queued), (json!(0), json!(false), json!(42)));
    assert_eq!(of(JobState::Running), (json!(1), json!(false), json!(42)));
    assert_eq!(of(JobState::Succeeded), (json!(2), json!(true), json!(100)));
    assert_eq!(of(JobState::Cancelled), (json!(3), json!(true), json!(42)));
    assert_eq!(of(JobState::Failed), (json!(4), json!(true), json!(42)));
}

#[test]
fn only_failures_have_an_error() {
    let error = |state, text: Option<&str>| {
        let mut job = job(state);
        job.error = text.map(str::to_owned);
        BackupProgress::new(&job, String::new()).error
    };
    assert_eq!(error(JobState::Failed, Some("disk full")), "disk full");
    assert!(!error(JobState::Failed, None).is_empty());
    assert!(!error(JobState::Failed, Some(" ")).is_empty());
    assert_eq!(error(JobState::Running, Some("first attempt failed")), "");
    assert_eq!(error(JobState::Succeeded, None), "");
}

#[test]
fn restores_say_so() {
    let mut job = job(JobState::Cancelled);
    job.kind = JobKind::Restore;
    let progress = BackupProgress::new(&job, String::new());
    assert_eq!(serde_json::to_value(&progress).unwrap()["backupProgressEnum"], 1);
    assert_eq!(progress.warning.as_deref(), Some("The restore was cancelled"));
    job.state = JobState::Failed;
    assert_eq!(BackupProgress::new(&job, String::new()).error, "The restore failed");
}

#[test]
fn warnings_are_one_text() {
    let mut job = job(JobState::Succeeded);
    let text = |job: &Job| BackupProgress::new(job, String::new()).warning;
    assert_eq!(text(&job), None);
    job.warnings = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(text(&job).as_deref(), Some("a\nb"));
    job.state = JobState::Cancelled;
    assert_eq!(text(&job).as_deref(), Some("The backup was cancelled\na\nb"));
    job.warnings = vec!["x".to_owned(); 1000];
    let long = text(&job).unwrap();
    assert_eq!(long.lines().count(), MOST_WARNINGS + 1);
    assert!(long.ends_with("and 981 more"));
}

#[test]
fn dates_have_no_zone() {
    assert_eq!(
        serde_json::to_value(record()).unwrap(),
        json!({
            "id": "7a1f0c9e-0000-4f0e-9d0c-3a1b5e6f7a8b",
            "fileName": "workspace_2026-03-01_02-15-00.tar.gz",
            "storageType": 3,
            "createdOn": "2026-03-01T02:15:00",
            "expiresOn": "0001-01-01T00:00:00",
        })
    );
}
