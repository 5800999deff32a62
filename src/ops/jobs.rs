//! Jobs as their users see them: listing, looking at one, cancelling.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Job, JobFilter, JobState};
use crate::notify;
use crate::ops::actor::CANCELLED_BY;
use crate::ops::{Actor, OpError, Page, PageRequest};

/// Jobs, newest first.
pub async fn list(app: &App, filter: JobFilter, page: PageRequest) -> Result<Page<Job>, OpError> {
    Ok(app.queue.list(filter, page.limit, page.offset).await?)
}

/// One job; another tenant's is `NotFound`, but a dump is
/// everybody's: the caller checks who may see dumps. `tenant_id`: None for an administrator of the installation.
pub async fn get(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<Job, OpError> {
    app.queue
        .get(id)
        .await?
        .filter(|job| tenant_id.is_none_or(|tenant| job.dump || job.tenant_id == tenant))
        .ok_or_else(|| OpError::NotFound(format!("there is no job {id}")))
}

/// Asks a job to stop, and returns it as it is then. A finished one is `Conflict`.
pub async fn cancel(
    app: &Arc<App>,
    tenant_id: Option<i64>,
    id: Uuid,
    by: &Actor,
) -> Result<Job, OpError> {
    let job = get(app, tenant_id, id).await?;
    if job.state.is_finished() {
        return Err(OpError::Conflict(format!("job {id} has ended already")));
    }
    let job = stop(app, &job, by).await?;
    job.ok_or_else(|| OpError::NotFound(format!("there is no job {id}")))
}

/// Asks a job that has not ended to stop.
pub(super) async fn stop(app: &Arc<App>, job: &Job, by: &Actor) -> Result<Option<Job>, OpError> {
    let by = serde_json::to_value(by).map_err(OpError::internal)?;
    let stopped = app.queue.request_cancel_by(job, CANCELLED_BY, by).await?;
    if job.state == JobState::Queued
        && let Some(stopped) = stopped.as_ref().filter(|job| job.state.is_finished())
    {
        // No worker will tell of its end.
        notify::follow(app, stopped);
    }
    Ok(stopped)
}

/// A job as it is now, and again after each change, until it has ended. Another tenant's is `NotFound`.
pub async fn watch(
    app: &App,
    tenant_id: Option<i64>,
    id: Uuid,
) -> Result<BoxStream<'static, Result<Job, OpError>>, OpError> {
    get(app, tenant_id, id).await?;
    Ok(app.queue.watch(id).map_err(OpError::from).boxed())
}
