//! One backup, from opening the sources to the archive read back.

use std::sync::Arc;

use archive::{EntryKind, ManifestInfo, NewEntry, Ratio, Summary, Writer, WriterOptions};
use jiff::Timestamp;
use sources::{Opened, Sources};

use super::index::IndexFiles;
use super::parent::{Candidate, keep_or_warn};
use super::sending::{Kept, RemainsJournal, Sending};
use super::{BackupRequest, Mode, databases, files, index};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{EncryptionError, Stored};
use crate::jobs::{Finished, Job, JobContext, JobFailure};
use crate::ops::archives;
use crate::ops::schedules::mode_word;
use crate::portal::PortalError;
use crate::source::database::DatabaseError;
use crate::storage::{self, Remains, Storage, StorageError, StorageType};

/// How often a dump is begun anew because a table's definition changed under it.
const MAX_RESTARTS: u32 = 3;

mod manifest;
mod sources;

#[derive(Debug, thiserror::Error)]
pub(in crate::ops) enum RunError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Portal(#[from] PortalError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("writing the archive: {0}")]
    Archive(#[from] archive::Error),
    #[error("encrypting the archive: {0}")]
    Encryption(#[from] EncryptionError),
    #[error("{0}")]
    Failed(String),
    /// Another part failed first and knows why.
    #[error("the backup stopped")]
    Stopped,
    #[error("the backup was cancelled")]
    Cancelled,
    #[error("{0}")]
    Internal(String),
}

impl From<RunError> for JobFailure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Cancelled => Self::Cancelled,
            error => failed(error),
        }
    }
}

/// Runs the backup that a job asks for. Whatever it left in the storage when it fails is removed.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    run_one(app, ctx, None).await
}

/// How one source is backed up by itself.
#[derive(Clone, Copy)]
pub(in crate::ops) struct OneSource<'a> {
    /// An increment adds to the first of them that will do.
    pub upon: &'a [Candidate],
    /// Gets the files of its index.
    pub told: &'a IndexFiles,
}

/// The same of one source.
pub(in crate::ops) async fn run_one(
    app: &Arc<App>,
    ctx: &JobContext,
    one: Option<OneSource<'_>>,
) -> Result<Finished, JobFailure> {
    let request: BackupRequest =
        serde_json::from_value(ctx.job.request.clone()).map_err(|error| {
            JobFailure::Failed(format!("the job's request cannot be read: {error}"))
        })?;
    let params = app.unseal_params(&request.storage_params).map_err(failed)?;
    let storage = app.storages.resolve(request.storage_type, &params).map_err(failed)?;
    let mut restarts = 0;
    let attempt = Attempt { app, ctx, request: &request, storage: &storage, one };
    loop {
        match attempt.run().await {
            Err(RunError::Database(error @ DatabaseError::DefinitionChanged { .. }))
                if restarts < MAX_RESTARTS =>
            {
                restarts += 1;
                tracing::info!(job = %ctx.job.id, %error, "the dump is begun again");
            }
            ended => return Ok(ended?),
        }
    }
}

/// What the job of a new archive publishes: the archive, and where else it goes. Those of DocSpace's data store are gone
/// after a day.
pub(super) fn finished(app: &App, record: ArchiveRecord) -> Finished {
    let copies = match record.storage_type {
        StorageType::DataStore => Vec::new(),
        _ => app.storages.copy_names(),
    };
    Finished { copies, ..Finished::archive(record) }
}

/// Removes what a dead or failed attempt left in its storage.
pub(in crate::ops) async fn clean(
    app: &App,
    job: &Job,
    remains: &serde_json::Value,
) -> Result<(), String> {
    let request: BackupRequest =
        serde_json::from_value(job.request.clone()).map_err(|error| error.to_string())?;
    let remains: Remains =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    let params = app.unseal_params(&request.storage_params).map_err(|error| error.to_string())?;
    let storage =
        app.storages.resolve(request.storage_type, &params).map_err(|error| error.to_string())?;
    storage.clean(&remains).await.map_err(|error| error.to_string())
}

pub(super) fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}

struct Attempt<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a BackupRequest,
    storage: &'a Storage,
    /// None: it is of the portal, and an increment adds to what lies in its own storage.
    one: Option<OneSource<'a>>,
}

