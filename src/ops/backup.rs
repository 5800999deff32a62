//! Backups: started by a request, run as a job.

mod chunked;
pub mod consolidate;
mod databases;
mod files;
mod index;
mod parent;
mod run;
mod sending;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::config::LayoutKind;
use crate::jobs::{Job, JobFilter, JobKind, NewJob};
use crate::ops::{Actor, OpError, jobs};
use crate::storage::{self, StorageParams, StorageType};

pub(super) use index::{IndexFile, IndexFiles};
pub(super) use parent::{Candidate, Memo};
pub(super) use run::{OneSource, RunError, clean, run, run_one};
pub(super) use sending::{Kept, RemainsJournal, Sending, Sent};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Full,
    Incremental,
}

/// What a caller asks for.
#[derive(Debug, Clone)]
pub struct StartBackup {
    pub tenant_id: i64,
    pub storage_type: StorageType,
    pub storage_params: StorageParams,
    pub dump: bool,
    pub mode: Mode,
    /// The archive that an incremental backup adds to; None: the newest in its storage that will do, or else a full
    /// backup is made.
    pub parent: Option<Uuid>,
    /// Make a full one instead when the last is older than that, such as `7d`.
    pub full_every: Option<String>,
    pub actor: Option<Actor>,
}

/// What the job keeps of it. Secrets among the parameters are sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackupRequest {
    pub storage_type: StorageType,
    pub storage_params: StorageParams,
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_every: Option<String>,
    /// The schedule that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// The archive's name; None: by the portal and the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

/// More than any storage needs, and as JSON less than DocSpace's columns hold.
const LONGEST_PARAMS: usize = 16 << 10;

/// The exclusive key of jobs that concern the whole installation.
pub(super) const INSTALLATION: &str = "installation";

/// Starts a backup; when one runs that excludes it, returns that one. [`OpError::Conflict`] while a
/// restore runs.
pub async fn start(app: &App, request: StartBackup) -> Result<Job, OpError> {
    let job = job(app, &request, None)?;
    // May ask DocSpace's settings for credentials: who asks is told at once that there are none.
    app.storages.resolve(request.storage_type, &params(&request))?.ready().await?;
    let enqueued = app.queue.enqueue(job).await?;
    match enqueued.job.kind {
        JobKind::Backup => Ok(enqueued.job),
        _ => Err(OpError::Conflict("a restore is running: wait until it has ended".to_owned())),
    }
}

/// The parameters of the storage, also saying whose archive it is where that decides about its place.
fn params(request: &StartBackup) -> StorageParams {
    let mut params = request.storage_params.clone();
    storage::of_tenant(request.storage_type, &mut params, request.tenant_id, request.dump);
    params
}

/// Whether such a backup can be made at all, as far as that can be said without trying.
pub(super) fn check(app: &App, request: &StartBackup) -> Result<(), OpError> {
    if request.mode == Mode::Full && (request.parent.is_some() || request.full_every.is_some()) {
        return Err(OpError::Invalid(
            "fullEvery and a parent are of incremental backups alone".to_owned(),
        ));
    }
    if let Some(every) = &request.full_every {
        crate::schedule::full_every(every).map_err(OpError::Invalid)?;
    }
    if !request.dump && app.config.portal.layout == LayoutKind::Docspace {
        return Err(OpError::Invalid(
            "backups of a single tenant are not supported yet: send \"dump\": true to back up the whole installation"
                .to_owned(),
        ));
    }
    let portal = &app.config.portal;
    if portal.database.is_empty() && portal.filesystem.is_empty() && portal.index.is_empty() {
        return Err(OpError::Invalid(
            "nothing to back up: the configuration names no database, no filesystem and no index"
                .to_owned(),
        ));
    }
    let length = serde_json::to_string(&request.storage_params).map_or(0, |text| text.len());
    if length > LONGEST_PARAMS {
        return Err(OpError::Invalid("storageParams: they are too long".to_owned()));
    }
    app.storages.resolve(request.storage_type, &params(request))?;
    Ok(())
}

/// The job that makes a backup.
pub(super) fn job(
    app: &App,
    request: &StartBackup,
    schedule_id: Option<Uuid>,
) -> Result<NewJob, OpError> {
    check(app, request)?;
    let stored = BackupRequest {
        storage_type: request.storage_type,
        storage_params: app.seal_params(&params(request))?,
        mode: request.mode,
        parent: request.parent,
        full_every: request.full_every.clone(),
        schedule_id,
        actor: request.actor.clone(),
        file_name: None,
    };
    Ok(NewJob {
        kind: JobKind::Backup,
        tenant_id: request.tenant_id,
        dump: request.dump,
        request: serde_json::to_value(&stored).map_err(OpError::internal)?,
        exclusive: Some(exclusive(app, request.tenant_id, request.dump)),
        archive_id: None,
    })
}

/// What a backup excludes. In the plain layout both kinds are the same portal, so they exclude each other.
fn exclusive(app: &App, tenant_id: i64, dump: bool) -> String {
    match (app.config.portal.layout, dump) {
        (LayoutKind::Plain, _) | (_, true) => INSTALLATION.to_owned(),
        (_, false) => format!("backup:tenant:{tenant_id}"),
    }
}

/// The job that a backup would have to wait for now.
pub async fn in_the_way(app: &App, tenant_id: i64, dump: bool) -> Result<Option<Uuid>, OpError> {
    let holder = app.queue.holder(exclusive(app, tenant_id, dump)).await?;
    Ok(holder.map(|job| job.id))
}

/// The archives that an unfinished incremental backup may be adding to.
pub(super) async fn may_add_to(app: &App, job: &Job) -> Result<Vec<Uuid>, OpError> {
    let request: BackupRequest =
        serde_json::from_value(job.request.clone()).map_err(OpError::internal)?;
    if request.mode == Mode::Full {
        return Ok(Vec::new());
    }
    let params = app.unseal_params(&request.storage_params)?;
    let wanted = parent::Wanted {
        tenant_id: job.tenant_id,
        dump: job.dump,
        storage_type: request.storage_type,
        storage: &app.storages.resolve(request.storage_type, &params)?,
        parent: request.parent,
        full_every: None,
    };
    let candidates = parent::candidates(app, &wanted).await.map_err(OpError::internal)?;
    Ok(candidates.into_iter().map(|record| record.id).chain(request.parent).collect())
}

/// The schedule that a backup job was made by; None: somebody asked for it.
pub(super) fn schedule_of(job: &Job) -> Option<Uuid> {
    serde_json::from_value::<BackupRequest>(job.request.clone()).ok()?.schedule_id
}

/// Asks the running backup of a tenant, or the running dump, to stop. False: there was none.
pub async fn cancel(
    app: &Arc<App>,
    tenant_id: i64,
    dump: bool,
    by: &Actor,
) -> Result<bool, OpError> {
    match latest(app, tenant_id, Some(dump)).await? {
        Some(job) if !job.state.is_finished() => Ok(jobs::stop(app, &job, by).await?.is_some()),
        _ => Ok(false),
    }
}

/// The backup a progress request means: the running or else the latest one of the tenant.
/// `dump`: true = the installation's dump, false = the tenant's own, None = whichever is running or newest.
pub async fn latest(app: &App, tenant_id: i64, dump: Option<bool>) -> Result<Option<Job>, OpError> {
    let filter = JobFilter {
        kind: Some(JobKind::Backup),
        tenant_id: Some(tenant_id),
        dump,
        ..JobFilter::default()
    };
    Ok(app.queue.latest(filter).await?)
}
