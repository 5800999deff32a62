//! Copies: every finished archive is sent to further storages (`[[storage.copy]]`), each by a job of its own
//! that reads it from where it lies, writes it there, and reads it back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveRecord, Copied, CopyRecord, CopyState};
use crate::jobs::{Finished, Job, JobContext, JobFailure, JobKind, JobState, NewJob};
use crate::limits::Rate;
use crate::ops::backup::RemainsJournal;
use crate::ops::{OpError, archives};
use crate::storage::{Remains, Storage, StoredObject, UploadHint};

/// How long after its first failure a copy is tried again; then twice as long each time.
const FIRST_RETRY: i64 = 2;
/// Seconds between two tries at most.
const LAST_RETRY: i64 = 3600;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyRequest {
    archive_id: Uuid,
    /// The storage's name in the configuration.
    name: String,
}

/// The copies of archives, by the archives' ids.
pub async fn of(
    app: &App,
    archives: impl IntoIterator<Item = &ArchiveRecord>,
) -> Result<HashMap<Uuid, Vec<CopyRecord>>, OpError> {
    let ids: Vec<_> = archives.into_iter().map(|archive| archive.id).collect();
    Ok(app.catalog.copies().of(&ids).await?)
}

/// Whether neither an archive nor any copy of it is there.
pub(super) fn is_gone(archive: &ArchiveRecord, copies: Option<&Vec<CopyRecord>>) -> bool {
    let is_there = |copy: &CopyRecord| copy.state == CopyState::Stored;
    archive.missing_since.is_some() && !copies.is_some_and(|copies| copies.iter().any(is_there))
}

/// One look: takes note of jobs that have ended, then starts the next copies. To each storage one is sent at a time, so
/// that a slow one holds back no other.
pub async fn tick(app: &App) -> Result<(), OpError> {
    let now = app.clock.now();
    let mut busy = HashSet::new();
    let mut next: BTreeMap<String, CopyRecord> = BTreeMap::new();
    for copy in app.catalog.copies().unfinished().await? {
        match copy.job_id {
            Some(job) => {
                if settle(app, &copy, job, now).await? {
                    busy.insert(copy.name);
                }
            }
            None if copy.next_try.is_some_and(|at| at > now) => {}
            None if app.storages.copy(&copy.name).is_none() => {}
            None => drop(next.entry(copy.name.clone()).or_insert(copy)),
        }
    }
    for (name, copy) in next {
        if !busy.contains(&name) {
            start(app, copy).await?;
        }
    }
    Ok(())
}

/// Queues the job of a copy, unless one is under way: then that one is returned.
pub async fn start(app: &App, copy: CopyRecord) -> Result<Job, OpError> {
    let archive = archives::get(app, None, copy.archive_id).await?;
    let request = CopyRequest { archive_id: archive.id, name: copy.name.clone() };
    let enqueued = app
        .queue
        .enqueue(NewJob {
            kind: JobKind::Copy,
            tenant_id: archive.tenant_id,
            dump: archive.dump,
            request: serde_json::to_value(request).map_err(OpError::internal)?,
            exclusive: Some(format!("copy:{}:{}", archive.id, copy.name)),
            archive_id: Some(archive.id),
        })
        .await?;
    let (before, job_id) = (copy.job_id, Some(enqueued.job.id));
    app.catalog.copies().save(&CopyRecord { job_id, ..copy }, before).await?;
    Ok(enqueued.job)
}

/// Takes note of how a copy's job has ended, if it has; else true. What it stored was noted when it was published.
async fn settle(app: &App, copy: &CopyRecord, id: Uuid, now: Timestamp) -> Result<bool, OpError> {
    let job = app.queue.get(id).await?;
    let mut next = CopyRecord { job_id: None, ..copy.clone() };
    match job.as_ref().map(|job| job.state) {
        Some(JobState::Queued | JobState::Running) => return Ok(true),
        Some(JobState::Cancelled) => next.state = CopyState::Cancelled,
        Some(JobState::Failed) | None => {
            let error = job.and_then(|job| job.error);
            next.state = CopyState::Failed;
            next.attempts = copy.attempts.saturating_add(1);
            let pause = FIRST_RETRY.checked_shl(copy.attempts.min(20)).unwrap_or(LAST_RETRY);
            let pause = SignedDuration::from_secs(pause.min(LAST_RETRY));
            next.next_try = Some(now.saturating_add(pause).map_err(OpError::internal)?);
            tracing::warn!(archive = %copy.archive_id, copy = copy.name, error, "a copy could not be made; it will be tried again");
            next.error = error;
        }
        // A job of an earlier start, whose end nobody noted: the next look starts another.
        Some(JobState::Succeeded) => {}
    }
    app.catalog.copies().save(&next, copy.job_id).await?;
    Ok(false)
}