impl Attempt<'_> {
    /// Makes the archive and reads it back.
    async fn run(&self) -> Result<Finished, RunError> {
        let started = Timestamp::now();
        let Self { app, ctx, request, storage, .. } = *self;
        // Warnings of an attempt that was given up are not of this archive.
        ctx.forget_warnings();
        ctx.progress.restart();
        ctx.progress.phase("preparing");
        // May be dropped at any moment: nothing is written yet.
        let (sources, name) = tokio::select! {
            prepared = self.prepare(started) => prepared?,
            () = ctx.cancel.cancelled() => return Err(RunError::Cancelled),
        };
        let base = Arc::clone(&sources.base);
        let parent = base.parent.as_ref().map(|parent| parent.id);
        ctx.progress.add_total(sources.bytes);
        let journal = Arc::new(RemainsJournal(ctx.clone()));
        let expected = Ratio::default().of(sources.bytes);
        let (sending, sink) = Sending::start(app, ctx, storage, name, expected, journal).await?;
        let options = writer_options(app);
        let mut writer = match parent {
            None => Writer::new(options, sink),
            Some(_) => Writer::increment(options, sink),
        };
        let later = sending.later();
        ctx.progress.followed_by(writer.ratio(), later);
        let write = async {
            let info = self.write(&mut writer, sources, started).await?;
            let Summary { bytes, sha256, .. } = writer.finish(info).await?;
            Ok::<_, RunError>(Some(Stored { bytes, sha256 }))
        };
        let written = tokio::select! {
            written = write => written,
            () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        };
        let sent = sending.end(written).await?;
        ctx.progress.follows(later * sent.stored.bytes);
        let check = async {
            let Some(parent) = parent else { return Ok(()) };
            archives::get(app, None, parent).await.map(drop).map_err(|error| {
                RunError::Failed(format!("what the increment adds to was removed: {error}"))
            })
        };
        let kept = sent.store(app, ctx, storage, check).await?;
        let Kept { name, url, id, locked_until, stored, own } = kept;
        let mut record = ArchiveRecord {
            // DocSpace's clients find a backup in the history by the id of its task.
            id: ctx.job.id,
            tenant_id: ctx.job.tenant_id,
            url,
            name,
            storage_type: request.storage_type,
            storage_params: storage::in_record(
                &request.storage_params,
                id.as_deref(),
                locked_until,
            ),
            size: stored.bytes,
            sha256: hex::encode(stored.sha256),
            created_on: started,
            expires_on: request.storage_type.expires_on(started),
            dump: ctx.job.dump,
            mode: mode_word(parent.map_or(Mode::Full, |_| Mode::Incremental)).to_owned(),
            parent_id: parent,
            verified_on: Some(Timestamp::now()),
            proved_on: None,
            removed_on: None,
            missing_since: None,
            warnings: 0,
            job_id: Some(ctx.job.id),
            schedule_id: request.schedule_id,
        };
        let storage = storage.of_archive(id.as_deref());
        let (own, parent) = (own.as_ref(), base.parent.as_ref());
        keep_or_warn(app, ctx, &record, &storage, own, parent).await?;
        record.warnings = ctx.warnings().len() as u64;
        Ok(finished(app, record))
    }

    /// Everything but the manifest.
    async fn write(
        &self,
        writer: &mut Writer,
        sources: Sources,
        started: Timestamp,
    ) -> Result<ManifestInfo, RunError> {
        let progress = &self.ctx.progress;
        let now = started.as_second();
        if self.ctx.job.dump {
            let marker = NewEntry {
                path: "dump".to_owned(),
                kind: EntryKind::Marker,
                mtime: now,
                rows: None,
                note: None,
                version: None,
            };
            writer.append(marker, b"True").await?;
        }
        let Sources { indexes, snapshots, base, tenants, .. } = sources;
        let infos = snapshots.iter().map(Opened::info).collect();
        // Handed over, so that each snapshot is closed as soon as its tables are read.
        let databases = snapshots.into_iter().enumerate().map(|(position, opened)| {
            let members = databases::Members::new(&opened.name, position == 0);
            (opened.snapshot, members)
        });
        let (databases, limit) = (databases.collect(), &self.app.limits.database);
        let spools = writer.spools();
        let dumps = databases::Dumps::start(databases, &spools, progress, &base, limit, now);
        let index_names = index::names(&indexes);
        if !indexes.is_empty() {
            progress.phase("index");
            index::store(indexes, writer, self.ctx, &base, &self.app.limits.read).await?;
        }
        progress.phase("database");
        // Files are read beside: the snapshots are open, so no row can refer to a file that was too new.
        files::store(self.app, &tenants, dumps, writer, self.ctx, &base, now).await?;
        progress.phase("storing");
        let info = self.manifest(&tenants, infos, &base, started).await?;
        Ok(ManifestInfo { indexes: index_names, ..info })
    }
}

/// How an archive is written: compressing it has two fifths of a job's memory.
pub(super) fn writer_options(app: &App) -> WriterOptions {
    let config = &app.config.backup;
    WriterOptions {
        compression: config.compression,
        workers: std::thread::available_parallelism().map_or(2, usize::from),
        memory: config.memory.0 as usize / 5 * 2,
        temp_dir: config.temp_dir.clone(),
    }
}
