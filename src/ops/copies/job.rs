//! The job that makes a copy.

use std::sync::Arc;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Readable, open};
use crate::app::App;
use crate::catalog::{ArchiveRecord, Copied, CopyState};
use crate::jobs::{Finished, Job, JobContext, JobFailure, JobKind, NewJob};
use crate::limits::Rate;
use crate::ops::backup::RemainsJournal;
use crate::ops::{OpError, archives};
use crate::storage::{Remains, Storage, StoredObject, UploadHint};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyRequest {
    archive_id: Uuid,
    /// The storage's name in the configuration.
    name: String,
}

/// Of several jobs for the same copy one alone is under way.
fn key(archive: Uuid, name: &str) -> String {
    format!("copy:{archive}:{name}")
}

/// The job that is to be queued.
pub(super) fn new(archive: &ArchiveRecord, name: &str) -> Result<NewJob, OpError> {
    let request = CopyRequest { archive_id: archive.id, name: name.to_owned() };
    Ok(NewJob {
        kind: JobKind::Copy,
        tenant_id: archive.tenant_id,
        dump: archive.dump,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: Some(key(archive.id, name)),
        archive_id: Some(archive.id),
    })
}

/// Runs the job.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let archive = archives::get(app, None, request.archive_id).await.map_err(failed)?;
    match super::current(app, archive.id, &request.name).await.map_err(failed)? {
        // It was queued by what another process knew before.
        Some(copy) if copy.state == CopyState::Stored => return Ok(Finished::default()),
        Some(_) => {}
        None => return Err(failed("nobody wants this copy any more")),
    }
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
pub(in crate::ops) async fn clean(
    app: &App,
    job: &Job,
    remains: &serde_json::Value,
) -> Result<(), String> {
    let request = request(job)?;
    // Azure knows what was left by its name alone, and would drop what another attempt has sent so far.
    let holder = app.queue.holder(key(request.archive_id, &request.name)).await;
    if holder.map_err(|error| error.to_string())?.is_some_and(|holder| holder.id != job.id) {
        return Err("another attempt at the same copy is under way".to_owned());
    }
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
        let Readable { object: source, notice, .. } = open(app, archive).await.map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, CopyConfig, Secret};

    /// On Azure it would take along what the later attempt has sent.
    #[tokio::test]
    async fn what_an_attempt_left_stays_while_another_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let mut config = Config::default();
        config.catalog.url = Secret::new(format!("sqlite://{at}/c.db"));
        config.storage.local.root = dir.path().join("backups");
        let (name, url) = ("disk".to_owned(), format!("file://{at}/second").parse().unwrap());
        config.storage.copy = vec![CopyConfig { name, url, options: Default::default() }];
        let app = App::build(config).await.unwrap();
        let archive = ArchiveRecord::sample();
        let start = async || app.queue.enqueue(new(&archive, "disk").unwrap()).await.unwrap().job;
        let remains = Remains { name: "a.tar.gz".to_owned(), upload_id: Some("x".to_owned()) };
        let remains = serde_json::to_value(remains).unwrap();
        let first = start().await;
        // Its own attempts before this one.
        clean(&app, &first, &remains).await.unwrap();
        app.queue.request_cancel(first.id).await.unwrap();
        let second = start().await;
        assert!(clean(&app, &first, &remains).await.unwrap_err().contains("another attempt"));
        app.queue.request_cancel(second.id).await.unwrap();
        clean(&app, &first, &remains).await.unwrap();
    }
}
