//! Requests and documents by RavenDB's names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{Ending, Message, Operation, SourceKind};
use crate::config::RavenVersion;

mod operation;

pub use operation::{ListedOperation, OperationStatus};

/// A database's or file system's configuration.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct ConfigurationDocument {
    /// The name, or `Raven/Databases/` and the name.
    id: Option<String>,
    settings: Option<BTreeMap<String, String>>,
    /// Stored only where `ravendb.store_secrets` allows it.
    secured_settings: Option<BTreeMap<String, String>>,
    disabled: Option<bool>,
}

/// A backup of a database.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct DatabaseBackupRequest {
    /// A path below `storage.local.root` (a drive letter, `~` or a leading slash stands for it), or the URL of a
    /// prefix that the configuration allows.
    backup_location: String,
    /// What is stored with the backup; null: the database's own.
    database_document: Option<ConfigurationDocument>,
}

/// A backup of a file system.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct FilesystemBackupRequest {
    /// As for databases.
    backup_location: String,
    /// What is stored with the backup; null: the file system's own.
    file_system_document: Option<ConfigurationDocument>,
}

/// A restore as a new database.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct DatabaseRestoreRequest {
    backup_location: String,
    /// Null: the `Id` of the backup's document.
    database_name: Option<String>,
    /// Null: beside the configured database.
    database_location: Option<String>,
    indexes_location: Option<String>,
    /// Ignored, with a message.
    journals_location: Option<String>,
    /// Compact it afterwards.
    defrag: Option<bool>,
    /// How many seconds to wait for another restore.
    restore_start_timeout: Option<i32>,
}

/// A restore as a new file system.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct FilesystemRestoreRequest {
    backup_location: String,
    /// Null: the `Id` of the backup's document.
    filesystem_name: Option<String>,
    /// Null: beside the configured file system.
    filesystem_location: Option<String>,
    indexes_location: Option<String>,
    /// Ignored, with a message.
    journals_location: Option<String>,
    defrag: Option<bool>,
    /// How many seconds to wait for another restore.
    restore_start_timeout: Option<i32>,
}

/// An operation that was started.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OperationStarted {
    pub operation_id: i64,
}

/// How a backup goes, or how the last one went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BackupStatus {
    started: String,
    #[schema(required)]
    completed: Option<String>,
    is_running: bool,
    /// Of 3.5 only, and there false for file systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    messages: Vec<BackupMessage>,
}

/// A message of a backup.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BackupMessage {
    message: String,
    #[schema(required)]
    details: Option<String>,
    timestamp: String,
    severity: Severity,
}

/// How bad it is.
#[derive(Serialize, ToSchema)]
pub enum Severity {
    Informational,
    Error,
}

/// .NET's form of a time, with seven digits of a second.
pub fn time(at: Timestamp) -> String {
    let fraction = at.subsec_nanosecond().unsigned_abs() / 100;
    format!("{}.{fraction:07}Z", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

impl BackupStatus {
    pub fn of(operation: &Operation, version: RavenVersion) -> Self {
        let is_database = operation.kind == SourceKind::Database;
        let succeeded = operation.ending == Some(Ending::Succeeded);
        Self {
            started: time(operation.started_on),
            completed: operation.completed_on.map(time),
            is_running: operation.ending.is_none(),
            success: (version == RavenVersion::V35).then_some(is_database && succeeded),
            messages: operation.messages.iter().map(BackupMessage::from).collect(),
        }
    }
}

impl From<&Message> for BackupMessage {
    fn from(message: &Message) -> Self {
        Self {
            message: message.text.clone(),
            details: message.details.clone(),
            timestamp: time(message.at),
            severity: if message.is_error { Severity::Error } else { Severity::Informational },
        }
    }
}

/// How a restore goes, or how the last one went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RestoreStatus {
    state: RestoreState,
    messages: Vec<String>,
}

/// What is answered where that is asked for: the status, or within `restoreStatus` the one of a restore that nobody
/// said the name of.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[allow(dead_code, reason = "a schema")]
pub struct RestoreStatusDocument {
    #[schema(required = false, nullable = false)]
    state: Option<RestoreState>,
    #[schema(required = false, nullable = false)]
    messages: Option<Vec<String>>,
    #[schema(rename = "restoreStatus", required = false, nullable = false)]
    restore_status: Option<RestoreStatus>,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum RestoreState {
    Running,
    Completed,
    Faulted,
}

/// The form of a restore that was refused because nobody said what it was to make.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NestedStatus {
    pub restore_status: RestoreStatus,
}

impl From<&Operation> for RestoreStatus {
    fn from(operation: &Operation) -> Self {
        Self {
            state: match operation.ending {
                None => RestoreState::Running,
                Some(Ending::Succeeded) => RestoreState::Completed,
                Some(Ending::Failed | Ending::Cancelled) => RestoreState::Faulted,
            },
            messages: operation.messages.iter().map(|message| message.text.clone()).collect(),
        }
    }
}

/// What is being restored.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RestoreInProgress {
    pub resource: String,
}

#[cfg(test)]
mod tests {
    use super::operation::tests::operation;
    use super::*;
    use crate::catalog::Task;

    /// A5: "`Success` bool (3.5 only; FS code never sets it, stays false)", times with seven digits
    #[test]
    fn backup_status() {
        let of = |kind, version| {
            let operation = operation(Task::Backup, kind, Some(Ending::Succeeded));
            serde_json::to_string(&BackupStatus::of(&operation, version)).unwrap()
        };
        let time = "2026-03-01T02:05:09.0421000Z";
        assert_eq!(
            of(SourceKind::Database, RavenVersion::V30),
            format!(
                "{{\"Started\":\"{time}\",\"Completed\":\"{time}\",\"IsRunning\":false,\"Messages\":[{{\
                 \"Message\":\"said\",\"Details\":null,\"Timestamp\":\"{time}\",\"Severity\":\"Informational\"}}]}}"
            )
        );
        assert!(of(SourceKind::Database, RavenVersion::V35).contains("\"Success\":true"));
        assert!(of(SourceKind::Filesystem, RavenVersion::V35).contains("\"Success\":false"));
    }
}
