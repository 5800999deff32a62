//! Jobs: the queue in the catalog, the worker that runs them, their progress and cancellation.
//!
//! A worker claims a job by compare-and-set on its fence number and keeps it by a lease, which every
//! heartbeat renews. Whoever loses the lease may write nothing more: the fence is checked by every write,
//! also by the one transaction that publishes the result.

mod cancel;
mod context;
mod owner;
mod progress;
mod queue;
mod run;
mod watch;
mod worker;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{ArchiveRecord, Copied};

pub use cancel::{Cancel, CancelReason};
pub use context::JobContext;
pub use progress::Progress;
pub use queue::{Enqueued, Queue};
pub use worker::{Worker, WorkerHandle, WorkerOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    Backup,
    Restore,
    Verify,
    Prune,
    /// Of one database or filesystem, into a place of its own.
    SourceBackup,
    /// Of such a backup, as a new database or filesystem.
    SourceRestore,
    /// Sends an archive to a further storage.
    Copy,
    /// A copy of the index, by sensenet's API.
    Index,
    /// Makes one full archive of an increment and all that it needs.
    Consolidate,
    /// Encrypts a stored archive anew.
    Rekey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: Uuid,
    pub kind: JobKind,
    pub state: JobState,
    pub tenant_id: i64,
    pub dump: bool,
    /// What was asked for, in the handler's own form.
    pub request: serde_json::Value,
    /// How often it was begun, not counting runs that a shutdown ended.
    pub attempt: u32,
    pub progress: ProgressView,
    /// The archive it made, or is about.
    pub archive_id: Option<Uuid>,
    /// Never empty when the job failed.
    pub error: Option<String>,
    /// Of the last attempt, the first thousand.
    pub warnings: Vec<String>,
    /// How many more there were.
    pub warnings_omitted: u64,
    pub created_on: Timestamp,
    pub started_on: Option<Timestamp>,
    pub finished_on: Option<Timestamp>,
    pub cancel_requested: bool,
}

/// Progress as it is told to the outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressView {
    pub phase: String,
    /// 0 to 100; 100 only when the job has succeeded. Never falls, also not when a job is run again.
    pub percent: u8,
    pub bytes_done: u64,
    pub bytes_total: u64,
    /// Bytes a second, over the last seconds.
    pub rate: u64,
    pub eta_seconds: Option<u64>,
    /// The entry being read.
    pub current: Option<String>,
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub kind: JobKind,
    pub tenant_id: i64,
    pub dump: bool,
    pub request: serde_json::Value,
    /// Jobs with the same text exclude each other until they are finished; 191 bytes at most.
    pub exclusive: Option<String>,
    /// The archive that the job is about, if it exists already.
    pub archive_id: Option<Uuid>,
}

/// Which jobs are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct JobFilter {
    pub kind: Option<JobKind>,
    pub tenant_id: Option<i64>,
    pub dump: Option<bool>,
    pub state: Option<JobState>,
    /// Only those that are queued or running.
    pub unfinished: bool,
}

/// What a job that succeeded publishes, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// A new archive.
    pub archive: Option<ArchiveRecord>,
    /// An archive that was read and found whole, and when.
    pub verified: Option<(Uuid, Timestamp)>,
    /// An archive that was also loaded and compared, and when.
    pub proved: Option<(Uuid, Timestamp)>,
    /// Further storages that the new archive is to be sent to.
    pub copies: Vec<String>,
    /// A copy that was stored and compared.
    pub copied: Option<Copied>,
}

impl Finished {
    pub fn archive(record: ArchiveRecord) -> Self {
        Self { archive: Some(record), ..Self::default() }
    }

    pub fn verified(archive: Uuid, at: Timestamp) -> Self {
        Self { verified: Some((archive, at)), ..Self::default() }
    }

    pub fn proved(archive: Uuid, at: Timestamp) -> Self {
        Self { verified: Some((archive, at)), proved: Some((archive, at)), ..Self::default() }
    }
}

/// What [`Handler::clean`] found.
#[derive(Debug, Clone)]
pub enum Cleaned {
    /// Nothing is left: the job may be run again.
    Gone,
    /// The earlier run had done its work, and only its end was not recorded.
    Succeeded(Box<Finished>),
    /// All was undone, and the job must not be run again of itself: it has failed with this text.
    Undone(String),
}

/// Why a job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobFailure {
    /// It obeyed its `Cancel`.
    #[error("cancelled")]
    Cancelled,
    /// The text is shown to users.
    #[error("{0}")]
    Failed(String),
}

/// Does the work of jobs; the program has one, which looks at the job's kind.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Runs a job to its end. Must end soon after `context.cancel` says so; after the grace of
    /// `WorkerOptions::cancel_grace` it is dropped where it waits.
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure>;

    /// A job has failed for good, and that is recorded. Must not wait for anything.
    async fn failed(&self, _job: &Job, _error: &str) {}

    /// Removes what an earlier run may have left: `remains` as that run saved them. They may be there
    /// in full, in part or not at all, and the same may be asked again. An error is tried again later.
    async fn clean(&self, job: &Job, remains: &serde_json::Value) -> Result<Cleaned, String>;
}
