//! Jobs as their users see them: listing, looking at one, cancelling.

use futures::stream::BoxStream;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Job, JobKind, JobState};
use crate::ops::{OpError, Page, PageRequest};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// None: all tenants', for an administrator of the installation.
    pub tenant_id: Option<i64>,
    pub kind: Option<JobKind>,
    pub state: Option<JobState>,
    /// None: both.
    pub dump: Option<bool>,
}

/// Jobs, newest first.
pub async fn list(
    _app: &App,
    _filter: JobFilter,
    _page: PageRequest,
) -> Result<Page<Job>, OpError> {
    todo!()
}

/// One job; another tenant's is `NotFound`.
pub async fn get(_app: &App, _tenant_id: Option<i64>, _id: Uuid) -> Result<Job, OpError> {
    todo!()
}

/// Asks a job to stop, and returns it as it is then. A finished one is `Conflict`.
pub async fn cancel(_app: &App, _tenant_id: Option<i64>, _id: Uuid) -> Result<Job, OpError> {
    todo!()
}

/// A job as it is now, and again after each change, until it has ended. Another tenant's is `NotFound`.
pub async fn watch(
    _app: &App,
    _tenant_id: Option<i64>,
    _id: Uuid,
) -> Result<BoxStream<'static, Result<Job, OpError>>, OpError> {
    todo!()
}
