//! Copies: every finished archive is sent to further storages (`[[storage.copy]]`), each by a job of its own
//! that reads it from where it lies, writes it there, and reads it back.

use std::collections::{BTreeMap, HashMap, HashSet};

use archive::ReadAt as _;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveRecord, CopyRecord, CopyState};
use crate::jobs::{Job, JobState};
use crate::ops::{OpError, archives};
use crate::storage::{Storage, StoredObject};

mod job;

pub(super) use job::{clean, run};

/// How long after its first failure a copy is tried again; then twice as long each time.
const FIRST_RETRY: i64 = 2;
/// Seconds between two tries at most.
const LAST_RETRY: i64 = 3600;

/// The copies of archives, by the archives' ids.
pub async fn of(
    app: &App,
    archives: impl IntoIterator<Item = &ArchiveRecord>,
) -> Result<HashMap<Uuid, Vec<CopyRecord>>, OpError> {
    let ids: Vec<_> = archives.into_iter().map(|archive| archive.id).collect();
    let mut copies = app.catalog.copies().of(&ids).await?;
    for copy in copies.values_mut().flatten() {
        if copy.state == CopyState::Stored && place(app, copy).is_none() {
            copy.state = CopyState::Unreachable;
        }
    }
    Ok(copies)
}

/// Whether a copy, as [`of`] tells them, can be read.
pub(super) fn is_there(copies: Option<&Vec<CopyRecord>>) -> bool {
    copies.is_some_and(|copies| copies.iter().any(|copy| copy.state == CopyState::Stored))
}

/// Whether neither an archive nor any copy of it is there. One that only the configuration does not lead to is: it may
/// lead there again tomorrow, and what the archive builds on must last until then.
pub(super) fn is_gone(archive: &ArchiveRecord, copies: Option<&Vec<CopyRecord>>) -> bool {
    let is_somewhere =
        |copy: &CopyRecord| matches!(copy.state, CopyState::Stored | CopyState::Unreachable);
    archive.missing_since.is_some() && !copies.is_some_and(|copies| copies.iter().any(is_somewhere))
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
            start(app, &copy).await?;
        }
    }
    Ok(())
}

/// Queues the job of a copy, unless one is under way: then that one is returned. None: there is nothing to be done any
/// more, because another process has made it meanwhile, or nobody wants it.
pub async fn start(app: &App, copy: &CopyRecord) -> Result<Option<Job>, OpError> {
    let Some(before) = current(app, copy.archive_id, &copy.name).await? else { return Ok(None) };
    if !matches!(before.state, CopyState::Waiting | CopyState::Failed) {
        return Ok(None);
    }
    let archive = archives::get(app, None, copy.archive_id).await?;
    let job = app.queue.enqueue(job::new(&archive, &copy.name)?).await?.job;
    let next = CopyRecord { job_id: Some(job.id), ..before.clone() };
    // Where that comes too late, the job finds that it has nothing to do.
    app.catalog.copies().save(&next, &before).await?;
    Ok(Some(job))
}

/// A copy's row as it is now.
async fn current(app: &App, archive: Uuid, name: &str) -> Result<Option<CopyRecord>, OpError> {
    let copies = app.catalog.copies().of(&[archive]).await?.remove(&archive);
    Ok(copies.into_iter().flatten().find(|copy| copy.name == name))
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
    app.catalog.copies().save(&next, copy).await?;
    Ok(false)
}

/// An archive that can be read.
pub(super) struct Readable {
    pub object: StoredObject,
    pub storage: Storage,
    /// Why it is read from elsewhere than where it was stored.
    pub notice: Option<String>,
}

/// Opens an archive where it lies, or else a copy. It is read within the limits.
pub(super) async fn open(app: &App, archive: &ArchiveRecord) -> Result<Readable, OpError> {
    let readable = find(app, archive).await?;
    Ok(Readable { object: readable.object.limited(&app.limits.read), ..readable })
}