/// Runs the job.
pub(super) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let archive = archives::get(app, None, request.archive_id).await.map_err(failed)?;
    let storage = storage(app, &request.name).map_err(JobFailure::Failed)?;
    ctx.progress.restart();
    ctx.progress.add_total(2 * archive.size);
    let copying = Copying { app, ctx, archive: &archive, name: &request.name, storage };
    let sent = copying.send().await?;
    // Not to be dropped: a storage that was told to complete an upload may do so when nobody waits.
    let copied = copying.complete(sent).await?;
    Ok(Finished { copied: Some(copied), ..Finished::default() })
}

/// Removes what a dead or failed attempt left.
pub(super) async fn clean(app: &App, job: &Job, remains: &serde_json::Value) -> Result<(), String> {
    let request = request(job)?;
    let remains: Remains =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    storage(app, &request.name)?.clean(&remains).await.map_err(|error| error.to_string())
}

fn request(job: &Job) -> Result<CopyRequest, String> {
    serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))
}

fn storage<'a>(app: &'a App, name: &str) -> Result<&'a Storage, String> {
    app.storages
        .copy(name)
        .ok_or_else(|| format!("the configuration no longer has a [[storage.copy]] named {name:?}"))
}

fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}

struct Copying<'a> {
    app: &'a App,
    ctx: &'a JobContext,
    archive: &'a ArchiveRecord,
    name: &'a str,
    storage: &'a Storage,
}

/// An archive whose every byte was sent.
struct Sent {
    upload: crate::storage::Upload,
    object: String,
    sha256: String,
}

impl Copying<'_> {
    /// Not to be dropped: parts on their way must have stopped before their upload is ended, or they stay.
    async fn send(&self) -> Result<Sent, JobFailure> {
        let Self { app, ctx, archive, storage, .. } = *self;
        ctx.progress.phase("copying");
        let (source, notice) = open(app, archive).await.map_err(failed)?;
        if let Some(notice) = notice {
            ctx.warn(notice);
        }
        let object = storage.unused_name(&archive.name).await.map_err(failed)?;
        let memory = app.config.backup.memory.0 as usize / 4;
        let hint = UploadHint { expected_bytes: archive.size, memory };
        let journal = Arc::new(RemainsJournal(ctx.clone()));
        let mut upload = storage.upload(&object, hint, journal).await.map_err(failed)?;
        let pumped = tokio::select! {
            pumped = self.pump(&source, &mut upload) => pumped,
            () = ctx.cancel.cancelled() => Err(JobFailure::Cancelled),
        };
        match pumped {
            Ok(sha256) => Ok(Sent { upload, object, sha256 }),
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    tracing::warn!(%left, "a failed copy could not be removed; it will be tried again");
                }
                Err(error)
            }
        }
    }

    /// Moves the archive's bytes; returns their digest, which must be the one that was recorded.
    async fn pump(
        &self,
        source: &StoredObject,
        upload: &mut crate::storage::Upload,
    ) -> Result<String, JobFailure> {
        let Self { app, ctx, archive, .. } = *self;
        let mut hash = Sha256::new();
        let mut pieces = source.stream(0..archive.size).map_err(failed)?;
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            app.limits.upload.take(piece.len()).await;
            hash.update(&piece);
            ctx.progress.add(piece.len() as u64);
            upload.write(piece).await.map_err(failed)?;
        }
        let sha256 = hex::encode(hash.finalize());
        if !archive.sha256.is_empty() && sha256 != archive.sha256.to_ascii_lowercase() {
            return Err(failed(
                "the archive is not the one that was recorded: its SHA-256 differs, so no copy is \
                 made of it",
            ));
        }
        Ok(sha256)
    }

    /// Makes the copy appear and reads it back.
    async fn complete(&self, sent: Sent) -> Result<Copied, JobFailure> {
        let Self { app, ctx, archive, name, storage } = *self;
        let Sent { upload, object, sha256 } = sent;
        let locked_until = upload.locked_until();
        upload.complete().await.map_err(failed)?;
        ctx.progress.phase("verifying");
        let compared = tokio::select! {
            compared = compare(storage, &object, archive.size, &sha256, &app.limits.read, ctx) => compared,
            () = ctx.cancel.cancelled() => Err(JobFailure::Cancelled),
        };
        // What is not whole or not wanted is removed by `clean`, as after a crash.
        compared?;
        Ok(Copied {
            archive_id: archive.id,
            name: name.to_owned(),
            url: storage.object_url(&object).to_string(),
            object,
            at: Timestamp::now(),
            locked_until,
        })
    }
}

