//! Operations by RavenDB's names, in the forms of 3.0 and 3.5.

use serde::Serialize;
use utoipa::ToSchema;

use super::time;
use crate::catalog::{Ending, Operation, SourceKind, Task};
use crate::config::RavenVersion;

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
pub(super) mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::catalog::Message;

    pub(in crate::http::ravendb) fn operation(
        task: Task,
        kind: SourceKind,
        ending: Option<Ending>,
    ) -> Operation {
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
