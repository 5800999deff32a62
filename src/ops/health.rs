//! Whether the service can do its work, and how much of it was done.

use jiff::Timestamp;

use crate::app::App;
use crate::jobs::{JobKind, JobState};
use crate::ops::OpError;

/// Ok when the catalog answers and, in a process that works on jobs, the worker is alive.
/// The error is a sentence without secrets.
pub async fn ready(_app: &App) -> Result<(), String> {
    todo!()
}

/// Figures of the catalog for monitoring.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub jobs: Vec<JobCount>,
    pub last_success: Vec<LastSuccess>,
}

#[derive(Debug, Clone)]
pub struct JobCount {
    pub kind: JobKind,
    pub state: JobState,
    pub count: u64,
}

/// The newest archive of a tenant.
#[derive(Debug, Clone)]
pub struct LastSuccess {
    pub tenant_id: i64,
    pub dump: bool,
    pub at: Timestamp,
    pub bytes: u64,
    /// From the job's start to its end.
    pub seconds: f64,
}

pub async fn figures(_app: &App) -> Result<Figures, OpError> {
    todo!()
}
