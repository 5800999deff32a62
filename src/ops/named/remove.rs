//! Removing what restores made. What is configured stays.

use super::sources::{self, SourcePlace};
use super::target;
use crate::app::App;
use crate::catalog::{SourceKind, SourceRecord};
use crate::jobs::{JobFilter, JobKind};
use crate::ops::OpError;

/// The most jobs that are looked through.
const JOBS: u32 = 1000;

/// Forgets a restored source. `with_data`: and deletes its data and its index.
pub async fn remove(
    app: &App,
    kind: SourceKind,
    name: &str,
    with_data: bool,
) -> Result<(), OpError> {
    let same = |known: &str| known.to_lowercase() == name.to_lowercase();
    if sources::configured(app, kind).iter().any(|known| same(&known.name)) {
        let text = format!("{name} is configured: only what a restore made can be deleted");
        return Err(OpError::Conflict(text));
    }
    let record = app.catalog.sources().get(kind, name).await?;
    let record = record.ok_or_else(|| OpError::NotFound(format!("there is no {name}")))?;
    free(app, &record).await?;
    // From here on nobody finds it. What was stopped right after this can be removed again.
    app.catalog.sources().set_ready(record.job_id, false).await?;
    let removed = async {
        free(app, &record).await?;
        if with_data { remove_data(app, &record).await } else { Ok(()) }
    };
    match removed.await {
        Ok(()) => Ok(app.catalog.sources().forget(record.job_id).await?),
        Err(error) => {
            app.catalog.sources().set_ready(record.job_id, record.ready).await?;
            Err(error)
        }
    }
}

/// Errors while a job reads or makes the source.
async fn free(app: &App, record: &SourceRecord) -> Result<(), OpError> {
    let filter = JobFilter { unfinished: true, ..JobFilter::default() };
    let jobs = app.queue.list(filter, JOBS, 0).await?.items;
    let kind = serde_json::to_value(record.kind).map_err(OpError::internal)?;
    let name = record.name.to_lowercase();
    let at_work = jobs.into_iter().find(|job| {
        let said = job.request.get("name").and_then(serde_json::Value::as_str);
        matches!(job.kind, JobKind::SourceBackup | JobKind::SourceRestore)
            && job.request.get("sourceKind") == Some(&kind)
            && said.is_some_and(|said| said.to_lowercase() == name)
    });
    match at_work {
        Some(job) => {
            Err(OpError::Conflict(format!("job {} is at work on {}", job.id, record.name)))
        }
        None => Ok(()),
    }
}

async fn remove_data(app: &App, record: &SourceRecord) -> Result<(), OpError> {
    let source = sources::restored(app, record)?;
    match &source.place {
        SourcePlace::Filesystem { url, .. } if url.scheme() == "file" => {
            target::remove_folder(url).await?;
        }
        SourcePlace::Filesystem { url, .. } => {
            return Err(OpError::Invalid(format!(
                "{url} is no folder of this machine: delete its objects with the bucket's own tools"
            )));
        }
        SourcePlace::Database { url } => {
            let database = target::database(app, &record.name, url)?;
            let removed = database.discard(true).await;
            removed.map_err(|error| OpError::Unavailable(error.to_string()))?;
        }
    }
    match &source.index {
        Some(index) => target::remove_folder(&index.url).await,
        None => Ok(()),
    }
}
