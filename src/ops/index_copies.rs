//! Copies of the index to a folder or bucket, as sensenet's search service makes them: its files lie flat in the
//! target, ready to be put into a search service's own folder. One is made at a time.

mod record;
mod run;
mod target;

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::catalog::IndexCopy;
use crate::jobs::{Job, JobFilter, JobKind, JobState, NewJob};
use crate::ops::OpError;

pub(super) use run::{clean, run};

/// What excludes a second copy.
const EXCLUSIVE: &str = "index";
/// How many copies a history tells of.
const HISTORY: u32 = 1000;
/// How .NET calls what ended a copy, and the words that its users' programs look for.
const CANCELLED: &str = "CANCELED: OperationCanceledException: The operation was canceled.";

/// What the job keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CopyRequest {
    /// As it was asked for.
    target: String,
}

/// What is known of all copies.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// The one that runs or waits.
    pub current: Option<IndexCopy>,
    /// Those that have ended, the oldest first.
    pub history: Vec<IndexCopy>,
}

/// What [`start`] found.
#[derive(Debug, Clone)]
pub struct Started {
    pub copy: IndexCopy,
    /// False: it ran already.
    pub created: bool,
}

/// Whether there is an index to be copied.
pub fn is_configured(app: &App) -> bool {
    !app.portal.indexes().is_empty()
}

/// Starts a copy of the first configured index. When one is under way, that one is returned, whatever its target.
pub async fn start(app: &App, tenant_id: i64, target: &str) -> Result<Started, OpError> {
    if let Some(job) = latest(app).await?.filter(|job| !job.state.is_finished()) {
        return Ok(Started { copy: current(app, &job).await?, created: false });
    }
    target::Target::resolve(app, target)?.check().await?;
    let restoring =
        JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
    if !app.queue.list(restoring, 1, 0).await?.items.is_empty() {
        return Err(OpError::Conflict("a restore is running: wait until it has ended".to_owned()));
    }
    let request = CopyRequest { target: target.to_owned() };
    let enqueued = app
        .queue
        .enqueue(NewJob {
            kind: JobKind::Index,
            tenant_id,
            dump: true,
            request: serde_json::to_value(&request).map_err(OpError::internal)?,
            exclusive: Some(EXCLUSIVE.to_owned()),
            archive_id: None,
        })
        .await?;
    if !enqueued.created {
        return Ok(Started { copy: current(app, &enqueued.job).await?, created: false });
    }
    app.catalog.index_copies().insert(enqueued.job.id, target).await?;
    let copy =
        IndexCopy { job_id: enqueued.job.id, target: target.to_owned(), ..IndexCopy::default() };
    Ok(Started { copy, created: true })
}

/// All copies, as far as they are or got.
pub async fn query(app: &App) -> Result<Copies, OpError> {
    let running = latest(app).await?.filter(|job| !job.state.is_finished());
    let mut copies = Copies::default();
    for copy in app.catalog.index_copies().newest(HISTORY).await? {
        if running.as_ref().is_some_and(|job| job.id == copy.job_id) {
            continue;
        }
        copies.history.push(ended(app, copy).await?);
    }
    if let Some(job) = running {
        copies.current = Some(current(app, &job).await?);
    }
    Ok(copies)
}

/// Asks the copy that runs to stop, and tells what is known then.
pub async fn cancel(app: &App) -> Result<Copies, OpError> {
    let known = query(app).await?;
    if let Some(copy) = &known.current {
        app.queue.request_cancel(copy.job_id).await?;
    }
    Ok(known)
}

async fn latest(app: &App) -> Result<Option<Job>, OpError> {
    let filter = JobFilter { kind: Some(JobKind::Index), ..JobFilter::default() };
    Ok(app.queue.latest(filter).await?)
}

/// How far the copy of an unfinished job is.
async fn current(app: &App, job: &Job) -> Result<IndexCopy, OpError> {
    if let Some(live) = record::live(app, job.id) {
        return Ok(live);
    }
    let noted = app.catalog.index_copies().newest(1).await?;
    let target = serde_json::from_value::<CopyRequest>(job.request.clone());
    Ok(noted.into_iter().find(|copy| copy.job_id == job.id).unwrap_or_else(|| IndexCopy {
        job_id: job.id,
        target: target.map(|request| request.target).unwrap_or_default(),
        ..IndexCopy::default()
    }))
}

/// A copy whose process was killed could not say how it ended: its job knows.
async fn ended(app: &App, mut copy: IndexCopy) -> Result<IndexCopy, OpError> {
    copy.current_file = None;
    if copy.finished_on.is_some() || copy.message.is_some() {
        return Ok(copy);
    }
    let job = app.queue.get(copy.job_id).await?;
    match job.as_ref().map(|job| job.state) {
        Some(JobState::Succeeded) => copy.finished_on = job.and_then(|job| job.finished_on),
        Some(JobState::Cancelled) => copy.message = Some(CANCELLED.to_owned()),
        // Nothing but that can end one that never began; the job itself was forgotten since.
        None if copy.started_on.is_none() => copy.message = Some(CANCELLED.to_owned()),
        _ => {
            let why = job.and_then(|job| job.error);
            let why = why.unwrap_or_else(|| "the service was stopped".to_owned());
            copy.message = Some(failure(&why));
        }
    }
    // Jobs are forgotten, and this must not change then.
    app.catalog.index_copies().save(&copy).await?;
    Ok(copy)
}

fn failure(why: &str) -> String {
    format!("ERROR: IOException: {why}")
}

/// The copy that a process makes, by its job.
pub(crate) type Live = Mutex<Option<(Uuid, Arc<record::Record>)>>;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::{Config, Secret};

    /// How a copy ended is told as long as its row is there, and not only as long as its job is.
    #[tokio::test]
    async fn copies_of_forgotten_jobs_end_as_they_did() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.catalog.url = Secret::new(format!("sqlite://{}/c.db", dir.path().display()));
        config.storage.local.root = dir.path().join("backups");
        let app = App::build(config).await.unwrap();
        let copies = app.catalog.index_copies();
        let (waiting, begun) = (Uuid::new_v4(), Uuid::new_v4());
        copies.insert(waiting, "x").await.unwrap();
        copies.insert(begun, "y").await.unwrap();
        let started_on = Some(Timestamp::now());
        let target = "y".to_owned();
        let copy = IndexCopy { job_id: begun, target, started_on, ..IndexCopy::default() };
        copies.save(&copy).await.unwrap();
        let history = query(&app).await.unwrap().history;
        let of =
            |id| history.iter().find(|copy| copy.job_id == id).unwrap().message.clone().unwrap();
        assert!(of(waiting).starts_with("CANCELED"), "{}", of(waiting));
        assert!(of(begun).starts_with("ERROR"), "{}", of(begun));
        assert_eq!(copies.newest(9).await.unwrap().len(), 2);
        assert!(copies.newest(9).await.unwrap().iter().all(|copy| copy.message.is_some()));
    }
}
