//! Backups of one source.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use run::Run;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::folder::{ARCHIVE, FAILURE, Folder, document_name, increment_name};
use super::location::Location;
use super::sources::NamedSource;
use super::{NO_TENANT, document, operations, telling};
use crate::app::App;
use crate::catalog::{Message, Operation, SourceKind, Task};
use crate::config::RavenVersion;
use crate::jobs::{Cleaned, Finished, Job, JobContext, JobFailure, JobKind, NewJob};
use crate::ops::OpError;
use crate::ops::backup::{self, BackupRequest, Candidate, IndexFiles, Mode};

mod run;

/// How many backups of a folder are looked at for one that can be added to.
const LOOKED_AT: usize = 5;

/// What a caller asks for.
pub struct StartBackup {
    pub source: NamedSource,
    pub location: Location,
    /// The configuration document to be stored; None: the source's own.
    pub document: Option<Map<String, Value>>,
    pub incremental: bool,
}

/// Why a backup does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefused {
    #[error("Backup is already running")]
    Running,
    #[error(
        "Backup failure marker was detected. In order to proceed remove old backup files or supply different backup directory."
    )]
    FailureMarker,
    #[error(
        "In order to run incremental backups using Voron you must have the appropriate setting key (Raven/Voron/AllowIncrementalBackups) set to true"
    )]
    IncrementalOff,
    /// The path, as it was named.
    #[error("No permissions for folder - {0}")]
    NoPermissions(String),
    #[error(transparent)]
    Op(#[from] OpError),
}

/// What the job keeps of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    /// Where this backup goes: an incremental one into a folder of its own.
    #[serde(flatten)]
    backup: BackupRequest,
    source_kind: SourceKind,
    name: String,
    location: Location,
    target: Location,
    /// Sealed.
    document: Option<String>,
    incremental: bool,
}

/// Starts a backup, and says which operation it is.
pub async fn start(app: &App, wanted: StartBackup) -> Result<Operation, BackupRefused> {
    let kind = wanted.source.place.kind();
    let name = wanted.source.name.clone();
    let root = Folder::open(app, &wanted.location)?;
    let is_database = kind == SourceKind::Database;
    if !is_database && root.is_read_only() {
        return Err(BackupRefused::NoPermissions(wanted.location.shown));
    }
    if app.config.ravendb.version == RavenVersion::V35 && is_database && root.has(FAILURE).await? {
        return Err(BackupRefused::FailureMarker);
    }
    let setting = document::setting(
        &document::current(&wanted.source),
        "Raven/Voron/AllowIncrementalBackups",
    )
    .map(str::to_ascii_lowercase);
    if wanted.incremental && setting.as_deref() == Some("false") {
        return Err(BackupRefused::IncrementalOff);
    }
    let target = match wanted.incremental {
        true => unused_increment(&root).await?,
        false => wanted.location.clone(),
    };
    let document = wanted.document.map(Value::Object).map(|document| document.to_string());
    let request = Request {
        backup: BackupRequest {
            storage_type: target.storage_type,
            storage_params: target.storage_params.clone(),
            mode: if wanted.incremental { Mode::Incremental } else { Mode::Full },
            parent: None,
            full_every: None,
            schedule_id: None,
            actor: None,
            file_name: Some(ARCHIVE.to_owned()),
        },
        source_kind: kind,
        name: name.clone(),
        location: wanted.location.clone(),
        target,
        document: document.map(|document| app.seal_text(&document)).transpose()?,
        incremental: wanted.incremental,
    };
    let enqueued = app
        .queue
        .enqueue(NewJob {
            kind: JobKind::SourceBackup,
            tenant_id: NO_TENANT,
            dump: false,
            request: serde_json::to_value(&request).map_err(OpError::internal)?,
            exclusive: Some(format!("{} {}", kind_word(kind), exclusive(&name))),
            archive_id: None,
        })
        .await
        .map_err(OpError::from)?;
    if !enqueued.created {
        return Err(BackupRefused::Running);
    }
    let location = &wanted.location.shown;
    Ok(operations::begin(app, &enqueued.job, (Task::Backup, kind), &name, location).await?)
}

