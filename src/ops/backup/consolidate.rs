//! One full archive made of an increment and all that it needs, without reading the portal.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, ManifestInfo, NewEntry, Piece, Ratio, Summary, Writer};
use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::parent::keep_or_warn;
use super::run::{RunError, failed, finished, writer_options};
use super::sending::{Kept, RemainsJournal, Sending};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::Stored;
use crate::jobs::{Finished, Job, JobContext, JobFailure, JobKind, NewJob};
use crate::ops::{OpError, archives};
use crate::storage::{self, Remains, Storage};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    archive_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_file: Option<PathBuf>,
}

/// Starts the job. The full archive goes where the increment lies. `identity_file`: opens what is read instead of the
/// configured identities.
pub async fn start(
    app: &App,
    tenant_id: Option<i64>,
    id: Uuid,
    identity_file: Option<PathBuf>,
) -> Result<Job, OpError> {
    let record = archives::get(app, tenant_id, id).await?;
    if record.parent_id.is_none() {
        return Err(OpError::Invalid(format!("{} is a full archive already", record.name)));
    }
    let job = NewJob {
        kind: JobKind::Consolidate,
        tenant_id: record.tenant_id,
        dump: record.dump,
        request: serde_json::to_value(Request { archive_id: id, identity_file })
            .map_err(OpError::internal)?,
        exclusive: Some(format!("consolidate:{id}")),
        archive_id: Some(id),
    };
    Ok(app.queue.enqueue(job).await?.job)
}

fn request(job: &Job) -> Result<Request, OpError> {
    serde_json::from_value(job.request.clone()).map_err(OpError::internal)
}

/// The archive that a job is about, and where it lies.
async fn subject(app: &App, job: &Job) -> Result<(ArchiveRecord, Storage), OpError> {
    let record = archives::get(app, None, request(job)?.archive_id).await?;
    let storage = archives::storage(app, &record)?;
    Ok((record, storage))
}

/// Removes what a dead or failed attempt left.
pub(in crate::ops) async fn clean(
    app: &App,
    job: &Job,
    remains: &serde_json::Value,
) -> Result<(), String> {
    let remains: Remains =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    let (_, storage) = subject(app, job).await.map_err(|error| error.to_string())?;
    storage.clean(&remains).await.map_err(|error| error.to_string())
}

/// Runs the job.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    ctx.progress.restart();
    let (record, storage) = subject(app, &ctx.job).await.map_err(failed)?;
    Ok(finished(app, consolidate(app, ctx, &record, &storage).await?))
}

async fn consolidate(
    app: &Arc<App>,
    ctx: &JobContext,
    record: &ArchiveRecord,
    storage: &Storage,
) -> Result<ArchiveRecord, RunError> {
    let progress = &ctx.progress;
    progress.phase("preparing");
    let open = async {
        let keys = app.keys_with(request(&ctx.job)?.identity_file.as_deref())?;
        archives::open_with(app, record, &keys).await
    };
    let archive = open.await.map_err(|error| RunError::Failed(error.to_string()))?;
    archive.check_links().await?;
    let mut bytes = 0;
    let mut entries = std::pin::pin!(archive.entries());
    while let Some(entry) = entries.try_next().await? {
        bytes += entry.size;
    }
    progress.add_total(bytes);
    let name = storage.unused_name(&app.keys.named(&record.name)).await?;
    let journal = Arc::new(RemainsJournal(ctx.clone()));
    let expected = Ratio::default().of(bytes);
    let (sending, sink) = Sending::start(app, ctx, storage, name, expected, journal).await?;
    let writer = Writer::new(writer_options(app), sink);
    let later = sending.later();
    progress.followed_by(writer.ratio(), later);
    progress.phase("consolidating");
    let info = ManifestInfo {
        program: format!("portal-backup {}", env!("CARGO_PKG_VERSION")),
        id: ctx.job.id.to_string(),
        mode: "full".to_owned(),
        schedule: None,
        parent: None,
        links: Vec::new(),
        ..archive.info().cloned().unwrap_or_default()
    };
    let written = tokio::select! {
        written = write(&archive, writer, info, ctx) => written,
        () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
    };
    let written = written.map(|Summary { bytes, sha256, .. }| Some(Stored { bytes, sha256 }));
    let sent = sending.end(written).await?;
    progress.follows(later * sent.stored.bytes);
    let kept = sent.store(app, ctx, storage, async { Ok(()) }).await?;
    let Kept { name, url, id, locked_until, stored, own } = kept;
    let now = Timestamp::now();
    let mut record = ArchiveRecord {
        id: ctx.job.id,
        url,
        name,
        storage_params: storage::in_record(&record.storage_params, id.as_deref(), locked_until),
        size: stored.bytes,
        sha256: hex::encode(stored.sha256),
        expires_on: record.storage_type.expires_on(now),
        mode: "full".to_owned(),
        parent_id: None,
        verified_on: Some(now),
        proved_on: None,
        warnings: 0,
        job_id: Some(ctx.job.id),
        // Somebody asked for it: it stays until somebody deletes it.
        schedule_id: None,
        // What it shows is the portal as it was then.
        ..record.clone()
    };
    let storage = storage.of_archive(id.as_deref());
    keep_or_warn(app, ctx, &record, &storage, own.as_ref(), None).await?;
    record.warnings = ctx.warnings().len() as u64;
    Ok(record)
}

async fn write(
    archive: &Archive,
    mut writer: Writer,
    info: ManifestInfo,
    ctx: &JobContext,
) -> Result<Summary, RunError> {
    let mut pieces = std::pin::pin!(archive.contents());
    while let Some(piece) = pieces.try_next().await? {
        match piece {
            Piece::Entry(entry) => {
                ctx.progress.current(&entry.path);
                let size = entry.size;
                let entry = NewEntry {
                    path: entry.path,
                    kind: entry.kind,
                    mtime: entry.mtime,
                    rows: entry.rows,
                    note: entry.note,
                    version: entry.version,
                };
                writer.begin(entry, size).await?;
            }
            Piece::Data(data) => {
                ctx.progress.add(data.len() as u64);
                writer.write(data).await?;
            }
            // The reader has compared the content's digest.
            Piece::End => drop(writer.end().await?),
            Piece::Warning(warning) => ctx.warn(warning),
        }
    }
    Ok(writer.finish(info).await?)
}
