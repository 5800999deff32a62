//! Requests and documents by RavenDB's names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{Ending, Message, Operation, SourceKind, Task};
use crate::config::RavenVersion;

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

/// How an operation goes, or how it went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OperationStatus {
    completed: bool,
    faulted: bool,
    /// Of 3.5 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    canceled: Option<bool>,
    #[schema(required)]
    state: Option<OperationState>,
    /// Of 3.5 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    exception: Option<Option<OperationException>>,
}

/// What an operation tells of itself.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OperationState {
    /// Of backups: the last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    progress: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    error: Option<Option<String>>,
}

/// Why an operation failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OperationException {
    class_name: &'static str,
    message: String,
}

fn exception(operation: &Operation) -> Option<OperationException> {
    let faulted = operation.ending == Some(Ending::Failed);
    let message = operation.error.clone().filter(|_| faulted)?;
    Some(OperationException { class_name: "System.InvalidOperationException", message })
}

impl OperationStatus {
    pub fn of(operation: &Operation, version: RavenVersion) -> Self {
        let completed = operation.ending.is_some();
        // A restore that was cancelled has failed as far as RavenDB knows: there none can be.
        let canceled =
            operation.ending == Some(Ending::Cancelled) && operation.task == Task::Backup;
        let faulted = completed && operation.ending != Some(Ending::Succeeded) && !canceled;
        let v35 = version == RavenVersion::V35;
        let error = operation.error.clone().filter(|_| faulted);
        let state = match operation.task {
            Task::Backup => {
                let last = operation.messages.last().map(|message| message.text.clone());
                Some(OperationState {
                    progress: Some(last.filter(|_| !completed)),
                    error: match (faulted, canceled) {
                        (true, _) => Some(error),
                        (_, true) => Some(None),
                        _ => None,
                    },
                })
            }
            Task::Restore if !faulted => None,
            Task::Restore if v35 => Some(OperationState::default()),
            Task::Restore => Some(OperationState { progress: None, error: Some(error) }),
        };
        Self {
            completed,
            faulted,
            canceled: v35.then_some(canceled),
            state,
            exception: v35.then(|| exception(operation)),
        }
    }
}

/// An operation in the list, in the form of 3.0 or of 3.5.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ListedOperation {
    id: i64,
    /// By .NET's name: `Running`, `RanToCompletion`, `Faulted`. Of 3.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_status: Option<&'static str>,
    /// The same in 3.5, which also knows `Canceled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[schema(required)]
    exception: Option<OperationException>,
    /// What it does. Of 3.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    killable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faulted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canceled: Option<bool>,
    /// What it does. Of 3.5, as are the four before.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    task_type: &'static str,
    start_time: String,
}