/// The same, without limits.
pub(super) async fn find(app: &App, archive: &ArchiveRecord) -> Result<Readable, OpError> {
    let own = async {
        let storage = archives::storage(app, archive)?;
        Ok(Readable { object: storage.open(&archive.name).await?, storage, notice: None })
    };
    let own: Result<Readable, OpError> = own.await;
    let why = match &own {
        // Of some that DocSpace made no size is known.
        Ok(found) if archive.size == 0 || found.object.len() == archive.size => return own,
        Ok(found) => format!("{} bytes are left of {}", found.object.len(), archive.size),
        Err(error) => error.to_string(),
    };
    for copy in of(app, [archive]).await?.remove(&archive.id).unwrap_or_default() {
        let Some((storage, object)) = place(app, &copy) else { continue };
        match storage.open(object).await {
            Ok(object) if object.len() == archive.size => {
                let url = copy.url.as_deref().unwrap_or_default();
                let notice = format!(
                    "the archive cannot be read where it was stored ({why}): its copy {} at \
                     {url} is read instead",
                    copy.name
                );
                tracing::warn!(archive = %archive.id, notice);
                return Ok(Readable { object, storage: storage.clone(), notice: Some(notice) });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(archive = %archive.id, copy = copy.name, %error, "a copy cannot be read");
            }
        }
    }
    own
}

/// Where a copy lies that was stored; None when it was not, or the configuration points elsewhere by now.
fn place<'a>(app: &'a App, copy: &'a CopyRecord) -> Option<(&'a Storage, &'a str)> {
    use CopyState::{Missing, Stored, Unreachable};
    if !matches!(copy.state, Stored | Missing | Unreachable) {
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
            app.catalog.copies().save(&CopyRecord { state, ..copy.clone() }, &copy).await?;
        }
    }
    Ok(())
}

/// Deletes the copies of an archive whose file is another now; they will be made again.
pub(super) async fn renew(app: &App, archive: Uuid) -> Result<(), OpError> {
    for copy in app.catalog.copies().of(&[archive]).await?.remove(&archive).unwrap_or_default() {
        let Some((storage, object)) = place(app, &copy) else { continue };
        delete(app, &copy, storage, object).await?;
        app.catalog.copies().renew(archive, &copy.name, object).await?;
    }
    Ok(())
}

/// Deletes the copies of an archive and forgets them. What lies where the configuration no longer points stays, and is
/// noted for [`remove_left`].
pub(super) async fn remove(app: &App, archive: &ArchiveRecord) -> Result<(), OpError> {
    let copies = app.catalog.copies();
    let mut all = false;
    while !all {
        all = true;
        for copy in copies.of(&[archive.id]).await?.remove(&archive.id).unwrap_or_default() {
            match place(app, &copy) {
                Some((storage, object)) => delete(app, &copy, storage, object).await?,
                None if copy.state == CopyState::Unreachable => continue,
                None if copy.url.is_some() => {
                    tracing::warn!(archive = %archive.id, copy = copy.name, url = copy.url, "a copy stays until the configuration points there again");
                    let left = CopyRecord { state: CopyState::Unreachable, ..copy.clone() };
                    all &= copies.save(&left, &copy).await?;
                    continue;
                }
                None => {}
            }
            // One that was stored meanwhile is there to be deleted.
            all &= copies.forget(&copy).await?;
        }
    }
    Ok(())
}

/// Deletes a copy, unless an import has made it an archive of its own.
async fn delete(
    app: &App,
    copy: &CopyRecord,
    storage: &Storage,
    object: &str,
) -> Result<(), OpError> {
    let url = copy.url.clone().unwrap_or_default();
    if app.catalog.archives().by_url(url).await?.is_none() {
        storage.delete(object).await?;
    }
    Ok(())
}

/// Deletes the copies of archives deleted before, where the configuration points to them again.
pub(super) async fn remove_left(app: &App) -> Result<(), OpError> {
    for copy in app.catalog.copies().left().await? {
        let Some((storage, object)) = place(app, &copy) else { continue };
        if copy.locked_until.is_some_and(|until| until > app.clock.now()) {
            continue;
        }
        match delete(app, &copy, storage, object).await {
            Ok(()) => drop(app.catalog.copies().forget(&copy).await?),
            Err(error) => {
                tracing::warn!(archive = %copy.archive_id, copy = copy.name, %error, "the copy of a deleted archive could not be deleted");
            }
        }
    }
    Ok(())
}
