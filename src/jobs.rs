//! Jobs: the queue in the catalog, the worker that runs them, their progress and cancellation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    Backup,
    Restore,
    Verify,
    Prune,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A job as the catalog has it. A running job whose lease has run out is shown as queued: nobody runs it.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: Uuid,
    pub kind: JobKind,
    pub state: JobState,
    pub tenant_id: i64,
    pub dump: bool,
    /// What was asked for, in the handler's own form.
    pub request: serde_json::Value,
    /// How often it was begun.
    pub attempt: u32,
    pub progress: ProgressView,
    pub archive_id: Option<Uuid>,
    pub error: Option<String>,
    pub warnings: Vec<String>,
    pub created_on: Timestamp,
    pub started_on: Option<Timestamp>,
    pub finished_on: Option<Timestamp>,
    pub cancel_requested: bool,
}

/// Progress as it is told to the outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressView {
    pub phase: String,
    /// 0 to 100; 100 only when the job has succeeded. Never falls, also not across attempts… of one run.
    pub percent: u8,
    pub bytes_done: u64,
    pub bytes_total: u64,
    /// Bytes a second, over the last seconds.
    pub rate: u64,
    pub eta_seconds: Option<u64>,
    /// The entry being read.
    pub current: Option<String>,
}