impl ListedOperation {
    pub fn of(operation: &Operation, version: RavenVersion) -> Self {
        let status = OperationStatus::of(operation, version);
        let canceled = status.canceled == Some(true);
        let word = match status {
            OperationStatus { completed: false, .. } => "Running",
            OperationStatus { faulted: true, .. } => "Faulted",
            _ if canceled => "Canceled",
            _ => "RanToCompletion",
        };
        let Operation { name, location, .. } = operation;
        let (task_type, text) = match (operation.task, operation.kind) {
            (Task::Backup, SourceKind::Database) => {
                ("BackupDatabase", format!("Backup to: {location}"))
            }
            (Task::Backup, SourceKind::Filesystem) => {
                ("BackupFilesystem", format!("Backup to: {location}"))
            }
            (Task::Restore, SourceKind::Database) => {
                ("RestoreDatabase", format!("Restoring database {name} from {location}"))
            }
            (Task::Restore, SourceKind::Filesystem) => {
                ("RestoreFilesystem", format!("Restoring filesystem {name} from {location}"))
            }
        };
        let v35 = version == RavenVersion::V35;
        Self {
            id: operation.number.unwrap_or_default(),
            task_status: (!v35).then_some(word),
            status: v35.then_some(word),
            exception: exception(operation),
            payload: (!v35).then(|| text.clone()),
            killable: v35.then_some(operation.task == Task::Backup && !status.completed),
            completed: v35.then_some(status.completed),
            faulted: v35.then_some(status.faulted),
            canceled: v35.then_some(canceled),
            description: v35.then_some(text),
            task_type,
            start_time: time(operation.started_on),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn operation(task: Task, kind: SourceKind, ending: Option<Ending>) -> Operation {
        let at: Timestamp = "2026-03-01T02:05:09.0421Z".parse().unwrap();
        let error = (ending == Some(Ending::Failed)).then(|| "broken".to_owned());
        Operation {
            id: 8,
            number: Some(7),
            job_id: None,
            task,
            kind,
            name: "N".to_owned(),
            location: "P".to_owned(),
            messages: vec![Message { at, ..Message::now("said") }],
            started_on: at,
            completed_on: ending.map(|_| at),
            ending,
            error,
        }
    }

    fn status(task: Task, ending: Option<Ending>, version: RavenVersion) -> Value {
        let operation = operation(task, SourceKind::Database, ending);
        serde_json::to_value(OperationStatus::of(&operation, version)).unwrap()
    }

    /// A6: "3.0 (restore): `{"Completed":bool,"Faulted":bool,"State":null}`; faulted: … `State:{"Error":"MSG"}`"
    #[test]
    fn operations_of_3_0() {
        let of = |ending| status(Task::Restore, ending, RavenVersion::V30);
        assert_eq!(of(None), json!({"Completed": false, "Faulted": false, "State": null}));
        assert_eq!(
            of(Some(Ending::Succeeded)),
            json!({"Completed": true, "Faulted": false, "State": null})
        );
        assert_eq!(
            of(Some(Ending::Failed)),
            json!({"Completed": true, "Faulted": true, "State": {"Error": "broken"}})
        );
    }

    /// A6: "3.5 adds `Canceled` bool and `Exception`. Backup: `State:{"Progress":"last message"}`, at end Progress null"
    #[test]
    fn operations_of_3_5() {
        let of = |task, ending| status(task, ending, RavenVersion::V35);
        let none = Value::Null;
        let expected = |completed, faulted, canceled, state: Value, exception: &Value| {
            json!({"Completed": completed, "Faulted": faulted, "Canceled": canceled, "State": state,
                "Exception": exception})
        };
        let exception =
            json!({"ClassName": "System.InvalidOperationException", "Message": "broken"});
        for (task, ending, value) in [
            (Task::Backup, None, expected(false, false, false, json!({"Progress": "said"}), &none)),
            (
                Task::Backup,
                Some(Ending::Succeeded),
                expected(true, false, false, json!({"Progress": null}), &none),
            ),
            (
                Task::Backup,
                Some(Ending::Failed),
                expected(
                    true,
                    true,
                    false,
                    json!({"Progress": null, "Error": "broken"}),
                    &exception,
                ),
            ),
            (
                Task::Backup,
                Some(Ending::Cancelled),
                expected(true, false, true, json!({"Progress": null, "Error": null}), &none),
            ),
            (Task::Restore, None, expected(false, false, false, none.clone(), &none)),
            (
                Task::Restore,
                Some(Ending::Failed),
                expected(true, true, false, json!({}), &exception),
            ),
        ] {
            assert_eq!(of(task, ending), value, "{task:?} {ending:?}");
        }
    }

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

    /// A6: the items of `/operations`
    #[test]
    fn lists() {
        let of = |version| {
            let operation = operation(Task::Restore, SourceKind::Filesystem, None);
            serde_json::to_string(&ListedOperation::of(&operation, version)).unwrap()
        };
        assert_eq!(
            of(RavenVersion::V30),
            "{\"Id\":7,\"TaskStatus\":\"Running\",\"Exception\":null,\
             \"Payload\":\"Restoring filesystem N from P\",\"TaskType\":\"RestoreFilesystem\",\
             \"StartTime\":\"2026-03-01T02:05:09.0421000Z\"}"
        );
        assert_eq!(
            of(RavenVersion::V35),
            "{\"Id\":7,\"Status\":\"Running\",\"Exception\":null,\"Killable\":false,\"Completed\":false,\
             \"Faulted\":false,\"Canceled\":false,\"Description\":\"Restoring filesystem N from P\",\
             \"TaskType\":\"RestoreFilesystem\",\"StartTime\":\"2026-03-01T02:05:09.0421000Z\"}"
        );
    }
}
