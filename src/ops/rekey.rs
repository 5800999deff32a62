//! Encrypting a stored archive anew, for the recipients that are configured now.
//!
//! The new object is written beside the old one and read back; one transaction lets the catalog's record point to it;
//! only then is the old one deleted. Names are never used again, so whatever stops this, at any point, what the
//! catalog points to is whole, and what it does not point to is known and removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::ReadAt;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use left::{Journal, Left, Object, delete};

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{Opened, OwnKey, Tap};
use crate::jobs::{Finished, Job, JobContext, JobFailure, JobKind, JobState, NewJob, Progress};
use crate::ops::backup::{Kept, Memo, RunError, Sending, Sent};
use crate::ops::chain::{self, Near};
use crate::ops::named::folder::{Folder, other_name};
use crate::ops::{OpError, archives, copies, named, retention, unopened};
use crate::storage::{self, FILE_ID, Storage};

/// What is read at once, and how many such pieces ahead.
const PIECE: u64 = 1 << 20;
const AHEAD: usize = 4;
/// How often it is looked whether the old object is still read.
const LOOK: Duration = Duration::from_secs(1);

mod left;

pub(super) use left::clean;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RekeyRequest {
    archive_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_file: Option<PathBuf>,
}

/// Queues the job. `identity_file`: opens the archive instead of the configured identities.
pub async fn start(
    app: &App,
    archive: Uuid,
    identity_file: Option<PathBuf>,
) -> Result<Job, OpError> {
    if !app.keys.encrypts() {
        return Err(OpError::Invalid(
            "there is nothing to encrypt for: set encryption.recipients".to_owned(),
        ));
    }
    let record = archives::get(app, None, archive).await?;
    let copies = copies::of(app, [&record]).await?.remove(&archive).unwrap_or_default();
    // The old bytes could not be removed.
    if let Some(why) = archives::locked(&record, &copies, app.clock.now()) {
        return Err(OpError::Conflict(format!("{}: {why}", record.name)));
    }
    let keys = app.keys_with(identity_file.as_deref())?;
    // Who cannot open it is told at once.
    Opened::new(archives::stored(app, &record).await?, &keys)
        .await
        .map_err(|error| unopened(&record.name, &error))?;
    let request = RekeyRequest { archive_id: archive, identity_file };
    let job = NewJob {
        kind: JobKind::Rekey,
        tenant_id: record.tenant_id,
        dump: record.dump,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: Some(format!("rekey:{archive}")),
        archive_id: Some(archive),
    };
    Ok(app.queue.enqueue(job).await?.job)
}

/// Runs the job.
pub(super) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let rekey = Rekey { app, ctx, request: &request };
    let record = archives::get(app, None, request.archive_id).await.map_err(failed)?;
    ctx.progress.restart();
    let storage = storage_beside(app, &record).map_err(failed)?;
    let journal = Arc::new(Journal::of(ctx));
    let sent = rekey.send(&record, &storage, &journal).await?;
    let new = rekey.store(&record, &storage, sent, &journal).await?;
    ctx.progress.phase("removing the old one");
    rekey.remove_old(&record).await?;
    tracing::info!(archive = %record.id, name = new.name, "an archive is encrypted anew");
    Ok(Finished::verified(record.id, Timestamp::now()))
}

fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}

fn request(job: &Job) -> Result<RekeyRequest, String> {
    serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))
}

/// The storage of an archive, as one writes a new one there.
fn storage_beside(app: &App, record: &ArchiveRecord) -> Result<Storage, OpError> {
    let mut params = app.unseal_params(&record.storage_params)?;
    params.remove(FILE_ID);
    Ok(app.storages.resolve(record.storage_type, &params)?)
}

struct Rekey<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a RekeyRequest,
}