async fn compare(
    storage: &Storage,
    object: &str,
    size: u64,
    sha256: &str,
    limit: &Rate,
    ctx: &JobContext,
) -> Result<(), JobFailure> {
    let stored = storage.size(object).await.map_err(failed)?;
    if stored != Some(size) {
        let stored = stored.unwrap_or(0);
        return Err(failed(format!("the storage holds {stored} bytes of the {size} sent")));
    }
    let mut hash = Sha256::new();
    let mut pieces = storage.read(object, 0..size).await.map_err(failed)?;
    while let Some(piece) = pieces.try_next().await.map_err(failed)? {
        limit.take(piece.len()).await;
        hash.update(&piece);
        ctx.progress.add(piece.len() as u64);
    }
    match hex::encode(hash.finalize()) == sha256 {
        true => Ok(()),
        false => Err(failed("the storage gives back other bytes than were sent")),
    }
}

/// Opens an archive where it lies, or else a copy; the second says so. It is read within the limits.
pub(super) async fn open(
    app: &App,
    archive: &ArchiveRecord,
) -> Result<(StoredObject, Option<String>), OpError> {
    let own = async { Ok(archives::storage(app, archive)?.open(&archive.name).await?) };
    let error: OpError = match own.await {
        Ok(object) => return Ok((object.limited(&app.limits.read), None)),
        Err(error) => error,
    };
    for copy in of(app, [archive]).await?.remove(&archive.id).unwrap_or_default() {
        let Some((storage, object)) = place(app, &copy) else { continue };
        match storage.open(object).await {
            Ok(found) if archive::ReadAt::len(&found) == archive.size => {
                let url = copy.url.as_deref().unwrap_or_default();
                let notice = format!(
                    "the archive cannot be read where it was stored ({error}): its copy {} at \
                     {url} is read instead",
                    copy.name
                );
                tracing::warn!(archive = %archive.id, notice);
                return Ok((found.limited(&app.limits.read), Some(notice)));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(archive = %archive.id, copy = copy.name, %error, "a copy cannot be read");
            }
        }
    }
    Err(error)
}

/// Where a copy lies that was stored; None when it was not, or the configuration points elsewhere by now.
fn place<'a>(app: &'a App, copy: &'a CopyRecord) -> Option<(&'a Storage, &'a str)> {
    if !matches!(copy.state, CopyState::Stored | CopyState::Missing) {
        return None;
    }
    let (storage, object) = (app.storages.copy(&copy.name)?, copy.object.as_deref()?);
    (Some(storage.object_url(object).as_str()) == copy.url.as_deref()).then_some((storage, object))
}

/// Looks whether copies are still there, and notes what is seen.
pub(super) async fn look(app: &App, archive: &ArchiveRecord) -> Result<(), OpError> {
    for copy in of(app, [archive]).await?.remove(&archive.id).unwrap_or_default() {
        let Some((storage, object)) = place(app, &copy) else { continue };
        let state = match storage.size(object).await {
            Ok(Some(_)) => CopyState::Stored,
            Ok(None) => CopyState::Missing,
            Err(error) => {
                tracing::warn!(archive = %archive.id, copy = copy.name, %error, "cannot tell whether a copy still exists");
                continue;
            }
        };
        if state != copy.state {
            tracing::warn!(archive = %archive.id, copy = copy.name, ?state, "a copy has vanished or is back");
            let job = copy.job_id;
            app.catalog.copies().save(&CopyRecord { state, ..copy }, job).await?;
        }
    }
    Ok(())
}

/// Deletes the copies of an archive whose file is another now; they will be made again.
pub(super) async fn renew(app: &App, archive: Uuid) -> Result<(), OpError> {
    for copy in app.catalog.copies().of(&[archive]).await?.remove(&archive).unwrap_or_default() {
        let Some((storage, object)) = place(app, &copy) else { continue };
        storage.delete(object).await?;
        app.catalog.copies().renew(archive, &copy.name, object).await?;
    }
    Ok(())
}

/// Deletes the copies of an archive and forgets them.
pub(super) async fn remove(app: &App, archive: &ArchiveRecord) -> Result<(), OpError> {
    for copy in of(app, [archive]).await?.remove(&archive.id).unwrap_or_default() {
        match place(app, &copy) {
            Some((storage, object)) => drop(storage.delete(object).await?),
            None if copy.url.is_some() => {
                tracing::warn!(archive = %archive.id, copy = copy.name, url = copy.url, "a copy stays: the configuration no longer points there");
            }
            None => {}
        }
    }
    Ok(app.catalog.copies().forget(archive.id).await?)
}
