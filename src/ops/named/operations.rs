//! What the clients of an operation are told: its row in the catalog, and what became of its job.

use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{Ending, Message, Operation, SourceKind, Task};
use crate::config::RavenVersion;
use crate::jobs::{Job, JobFilter, JobKind, JobState};
use crate::ops::OpError;

/// How many operations are looked through for those that run.
const RECENT: u32 = 500;

/// An operation as it is now; its end is taken note of when its job has ended.
pub async fn numbered(app: &App, number: i64) -> Result<Option<Operation>, OpError> {
    match app.catalog.operations().numbered(number).await? {
        Some(operation) => settled(app, operation).await.map(Some),
        None => Ok(None),
    }
}

/// The newest of a task on one source, or of a kind of source.
pub async fn newest(
    app: &App,
    task: Task,
    kind: SourceKind,
    name: Option<&str>,
) -> Result<Option<Operation>, OpError> {
    match app.catalog.operations().newest(task, kind, name).await? {
        Some(operation) => settled(app, operation).await.map(Some),
        None => Ok(None),
    }
}

/// Those that run, and those begun since, the newest first.
pub async fn since(app: &App, since: Timestamp) -> Result<Vec<Operation>, OpError> {
    let mut operations = Vec::new();
    for operation in app.catalog.operations().recent(RECENT).await? {
        let operation = settled(app, operation).await?;
        if operation.ending.is_none() || operation.started_on >= since {
            operations.push(operation);
        }
    }
    Ok(operations)
}

/// Asks an operation to stop.
pub async fn cancel(app: &App, operation: &Operation) -> Result<(), OpError> {
    if let Some(job) = operation.job_id {
        app.queue.request_cancel(job).await?;
    }
    Ok(())
}

/// What is being restored now as a source of its own, or else the portal.
pub async fn restoring(app: &App) -> Result<Option<String>, OpError> {
    for kind in [JobKind::SourceRestore, JobKind::Restore] {
        let filter = JobFilter { kind: Some(kind), unfinished: true, ..JobFilter::default() };
        if let Some(job) = app.queue.latest(filter).await? {
            return Ok(Some(name_of(app, &job)));
        }
    }
    Ok(None)
}

/// What a job of a restore is called.
pub(super) fn name_of(app: &App, job: &Job) -> String {
    let name = job.request.get("name").and_then(serde_json::Value::as_str);
    match job.kind {
        JobKind::SourceRestore => name.unwrap_or_default().to_owned(),
        _ => app.config.portal.name.clone(),
    }
}

/// Records the operation of a job, or finds it.
pub(super) async fn begin(
    app: &App,
    job: &Job,
    (task, kind): (Task, SourceKind),
    name: &str,
    location: &str,
) -> Result<Operation, OpError> {
    let new = Operation {
        id: 0,
        number: None,
        job_id: Some(job.id),
        task,
        kind,
        name: name.to_owned(),
        location: location.to_owned(),
        messages: Vec::new(),
        started_on: job.created_on,
        completed_on: None,
        ending: None,
        error: None,
    };
    // Backups of 3.0 are no operations to its clients.
    let numbered = task == Task::Restore || app.config.ravendb.version == RavenVersion::V35;
    Ok(app.catalog.operations().begin(&new, numbered).await?)
}

/// Tells the clients of a job's operation; that it cannot be told must not end the job.
pub(super) async fn say(app: &App, job: Uuid, message: Message) {
    say_all(app, job, vec![message]).await;
}

pub(super) async fn say_all(app: &App, job: Uuid, messages: Vec<Message>) {
    if let Err(error) = app.catalog.operations().say(job, messages, false).await {
        tracing::warn!(%job, %error, "a message could not be recorded");
    }
}

/// What a backup says last.
pub(super) const FINISHED: &str = "Voron backup db finished";

/// Whether an operation without a job left what only a success leaves.
async fn was_good(app: &App, operation: &Operation, job: Uuid) -> Result<bool, OpError> {
    Ok(match operation.task {
        Task::Backup => operation.messages.last().is_some_and(|last| last.text == FINISHED),
        Task::Restore => {
            app.catalog.sources().of_job(job).await?.is_some_and(|source| source.ready)
        }
    })
}

/// A job's end makes its operation's. It may have ended in ways that its handler did not see.
async fn settled(app: &App, mut operation: Operation) -> Result<Operation, OpError> {
    let (None, Some(id)) = (operation.ending, operation.job_id) else { return Ok(operation) };
    let job = app.queue.get(id).await?;
    if job.as_ref().is_some_and(|job| !job.state.is_finished()) {
        return Ok(operation);
    }
    // What was said at the very end, after the row was read.
    operation = app.catalog.operations().get(operation.id).await?.unwrap_or(operation);
    let (state, error, at) = match job {
        Some(job) => (job.state, job.error, job.finished_on.unwrap_or_else(Timestamp::now)),
        // Old jobs are forgotten, maybe before anybody has asked how they ended.
        None if was_good(app, &operation, id).await? => {
            (JobState::Succeeded, None, operation.started_on)
        }
        None => (JobState::Failed, None, Timestamp::now()),
    };
    operation.completed_on = Some(at);
    operation.ending = Some(match state {
        JobState::Succeeded => Ending::Succeeded,
        JobState::Cancelled => Ending::Cancelled,
        _ => Ending::Failed,
    });
    let why = error.unwrap_or_else(|| "its job is gone".to_owned());
    let what = match operation.kind {
        SourceKind::Database => "database",
        SourceKind::Filesystem => "filesystem",
    };
    if (operation.ending, operation.task) == (Some(Ending::Succeeded), Task::Restore) {
        operation
            .messages
            .push(Message { at, ..Message::now(format!("The new {what} was created")) });
    }
    let text = match (operation.ending, operation.task) {
        (Some(Ending::Failed), Task::Backup) => {
            Some(format!("Failed to complete backup because: {why}"))
        }
        (Some(Ending::Cancelled), Task::Backup) => Some("Backup was canceled".to_owned()),
        (Some(Ending::Failed | Ending::Cancelled), Task::Restore) => {
            let why = match operation.ending {
                Some(Ending::Cancelled) => "the restore was cancelled",
                _ => &why,
            };
            operation.error = Some(why.to_owned());
            Some(format!("Unable to restore {what} {why}"))
        }
        _ => None,
    };
    if let Some(text) = text {
        if operation.task == Task::Backup && operation.ending == Some(Ending::Failed) {
            operation.error = Some(text.clone());
        }
        let details = (operation.ending == Some(Ending::Failed)).then_some(why);
        operation.messages.push(Message { at, ..Message::error(text, details) });
    }
    app.catalog.operations().settle(&operation).await?;
    Ok(operation)
}
