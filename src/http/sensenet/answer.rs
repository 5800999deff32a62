//! sensenet's `BackupResponse` (`seed-systems.md` B2, B3).

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::SnError;
use crate::catalog::IndexCopy;
use crate::ops::OpError;
use crate::ops::index_copies::{Copies, Started};

/// How copies of the index stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = IndexBackupResponse)]
pub struct BackupResponse {
    #[schema(inline)]
    pub state: BackupState,
    /// The copy that runs.
    #[schema(required)]
    pub current: Option<BackupInfo>,
    /// Copies that have ended, the oldest first.
    #[schema(required)]
    pub history: Option<Vec<BackupInfo>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum BackupState {
    Initial,
    Started,
    Executing,
    Finished,
    CancelRequested,
    Canceled,
    Faulted,
}

/// One copy of the index. A time that is not known yet is `0001-01-01T00:00:00`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = IndexBackupInfo)]
pub struct BackupInfo {
    /// UTC.
    pub started_at: String,
    /// UTC; only of a copy that succeeded.
    pub finished_at: String,
    /// As it was asked for.
    #[schema(required)]
    pub target_path: Option<String>,
    pub total_bytes: i64,
    pub copied_bytes: i64,
    pub count_of_files: i32,
    pub copied_files: i32,
    #[schema(required)]
    pub currently_copied_file: Option<String>,
    /// Why it was cancelled or failed.
    #[schema(required)]
    pub message: Option<String>,
}

impl From<&IndexCopy> for BackupInfo {
    fn from(copy: &IndexCopy) -> Self {
        Self {
            started_at: time(copy.started_on),
            finished_at: time(copy.finished_on),
            target_path: Some(copy.target.clone()),
            total_bytes: i64::try_from(copy.total_bytes).unwrap_or(i64::MAX),
            copied_bytes: i64::try_from(copy.copied_bytes).unwrap_or(i64::MAX),
            count_of_files: i32::try_from(copy.files).unwrap_or(i32::MAX),
            copied_files: i32::try_from(copy.copied_files).unwrap_or(i32::MAX),
            currently_copied_file: copy.current_file.clone(),
            message: copy.message.clone(),
        }
    }
}

/// As .NET writes a `DateTime`, which counts in tenths of microseconds: its readers take no more digits. One that was
/// never set is the first moment of the year 1, of no zone.
fn time(at: Option<Timestamp>) -> String {
    let Some(at) = at else { return "0001-01-01T00:00:00".to_owned() };
    let ticks = at.as_nanosecond() / 100 * 100;
    Timestamp::from_nanosecond(ticks).unwrap_or(at).to_string()
}

impl BackupResponse {
    /// The answer to `BackupIndex`: without the history.
    pub fn started(started: Started) -> Self {
        Self {
            state: if started.created { BackupState::Started } else { BackupState::Executing },
            current: Some(BackupInfo::from(&started.copy)),
            history: None,
        }
    }

    /// The answer to `QueryIndexBackup`. When none runs, the latest copy decides, as sensenet's documents say (its
    /// code looks at the oldest).
    pub fn of(copies: Copies) -> Self {
        let state = match (&copies.current, copies.history.last()) {
            (Some(_), _) => BackupState::Executing,
            (None, None) => BackupState::Initial,
            (None, Some(latest)) => match &latest.message {
                None => BackupState::Finished,
                Some(message) if message.to_ascii_lowercase().starts_with("cancel") => {
                    BackupState::Canceled
                }
                Some(_) => BackupState::Faulted,
            },
        };
        Self {
            state,
            current: copies.current.as_ref().map(BackupInfo::from),
            history: Some(copies.history.iter().map(BackupInfo::from).collect()),
        }
    }

    /// The answer to `CancelIndexBackup`, the same whether one runs or not.
    pub fn cancelling(copies: Copies) -> Self {
        Self { state: BackupState::CancelRequested, ..Self::of(copies) }
    }
}

/// Indented, as sensenet writes it.
pub fn json(value: &impl Serialize) -> Result<String, SnError> {
    serde_json::to_string_pretty(value).map_err(|error| OpError::internal(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(message: Option<&str>) -> IndexCopy {
        IndexCopy {
            target: "x".to_owned(),
            started_on: Some("2026-03-01T02:15:00.123456789Z".parse().unwrap()),
            message: message.map(str::to_owned),
            ..IndexCopy::default()
        }
    }

    /// B2: the members "in order", "Nulls are written", "unset = `0001-01-01T00:00:00`", "ISO with fraction + `Z`".
    #[test]
    fn members_are_sensenets() {
        let copies = Copies { current: None, history: vec![copy(None)] };
        let text = json(&BackupResponse::of(copies)).unwrap();
        let expected = r#"{
  "State": "Finished",
  "Current": null,
  "History": [
    {
      "StartedAt": "2026-03-01T02:15:00.1234567Z",
      "FinishedAt": "0001-01-01T00:00:00",
      "TargetPath": "x",
      "TotalBytes": 0,
      "CopiedBytes": 0,
      "CountOfFiles": 0,
      "CopiedFiles": 0,
      "CurrentlyCopiedFile": null,
      "Message": null
    }
  ]
}"#;
        assert_eq!(text, expected);
    }

    /// B3: "Idle → … no history → `Initial`; otherwise decided by Message: null → `Finished`, starts with "Cancel"
    /// (case-insensitive) → `Canceled`, else `Faulted`."
    #[test]
    fn the_latest_decides() {
        let state = |messages: &[Option<&str>]| {
            let history = messages.iter().map(|message| copy(*message)).collect();
            BackupResponse::of(Copies { current: None, history }).state
        };
        assert_eq!(state(&[]), BackupState::Initial);
        assert_eq!(state(&[Some("ERROR: x"), None]), BackupState::Finished);
        assert_eq!(state(&[None, Some("CANCELED: x")]), BackupState::Canceled);
        assert_eq!(state(&[None, Some("cancelled")]), BackupState::Canceled);
        assert_eq!(state(&[None, Some("ERROR: x")]), BackupState::Faulted);
        let running = Copies { current: Some(copy(None)), history: Vec::new() };
        assert_eq!(BackupResponse::of(running.clone()).state, BackupState::Executing);
        assert_eq!(BackupResponse::cancelling(running).state, BackupState::CancelRequested);
    }
}
