//! DocSpace's objects on the wire; names and types as in its specification.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::catalog::ArchiveRecord;
use crate::http::integer_enum;
use crate::jobs::{Job, JobKind, JobState};

/// What a backup is to be.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "a schema; requests are read by `bind`")]
#[schema(rename_all = "camelCase")]
pub struct BackupDto {
    #[schema(nullable = false)]
    storage_type: Option<BackupStorageType>,
    /// Settings of the storage, such as `filePath` of a local one.
    storage_params: Option<Vec<ItemKeyValuePairObjectObject>>,
    /// True: back up the whole installation.
    #[schema(required = false)]
    dump: bool,
}

/// What is to be restored.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "a schema; requests are read by `bind`")]
#[schema(rename_all = "camelCase")]
pub struct BackupRestoreDto {
    /// An archive's id. Anything that is no GUID: the archive that `filePath` names in the storage, or, for
    /// `Local`, the one that was uploaded.
    backup_id: String,
    #[schema(nullable = false)]
    storage_type: Option<BackupStorageType>,
    /// Settings of the storage; `filePath` is the archive's name or path in it.
    storage_params: Option<Vec<ItemKeyValuePairObjectObject>>,
    /// Whether all users are told; nobody is told yet.
    #[schema(required = false)]
    notify: bool,
    /// Whether the archive is of the whole installation.
    #[schema(required = false)]
    dump: bool,
}

/// One setting.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "a schema; requests are read by `bind`")]
pub struct ItemKeyValuePairObjectObject {
    #[schema(required = false, nullable)]
    key: Value,
    #[schema(required = false, nullable)]
    value: Value,
}

integer_enum!(
    /// Where an archive goes: 0 Documents, 1 ThridpartyDocuments, 2 CustomCloud, 3 Local, 4 DataStore,
    /// 5 ThirdPartyConsumer.
    BackupStorageType {
        Documents = 0, ThridpartyDocuments = 1, CustomCloud = 2, Local = 3, DataStore = 4,
        ThirdPartyConsumer = 5,
    }
);
integer_enum!(
    /// What kind of work it is: 0 Backup, 1 Restore, 2 Transfer.
    BackupProgressEnum { Backup = 0, Restore = 1, Transfer = 2, }
);
integer_enum!(
    /// How far the work is: 0 Created, 1 Running, 2 Completed, 3 Canceled, 4 Failted.
    DistributedTaskStatus { Created = 0, Running = 1, Completed = 2, Canceled = 3, Failted = 4, }
);

/// How far a backup or restore is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProgress {
    /// True when nothing more will happen.
    #[schema(required = false)]
    pub is_completed: bool,
    /// Per cent, by bytes; 100 only when all is done and checked.
    #[schema(required = false)]
    pub progress: i32,
    /// Empty unless it failed.
    #[schema(required = false, nullable)]
    pub error: String,
    /// What the archive lacks, or that the work was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Where a backup's archive can be downloaded; empty until it is stored.
    #[schema(required = false, nullable)]
    pub link: String,
    /// The tenant that started it.
    #[schema(required = false, value_type = i32)]
    pub tenant_id: i64,
    #[schema(required = false)]
    pub backup_progress_enum: BackupProgressEnum,
    #[schema(required = false)]
    pub status: DistributedTaskStatus,
    /// The work's id.
    #[schema(required = false, nullable)]
    pub task_id: String,
}

/// How many warnings an answer carries; the job has them all.
const MOST_WARNINGS: usize = 20;

impl BackupProgress {
    /// `link`: the download address of a finished backup's archive, else empty.
    pub fn new(job: &Job, link: String) -> Self {
        let status = match job.state {
            JobState::Queued => DistributedTaskStatus::Created,
            JobState::Running => DistributedTaskStatus::Running,
            JobState::Succeeded => DistributedTaskStatus::Completed,
            JobState::Cancelled => DistributedTaskStatus::Canceled,
            JobState::Failed => DistributedTaskStatus::Failted,
        };
        let error = match (job.state, &job.error) {
            (JobState::Failed, Some(error)) if !error.trim().is_empty() => error.clone(),
            (JobState::Failed, _) => format!("The {} failed", work(job)),
            _ => String::new(),
        };
        let progress = if job.state == JobState::Succeeded { 100 } else { job.progress.percent };
        Self {
            is_completed: job.state.is_finished(),
            progress: i32::from(progress.min(100)),
            error,
            warning: warning(job),
            link,
            tenant_id: job.tenant_id,
            backup_progress_enum: match job.kind {
                JobKind::Restore => BackupProgressEnum::Restore,
                _ => BackupProgressEnum::Backup,
            },
            status,
            task_id: job.id.to_string(),
        }
    }
}

fn work(job: &Job) -> &'static str {
    match job.kind {
        JobKind::Restore => "restore",
        _ => "backup",
    }
}

fn warning(job: &Job) -> Option<String> {
    let cancelled =
        (job.state == JobState::Cancelled).then(|| format!("The {} was cancelled", work(job)));
    let mut lines: Vec<&str> = cancelled
        .iter()
        .map(String::as_str)
        .chain(job.warnings.iter().map(String::as_str))
        .collect();
    let more = lines.len().saturating_sub(MOST_WARNINGS);
    lines.truncate(MOST_WARNINGS);
    let more = (more > 0).then(|| format!("and {more} more"));
    lines.extend(more.as_deref());
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A stored backup.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHistoryRecord {
    /// What `deletebackup` wants.
    pub id: Uuid,
    /// The archive's name.
    #[schema(nullable)]
    pub file_name: String,
    pub storage_type: BackupStorageType,
    /// When it was stored, in UTC, written without a zone.
    #[schema(format = "date-time-local")]
    pub created_on: String,
    /// When it will be removed; `0001-01-01T00:00:00`: never.
    #[schema(format = "date-time-local")]
    pub expires_on: String,
}

impl From<&ArchiveRecord> for BackupHistoryRecord {
    fn from(archive: &ArchiveRecord) -> Self {
        Self {
            id: archive.id,
            file_name: archive.name.clone(),
            storage_type: archive.storage_type.into(),
            created_on: date(Some(archive.created_on)),
            expires_on: date(archive.expires_on),
        }
    }
}

impl From<crate::storage::StorageType> for BackupStorageType {
    fn from(storage_type: crate::storage::StorageType) -> Self {
        use crate::storage::StorageType::{
            CustomCloud, DataStore, Documents, Local, ThirdPartyConsumer, ThirdpartyDocuments,
        };
        match storage_type {
            Documents => Self::Documents,
            ThirdpartyDocuments => Self::ThridpartyDocuments,
            CustomCloud => Self::CustomCloud,
            Local => Self::Local,
            DataStore => Self::DataStore,
            ThirdPartyConsumer => Self::ThirdPartyConsumer,
        }
    }
}

/// A .NET `DateTime` of MySQL: whole seconds of UTC without a zone; none is .NET's least one.
pub fn date(at: Option<Timestamp>) -> String {
    let at = at.map(|at| at.to_zoned(TimeZone::UTC).datetime());
    at.map_or_else(
        || "0001-01-01T00:00:00".to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
    )
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(crate) mod tests;
