//! Restores of one source under a new name, in a place of its own.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::folder::{Folder, document_name};
use super::location::Location;
use super::sources;
use super::target;
use super::{NO_TENANT, document, operations};
use crate::app::App;
use crate::catalog::{Message, Operation, SourceKind, Task};
use crate::jobs::{Job, JobFailure, JobKind, NewJob};
use crate::ops::OpError;

mod run;

pub(in crate::ops) use run::{clean, run};

/// How often it is looked whether another restore has ended.
const POLL: Duration = Duration::from_millis(500);
/// All restores of sources exclude each other.
const EXCLUSIVE: &str = "source restore";
/// RavenDB's own database.
const SYSTEM: &str = "<system>";

/// What a caller asks for. Locations were checked when they were parsed.
pub struct StartRestore {
    pub kind: SourceKind,
    /// None: as the backup's document says.
    pub name: Option<String>,
    pub backup: Location,
    /// None: beside the configured one.
    pub target: Option<Location>,
    pub indexes: Option<Location>,
    pub journals: Option<Location>,
    pub defrag: bool,
    /// How many seconds another restore is waited for.
    pub timeout: Option<u32>,
}

/// Why a restore does not begin.
#[derive(Debug, thiserror::Error)]
pub enum RestoreRefused {
    #[error(
        "{0} file is invalid - {1} name was not found and not supplied in the request (Id property is missing or null). This is probably a bug - should never happen."
    )]
    NoName(&'static str, &'static str),
    #[error("Cannot do an online restore for the <system> database")]
    System,
    #[error(
        "Cannot do an online restore for an existing database, delete the database {0} and restore again."
    )]
    Exists(String),
    #[error("Another restore is in progress (resource name = {0})")]
    Busy(String),
    #[error(
        "Another restore is still in progress (resource name = {0}). Waited {1} seconds for other restore to complete."
    )]
    StillBusy(String, u32),
    #[error("Could not find a part of the path '{0}'.")]
    NoBackup(String),
    #[error("Cannot restore when the {0} file is missing in the backup folder: {1}")]
    NoDocument(&'static str, String),
    #[error("Non-existing path : {0}")]
    NoPath(String),
    #[error("No permissions for folder - {0}")]
    NoPermissions(String),
    #[error(transparent)]
    Op(#[from] OpError),
}

/// What the job keeps of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    source_kind: SourceKind,
    name: String,
    backup: Location,
    target: Option<Location>,
    indexes: Option<Location>,
    journals: Option<Location>,
    defrag: bool,
}

/// Starts a restore, and says which operation it is.
pub async fn start(app: &App, wanted: StartRestore) -> Result<Operation, RestoreRefused> {
    let kind = wanted.kind;
    let root = Folder::open(app, &wanted.backup)?;
    if !root.exists() {
        return Err(RestoreRefused::NoBackup(wanted.backup.shown));
    }
    let newest = root.newest(app, kind).await?;
    let document = newest.as_ref().unwrap_or(&root).read(document_name(kind)).await?;
    if kind == SourceKind::Filesystem {
        if !root.has_document(app, kind).await? {
            return Err(RestoreRefused::NoDocument(document_name(kind), wanted.backup.shown));
        }
        check_folders(app, &wanted)?;
    }
    let in_document = document.as_ref().and_then(document::name_in);
    let Some(name) = wanted.name.filter(|name| !name.trim().is_empty()).or(in_document) else {
        let what = match kind {
            SourceKind::Database => "database",
            SourceKind::Filesystem => "filesystem",
        };
        let refused = RestoreRefused::NoName(document_name(kind), what);
        note_refusal(app, kind, &wanted.backup.shown, &refused).await?;
        return Err(refused);
    };
    if kind == SourceKind::Database {
        if name.eq_ignore_ascii_case(SYSTEM) {
            return Err(RestoreRefused::System);
        }
        if sources::find(app, kind, &name).await?.is_some() {
            return Err(RestoreRefused::Exists(name));
        }
    }
    target::check_name(&name).map_err(OpError::Invalid)?;
    let request = Request {
        source_kind: kind,
        name: name.clone(),
        backup: wanted.backup.clone(),
        target: wanted.target,
        indexes: wanted.indexes,
        journals: wanted.journals,
        defrag: wanted.defrag,
    };
    let url = match newest {
        Some(newest) => newest.archive_url().await?,
        None => None,
    };
    let archive = match url {
        Some(url) => app.catalog.archives().by_url(url).await.map_err(OpError::from)?,
        None => None,
    };
    let archive = archive.map(|record| record.id);
    let job = enqueue(app, &request, archive, wanted.timeout).await?;
    let location = &wanted.backup.shown;
    Ok(operations::begin(app, &job, (Task::Restore, kind), &name, location).await?)
}

/// What RavenDB looks at before it restores a file system.
fn check_folders(app: &App, wanted: &StartRestore) -> Result<(), RestoreRefused> {
    for location in [&wanted.indexes, &wanted.journals].into_iter().flatten() {
        if !Folder::open(app, location)?.exists() {
            return Err(RestoreRefused::NoPath(location.shown.clone()));
        }
    }
    for location in [&wanted.target, &wanted.indexes, &wanted.journals].into_iter().flatten() {
        if Folder::open(app, location)?.is_read_only() {
            return Err(RestoreRefused::NoPermissions(location.shown.clone()));
        }
    }
    Ok(())
}

/// RavenDB writes its status document also when nobody can say what was to be restored.
async fn note_refusal(
    app: &App,
    kind: SourceKind,
    location: &str,
    refused: &RestoreRefused,
) -> Result<(), OpError> {
    let now = Timestamp::now();
    let refusal = Operation {
        id: 0,
        number: None,
        job_id: None,
        task: Task::Restore,
        kind,
        name: String::new(),
        location: location.to_owned(),
        messages: vec![Message::error(refused.to_string(), None)],
        started_on: now,
        completed_on: Some(now),
        ending: Some(crate::catalog::Ending::Failed),
        error: Some(refused.to_string()),
    };
    app.catalog.operations().begin(&refusal, false).await?;
    Ok(())
}

/// Queues the job when no other restore runs; waits for that so many seconds.
async fn enqueue(
    app: &App,
    request: &Request,
    archive_id: Option<Uuid>,
    timeout: Option<u32>,
) -> Result<Job, RestoreRefused> {
    let began = Instant::now();
    let seconds = timeout.unwrap_or(0);
    let job = NewJob {
        kind: JobKind::SourceRestore,
        tenant_id: NO_TENANT,
        dump: false,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: Some(EXCLUSIVE.to_owned()),
        archive_id,
    };
    loop {
        let busy = match operations::restoring(app).await? {
            Some(busy) => busy,
            None => {
                let enqueued = app.queue.enqueue(job.clone()).await.map_err(OpError::from)?;
                if enqueued.created {
                    return Ok(enqueued.job);
                }
                operations::name_of(app, &enqueued.job)
            }
        };
        if began.elapsed() >= Duration::from_secs(seconds.into()) {
            return Err(match seconds {
                0 => RestoreRefused::Busy(busy),
                seconds => RestoreRefused::StillBusy(busy, seconds),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn request(job: &Job) -> Result<Request, String> {
    serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))
}

fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}