/// Those of a folder's backups that the catalog knows.
async fn candidates(app: &App, root: &Folder, whole: &[Folder]) -> Result<Vec<Candidate>, OpError> {
    let mut candidates = Vec::new();
    for folder in whole {
        let Some(url) = folder.archive_url().await? else { continue };
        if let Some(record) = app.catalog.archives().by_url(url).await? {
            candidates.push(Candidate { record, place: Some(folder.place_in(root)) });
        }
    }
    Ok(candidates)
}

/// The archives that an unfinished backup may be adding to.
pub(in crate::ops) async fn may_add_to(app: &App, job: &Job) -> Result<Vec<Uuid>, OpError> {
    let request = request(job).map_err(OpError::internal)?;
    if !request.incremental {
        return Ok(Vec::new());
    }
    let root = Folder::open(app, &request.location)?;
    let whole = root.whole(app, request.source_kind, LOOKED_AT).await?;
    let candidates = candidates(app, &root, &whole).await?;
    Ok(candidates.into_iter().map(|candidate| candidate.record.id).collect())
}

fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Database => "database",
        SourceKind::Filesystem => "filesystem",
    }
}

/// Names are compared in any case, and a key has its limits.
fn exclusive(name: &str) -> String {
    name.to_lowercase().chars().take(150).collect()
}

/// The folder of an increment that begins now; a moment that is taken is waited for to pass.
async fn unused_increment(root: &Folder) -> Result<Location, OpError> {
    loop {
        let wanted = root.location.child(&increment_name(Timestamp::now()))?;
        if !root.increments().await?.contains(&wanted) {
            return Ok(wanted);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn request(job: &Job) -> Result<Request, String> {
    serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))
}

/// Runs the backup that a job asks for.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let what = (Task::Backup, request.source_kind);
    operations::begin(app, &ctx.job, what, &request.name, &request.location.shown)
        .await
        .map_err(failed)?;
    let text = format!(
        "Started backup process. Backing up data to directory = '{}'",
        request.location.shown
    );
    app.catalog
        .operations()
        .say(ctx.job.id, vec![Message::now(text)], true)
        .await
        .map_err(failed)?;
    let told = IndexFiles::default();
    let run = Run { app, ctx, request: &request, told: &told };
    let result = telling::beside(app, ctx, &told, run.run()).await;
    for warning in ctx.warnings() {
        operations::say(app, ctx.job.id, Message::now(warning)).await;
    }
    match &result {
        Ok(finished) => {
            let added = finished.archive.as_ref().filter(|archive| archive.parent_id.is_some());
            let pages = added.map(|archive| telling::pages(archive.size));
            for text in pages.into_iter().chain([operations::FINISHED.to_owned()]) {
                operations::say(app, ctx.job.id, Message::now(text)).await;
            }
        }
        Err(JobFailure::Failed(why)) if ctx.cancel.reason().is_none() => {
            mark_failure(app, &request, why).await;
        }
        Err(_) => {}
    }
    result
}

/// RavenDB 3.5 notes a failure beside the backup, for databases.
async fn mark_failure(app: &App, request: &Request, why: &str) {
    if app.config.ravendb.version != RavenVersion::V35
        || request.source_kind != SourceKind::Database
    {
        return;
    }
    let marked = async {
        let folder = Folder::open(app, &request.target)?;
        // Beside a good backup it would be wrong.
        match folder.has(document_name(request.source_kind)).await? {
            true => Ok(()),
            false => folder.write(FAILURE, why.to_owned()).await,
        }
    };
    if let Err::<(), OpError>(error) = marked.await {
        tracing::warn!(%error, "the failure of a backup could not be noted beside it");
    }
}

/// Removes what a dead or failed attempt left.
pub(in crate::ops) async fn clean(
    app: &App,
    job: &Job,
    remains: &Value,
) -> Result<Cleaned, String> {
    backup::clean(app, job, remains).await.map(|()| Cleaned::Gone)
}

fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}
