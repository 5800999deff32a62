//! Backups of one source.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::folder::{ARCHIVE, FAILURE, Folder, STATE, document_name, increment_name};
use super::location::Location;
use super::sources::{self, NamedSource};
use super::{NO_TENANT, document, operations, telling};
use crate::app::App;
use crate::catalog::{Message, Operation, SourceKind, Task};
use crate::config::RavenVersion;
use crate::jobs::{
    CancelReason, Cleaned, Finished, Job, JobContext, JobFailure, JobFilter, JobKind, NewJob,
};
use crate::ops::OpError;
use crate::ops::backup::{self, BackupRequest, Candidate, IndexFiles, Mode, OneSource};

/// How long a portal's restore is left alone before it is looked again whether it has ended.
const AGAIN: Duration = Duration::from_millis(500);

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

struct Run<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a Request,
    /// What becomes of the index's files.
    told: &'a IndexFiles,
}

impl Run<'_> {
    async fn run(&self) -> Result<Finished, JobFailure> {
        let Request { source_kind: kind, name, .. } = self.request;
        let source = sources::find(self.app, *kind, name).await.map_err(failed)?;
        let source =
            source.ok_or_else(|| failed(format!("there is no {kind:?} {name} any more")))?;
        let root = Folder::open(self.app, &self.request.location).map_err(failed)?;
        let target = Folder::open(self.app, &self.request.target).map_err(failed)?;
        match self.request.incremental {
            true => self.claim(&source, &root).await?,
            false if target.archive().await.map_err(failed)?.is_some() => {
                return Err(failed(
                    "Denying request to perform a full backup to an existing backup folder. Try doing an \
                     incremental backup instead.",
                ));
            }
            false => {}
        }
        let finished = loop {
            self.wait_for_portal(&source).await?;
            let began = Timestamp::now();
            let finished = self.archive(&source, &root).await?;
            if !self.was_restored_since(&source, began).await? {
                break finished;
            }
            // A portal's restore began meanwhile: half of the archive may be of another time.
            Folder::open(self.app, &self.request.target)
                .map_err(failed)?
                .remove(ARCHIVE)
                .await
                .map_err(failed)?;
        };
        self.store_document(&source, &target).await?;
        Ok(finished)
    }

    /// Makes the archive of this backup. The first increment of a folder without a full backup holds everything.
    async fn archive(&self, source: &NamedSource, root: &Folder) -> Result<Finished, JobFailure> {
        let single = source.single(self.app, std::slice::from_ref(root.url())).map_err(failed)?;
        let kind = self.request.source_kind;
        let whole = match self.request.incremental {
            true => root.whole(self.app, kind, LOOKED_AT).await.map_err(failed)?,
            false => Vec::new(),
        };
        let upon = candidates(self.app, root, &whole).await.map_err(failed)?;
        let one = OneSource { upon: &upon, told: self.told };
        let finished = backup::run_one(&single, self.ctx, Some(one)).await?;
        if upon.is_empty() && !whole.is_empty() {
            self.ctx.warn(
                "a full backup was made, for the catalog knows none of the backups of this folder",
            );
        }
        Ok(finished)
    }

    /// Makes the folder this source's, or finds that it is another's.
    async fn claim(&self, source: &NamedSource, root: &Folder) -> Result<(), JobFailure> {
        let id = source.resource_id(self.app).map_err(failed)?.to_string();
        if let Some(state) = root.read(STATE).await.map_err(failed)? {
            if document::get(&state, "ResourceId").and_then(Value::as_str) == Some(&id) {
                return Ok(());
            }
            let what = match self.request.source_kind {
                SourceKind::Database => "database",
                SourceKind::Filesystem => "file system",
            };
            let other = document::get(&state, "ResourceName").and_then(Value::as_str);
            return Err(failed(format!(
                "Can't perform an incremental backup to a given folder because it already contains incremental \
                 backup data of different {what}. Existing incremental data origins from '{}' {what}.",
                other.unwrap_or_default()
            )));
        }
        let state = json!({"ResourceId": id, "ResourceName": source.name});
        root.write(STATE, state.to_string()).await.map_err(failed)
    }

    /// Last, so that a backup with a document is whole.
    async fn store_document(
        &self,
        source: &NamedSource,
        target: &Folder,
    ) -> Result<(), JobFailure> {
        let supplied = match &self.request.document {
            Some(sealed) => {
                let text = self.app.unseal_text(sealed).map_err(failed)?;
                Some(serde_json::from_str(&text).map_err(failed)?)
            }
            None => None,
        };
        let whole = supplied.unwrap_or_else(|| document::current(source));
        let kind = self.request.source_kind;
        let name = document_name(kind);
        let (mut stored, secrets) = document::stored(kind, whole.clone(), false);
        let with_secrets = secrets && self.app.config.ravendb.store_secrets;
        if with_secrets {
            stored = document::stored(kind, whole, true).0;
        }
        let text = serde_json::to_string_pretty(&stored).map_err(failed)?;
        if !secrets {
            return target.write(name, text).await.map_err(failed);
        }
        self.ctx.warn(match (with_secrets, self.app.keys.encrypts()) {
            (false, _) => format!(
                "Warning: secrets were left out of {name}; ravendb.store_secrets of the configuration allows them"
            ),
            (true, true) => format!("Warning: {name} holds secrets, and is encrypted as the backup is"),
            (true, false) => format!("Warning: {name} holds secrets in clear"),
        });
        match with_secrets {
            true => target.write_sealed(name, text).await.map_err(failed),
            false => target.write(name, text).await.map_err(failed),
        }
    }

    /// A restore of the portal changes its sources under everybody's eyes.
    async fn wait_for_portal(&self, source: &NamedSource) -> Result<(), JobFailure> {
        let filter =
            JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
        while source.is_configured()
            && self.app.queue.latest(filter).await.map_err(failed)?.is_some()
        {
            self.ctx.cancel.check()?;
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn was_restored_since(
        &self,
        source: &NamedSource,
        began: Timestamp,
    ) -> Result<bool, JobFailure> {
        if self.ctx.cancel.reason() == Some(CancelReason::Lost) {
            return Err(JobFailure::Cancelled);
        }
        let filter = JobFilter { kind: Some(JobKind::Restore), ..JobFilter::default() };
        let latest = self.app.queue.latest(filter).await.map_err(failed)?;
        Ok(source.is_configured()
            && latest.is_some_and(|job| {
                !job.state.is_finished() || job.finished_on.is_some_and(|ended| ended > began)
            }))
    }
}