impl Rekey<'_> {
    /// Decrypts and encrypts.
    async fn send(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
        journal: &Arc<Journal>,
    ) -> Result<Sent, JobFailure> {
        let Self { app, ctx, request } = self;
        ctx.progress.phase("encrypting");
        let keys = app.keys_with(request.identity_file.as_deref()).map_err(failed)?;
        // May be dropped at any moment: nothing is written yet.
        let open = async {
            let stored = archives::stored(app, record).await.map_err(failed)?;
            let opened = Opened::new(stored, &keys).await;
            let opened = opened.map_err(|error| failed(unopened(&record.name, &error)))?;
            Ok::<_, JobFailure>((opened, self.new_name(record, storage).await?))
        };
        let (opened, name) = tokio::select! {
            opened = open => opened?,
            () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
        };
        let (sending, sink) =
            Sending::start(app, ctx, storage, name, record.size, Arc::clone(journal) as _).await?;
        ctx.progress.add_total((1 + sending.later()) * record.size);
        let (clear, tap) = opened.tapped();
        let read = async {
            pump(clear, sink, &ctx.progress).await?;
            same(record, &tap).await
        };
        let read = tokio::select! {
            read = read => read.map_err(|why| RunError::Failed(format!("{}: {why}", record.name))),
            () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        };
        Ok(sending.end(read.map(|()| None)).await?)
    }

    /// A name that nothing has. What reads an archive of one source finds it by its name, of which there are two.
    async fn new_name(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
    ) -> Result<String, JobFailure> {
        if record.tenant_id != named::NO_TENANT {
            let name = next_name(&record.name, self.app.keys.ending());
            return storage.unused_name(&name).await.map_err(failed);
        }
        let name = other_name(&record.name);
        match storage.size(&name).await.map_err(failed)? {
            None => Ok(name),
            Some(_) => Err(failed(format!("{} is there already", storage.object_url(&name)))),
        }
    }

    /// Makes the new object appear, reads it back, and lets the record point to it.
    async fn store(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
        sent: Sent,
        journal: &Journal,
    ) -> Result<ArchiveRecord, JobFailure> {
        let kept = sent.store(self.app, self.ctx, storage, async { Ok(()) }).await?;
        let Kept { name, url, id, locked_until, stored, own } = kept;
        let mut params = record.storage_params.clone();
        params.remove(FILE_ID);
        let new = ArchiveRecord {
            url,
            name,
            storage_params: storage::in_record(&params, id.as_deref(), locked_until),
            size: stored.bytes,
            sha256: hex::encode(stored.sha256),
            verified_on: Some(Timestamp::now()),
            ..record.clone()
        };
        let upload = journal.upload().ok_or_else(|| failed("the upload was not noted"))?;
        let left = Left { upload, old: Some(Object::of(record)) };
        self.ctx.save_remains(serde_json::to_value(left).map_err(failed)?).await?;
        if record.tenant_id == named::NO_TENANT {
            let keys = self.app.keys_with(self.request.identity_file.as_deref()).map_err(failed)?;
            let folder = Folder::of(self.app, record).map_err(failed)?;
            folder.rekey_documents(&keys).await.map_err(failed)?;
        }
        self.ctx.replace_archive(&record.url, new.clone()).await?;
        if let Some(own) = own {
            self.remember(&new, storage, &own).await;
        }
        Ok(new)
    }

    /// Keeps what the next increment needs, unless that was kept when the archive was made.
    async fn remember(&self, record: &ArchiveRecord, storage: &Storage, own: &OwnKey) {
        let Self { app, ctx, request } = self;
        let keep = async {
            if app.catalog.memos().part(record.id, 0).await?.is_some() {
                return Ok(());
            }
            let opened = Opened::own(archives::stored(app, record).await?, own)
                .await
                .map_err(|error| unopened(&record.name, &error))?;
            let keys = app.keys_with(request.identity_file.as_deref())?;
            let near = Near::Storage(storage.clone());
            let archive = chain::open(Some(app), &keys, &near, &opened).await;
            let archive = archive.map_err(OpError::internal)?;
            // Nothing is added to what something else wrote.
            match archive.info() {
                Some(_) => {
                    Memo::keep(app, record.id, &archive, None).await.map_err(OpError::internal)
                }
                None => Ok(()),
            }
        };
        if let Err(error) = keep.await {
            ctx.warn(format!("what the next incremental backup needs could not be kept: {error}"));
        }
    }

    /// Waits until no job reads the old object, and deletes it.
    async fn remove_old(&self, record: &ArchiveRecord) -> Result<(), JobFailure> {
        let Self { app, ctx, .. } = self;
        loop {
            // One that waits in the queue will read the new object; waiting for it could be for ever.
            let reads = |job: &Job| job.id != ctx.job.id && job.state == JobState::Running;
            let held = retention::held_by(app, reads).await.map_err(failed)?;
            if !held.contains_key(&record.id) {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
            }
        }
        delete(app, &Object::of(record), ctx.job.id).await.map_err(|error| {
            failed(format!(
                "the archive is encrypted anew, and {} must be removed: {error}",
                record.url
            ))
        })?;
        copies::renew(app, record.id).await.map_err(|error| {
            failed(format!(
                "the archive is encrypted anew, and its copies must be made anew: {error}"
            ))
        })
    }
}

/// Reads an archive from its start to its end.
async fn pump(
    clear: Arc<dyn ReadAt>,
    sink: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<(), String> {
    let end = clear.len();
    let mut pieces = stream::iter((0..end).step_by(PIECE as usize))
        .map(|at| {
            let clear = Arc::clone(&clear);
            async move { clear.read_at(at..end.min(at + PIECE)).await }
        })
        .buffered(AHEAD);
    while let Some(piece) = pieces.try_next().await.map_err(|error| error.to_string())? {
        progress.add(piece.len() as u64);
        // Who no longer takes them has failed, and says why.
        if sink.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Whether what was read is what the catalog has recorded.
async fn same(record: &ArchiveRecord, tap: &Tap) -> Result<(), String> {
    let sha256 = hex::encode(tap.finish().await.map_err(|error| error.to_string())?);
    // DocSpace kept none of some of its archives.
    let same = record.sha256.is_empty() || record.sha256.eq_ignore_ascii_case(&sha256);
    match same && tap.len() == record.size {
        true => Ok(()),
        false => Err("the archive is damaged: it is not the one that was recorded".to_owned()),
    }
}

/// The name of the next object: `x.tar.gz` → `x.tar.gz.age` → `x_2.tar.gz.age` → `x_3.tar.gz.age` …
fn next_name(name: &str, ending: &str) -> String {
    let Some(clear) = name.strip_suffix(ending) else { return format!("{name}{ending}") };
    let stem = [".tar.gz", ".tar"].iter().find_map(|end| clear.strip_suffix(end)).unwrap_or(clear);
    let (base, number) = match stem.rsplit_once('_') {
        Some((base, number)) => (base, number.parse::<u32>().ok()),
        None => (stem, None),
    };
    let (base, number) = number.map_or((stem, 2), |number| (base, number.saturating_add(1)));
    format!("{base}_{number}{}{ending}", &clear[stem.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_comes_again() {
        let next = |name| next_name(name, ".age");
        assert_eq!(next("a_2026-01-01_10-00-00.tar.gz"), "a_2026-01-01_10-00-00.tar.gz.age");
        assert_eq!(next("a_2026-01-01_10-00-00.tar.gz.age"), "a_2026-01-01_10-00-00_2.tar.gz.age");
        assert_eq!(next("a_2.tar.gz.age"), "a_3.tar.gz.age");
        assert_eq!(next("a_99.tar.age"), "a_100.tar.age");
        assert_eq!(next("plain.age"), "plain_2.age");
    }
}
