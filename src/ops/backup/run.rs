//! One backup, from opening the sources to the archive read back.

use std::sync::Arc;

use archive::{
    DatabaseInfo, EntryKind, ManifestInfo, NewEntry, Summary, TenantInfo, Writer, WriterOptions,
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::chunked::Base;
use super::index::CapturedIndex;
use super::parent::{Choice, Wanted, choose};
use super::{BackupRequest, Mode, databases, files, index};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::config::LayoutKind;
use crate::encryption::{EncryptionError, Sealing, Stored};
use crate::jobs::{CancelReason, Finished, Job, JobContext, JobFailure};
use crate::limits::Rate;
use crate::ops::archives;
use crate::ops::fingerprint::{Fingerprint, read_back};
use crate::ops::schedules::mode_word;
use crate::portal::{Portal, PortalError, Tenant};
use crate::schedule::full_every;
use crate::source::database::{self, DatabaseError, Snapshot};
use crate::storage::{
    self, JournalError, Remains, Storage, StorageError, StorageType, Upload, UploadHint,
};

/// How often a dump is begun anew because a table's definition changed under it.
const MAX_RESTARTS: u32 = 3;
/// DocSpace keeps archives of its own data store for a day.
pub(super) const DATA_STORE_DAYS: i64 = 1;

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

/// Runs the backup that a job asks for. Whatever it left in the storage when it fails is removed.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request: BackupRequest =
        serde_json::from_value(ctx.job.request.clone()).map_err(|error| {
            JobFailure::Failed(format!("the job's request cannot be read: {error}"))
        })?;
    let params = app.unseal_params(&request.storage_params).map_err(failed)?;
    let storage = app.storages.resolve(request.storage_type, &params).map_err(failed)?;
    let mut restarts = 0;
    loop {
        let attempt = Attempt { app, ctx, request: &request, storage: &storage };
        let assembled = tokio::select! {
            assembled = attempt.assemble() => assembled,
            () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
        };
        let result = match assembled {
            Ok(assembled) => attempt.store(assembled).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(finished) => return Ok(finished),
            Err(RunError::Cancelled) => return Err(JobFailure::Cancelled),
            Err(RunError::Database(error @ DatabaseError::DefinitionChanged { .. }))
                if restarts < MAX_RESTARTS =>
            {
                restarts += 1;
                tracing::info!(job = %ctx.job.id, %error, "the dump is begun again");
            }
            Err(error) => return Err(failed(error)),
        }
    }
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
}

/// An archive whose every byte was sent, and which its storage does not show yet.
struct Assembled {
    started: Timestamp,
    name: String,
    upload: Upload,
    sent: Fingerprint,
    stored: Stored,
    /// What it adds to.
    parent: Option<Uuid>,
}

impl Attempt<'_> {
    /// Reads the sources and sends the archive. May be dropped at any moment.
    async fn assemble(&self) -> Result<Assembled, RunError> {
        let started = Timestamp::now();
        let progress = &self.ctx.progress;
        progress.restart();
        progress.phase("preparing");
        let portal = &self.app.portal;
        let indexes = index::capture(self.app, self.ctx).await?;
        let base = Arc::new(self.base().await?);
        let parent = base.parent.as_ref().map(|parent| parent.id);
        let plan = files::plan(portal, &portal.tenants().await?).await?;
        let snapshots = self.open_snapshots().await?;
        // Asked after the snapshots are open: a tenant that they hold has its files in the archive.
        let tenants = portal.tenants().await?;
        let table_bytes: u64 = snapshots
            .iter()
            .flat_map(|opened| opened.snapshot.tables())
            .filter(|table| table.with_data)
            .map(|table| table.estimated_bytes)
            .sum();
        let source_bytes = plan.bytes + table_bytes + index::bytes(&indexes);
        // What is written is read back: that is work too. Two thirds is what office portals compress to.
        let archive_guess = source_bytes / 3 * 2;
        progress.add_total(source_bytes + archive_guess);

        let keys = &self.app.keys;
        let name = match &self.request.file_name {
            // What reads it finds it by this name, and sees by its first bytes whether it is encrypted.
            Some(name) => name.clone(),
            None => self.storage.unused_name(&keys.named(&self.archive_name(started))).await?,
        };
        let upload = self
            .storage
            .upload(
                &name,
                UploadHint { expected_bytes: archive_guess, memory: upload_memory(self.app) },
                Arc::new(RemainsJournal(self.ctx.clone())),
            )
            .await?;
        let (sink, chunks) = mpsc::channel(1);
        let (chunks, sealing) = Sealing::start(keys, chunks);
        let uploading = tokio::spawn(send(chunks, upload, self.app.limits.upload.clone()));
        let options = writer_options(self.app);
        let mut writer = match parent {
            None => Writer::new(options, sink),
            Some(_) => Writer::increment(options, sink),
        };
        let read = Read { indexes, snapshots, base };
        let written = self.write(&mut writer, portal, &tenants, read, started).await;
        let finished = match written {
            Ok(info) => writer.finish(info).await.map_err(RunError::from),
            Err(error) => {
                drop(writer);
                Err(error)
            }
        };
        progress.phase("storing");
        let upload = joined(uploading).await;
        match (sealed(sealing, finished).await, upload) {
            (Ok(stored), Ok((upload, sent))) => {
                progress.correct_total(stored.bytes as i64 - archive_guess as i64);
                Ok(Assembled { started, name, upload, sent, stored, parent })
            }
            // The storage's own error says more than that the stream was closed.
            (_, Err(error)) => Err(error),
            (Err(error), Ok((upload, _))) => {
                upload.abort().await?;
                Err(error)
            }
        }
    }

    /// Makes the archive appear and reads it back. Not to be dropped: a storage that was told to complete an
    /// upload may do so after we have stopped waiting, and nobody would know of the archive.
    async fn store(&self, assembled: Assembled) -> Result<Finished, RunError> {
        let Assembled { started, name, upload, sent, stored, parent } = assembled;
        let progress = &self.ctx.progress;
        let locked = upload.locked_until();
        let id = upload.complete().await?;
        let storage = self.storage.of_archive(id.as_deref());
        progress.phase("verifying");
        let read_back = async {
            read_back(&storage, &name, &sent, progress, &self.app.limits.read)
                .await
                .map_err(RunError::Failed)?;
            match parent {
                Some(parent) => {
                    archives::get(self.app, None, parent).await.map(drop).map_err(|error| {
                        RunError::Failed(format!("what the increment adds to was removed: {error}"))
                    })
                }
                None => Ok(()),
            }
        };
        let read_back = tokio::select! {
            result = read_back => result,
            () = self.ctx.cancel.cancelled() => Err(RunError::Cancelled),
        };
        if let Err(error) = read_back {
            // Nothing that is not whole, or not wanted, may look like an archive. After a lost lease it is
            // another worker's to clean.
            if self.ctx.cancel.reason() != Some(CancelReason::Lost) {
                storage.delete(&name).await?;
            }
            return Err(error);
        }
        let now = Timestamp::now();
        let record = ArchiveRecord {
            // DocSpace's clients find a backup in the history by the id of its task.
            id: self.ctx.job.id,
            tenant_id: self.ctx.job.tenant_id,
            url: storage.object_url(&name).to_string(),
            name,
            storage_type: self.request.storage_type,
            storage_params: storage::in_record(&self.request.storage_params, id.as_deref(), locked),
            size: stored.bytes,
            sha256: hex::encode(stored.sha256),
            created_on: started,
            expires_on: (self.request.storage_type == StorageType::DataStore)
                .then(|| started + jiff::SignedDuration::from_hours(24 * DATA_STORE_DAYS)),
            dump: self.ctx.job.dump,
            mode: mode_word(parent.map_or(Mode::Full, |_| Mode::Incremental)).to_owned(),
            parent_id: parent,
            verified_on: Some(now),
            proved_on: None,
            removed_on: None,
            missing_since: None,
            warnings: self.ctx.warnings().len() as u64,
            job_id: Some(self.ctx.job.id),
            schedule_id: self.request.schedule_id,
        };
        Ok(Finished { copies: self.copies(), ..Finished::archive(record) })
    }

    /// Where else the archive goes. Those of DocSpace's data store are gone after a day.
    fn copies(&self) -> Vec<String> {
        match self.request.storage_type {
            StorageType::DataStore => Vec::new(),
            _ => self.app.storages.copy_names(),
        }
    }

    /// What the backup adds to.
    async fn base(&self) -> Result<Base, RunError> {
        let request = self.request;
        if request.mode == Mode::Full {
            return Base::new(None);
        }
        let full_every = request.full_every.as_deref().map(full_every).transpose();
        let wanted = Wanted {
            tenant_id: self.ctx.job.tenant_id,
            dump: self.ctx.job.dump,
            storage_type: request.storage_type,
            storage: self.storage,
            parent: request.parent,
            full_every: full_every.map_err(RunError::Failed)?,
        };
        match choose(self.app, &wanted, self.app.clock.now()).await? {
            Choice::Parent(parent) => Base::new(Some(*parent)),
            Choice::Due => Base::new(None),
            Choice::None(why) => {
                self.ctx
                    .warn(format!("a full backup was made, for there is nothing to add to: {why}"));
                Base::new(None)
            }
        }
    }

    /// Opens the snapshots of all databases at once, so that they show one moment as nearly as servers allow.
    async fn open_snapshots(&self) -> Result<Vec<Opened>, RunError> {
        let config = &self.app.config;
        let mut sources = Vec::new();
        for database in &config.portal.database {
            sources.push((&database.name, database::open(database, &config.backup.temp_dir)?));
        }
        let readers = config.limits.database_connections as usize;
        let snapshots =
            futures::future::try_join_all(sources.iter().map(|(_, db)| db.snapshot(readers)))
                .await?;
        let opened: Vec<_> = sources
            .into_iter()
            .zip(snapshots)
            .map(|((name, _), snapshot)| Opened { name: name.clone(), snapshot: snapshot.into() })
            .collect();
        for warning in opened.iter().flat_map(|opened| opened.snapshot.warnings()) {
            self.ctx.warn(warning.clone());
        }
        Ok(opened)
    }

    /// Everything but the manifest.
    async fn write(
        &self,
        writer: &mut Writer,
        portal: &Portal,
        tenants: &[Tenant],
        read: Read,
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
        let Read { indexes, snapshots, base } = read;
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
            index::store(indexes, writer, self.ctx, &base).await?;
        }
        progress.phase("database");
        // Files are read beside: the snapshots are open, so no row can refer to a file that was too new.
        files::store(self.app, tenants, dumps, writer, self.ctx, &base, now).await?;
        progress.phase("storing");
        let info = self.manifest(portal, tenants, infos, &base, started).await?;
        Ok(ManifestInfo { indexes: index_names, ..info })
    }

    async fn manifest(
        &self,
        portal: &Portal,
        tenants: &[Tenant],
        databases: Vec<DatabaseInfo>,
        base: &Base,
        started: Timestamp,
    ) -> Result<ManifestInfo, RunError> {
        let config = &self.app.config.portal;
        let parent = base.parent.as_ref();
        Ok(ManifestInfo {
            program: format!("portal-backup {}", env!("CARGO_PKG_VERSION")),
            id: self.ctx.job.id.to_string(),
            portal: config.name.clone(),
            layout: self.app.layout_name().to_owned(),
            dump: self.ctx.job.dump,
            mode: mode_word(parent.map_or(Mode::Full, |_| Mode::Incremental)).to_owned(),
            parent: parent.map(|parent| parent.id.to_string()),
            links: parent.map(|parent| parent.links.clone()).unwrap_or_default(),
            chunk_key: Some(base.key.clone()),
            tenants: tenants
                .iter()
                .map(|tenant| TenantInfo { id: tenant.id, alias: tenant.alias.clone() })
                .collect(),
            databases,
            filesystems: config.filesystem.iter().map(|source| source.name.clone()).collect(),
            started_on: started.to_string(),
            finished_on: Timestamp::now().to_string(),
            machine_key_fingerprint: portal.machine_key_fingerprint(),
            last_migration: portal.last_migration().await?,
            warnings: self.ctx.warnings(),
            ..ManifestInfo::default()
        })
    }

    /// DocSpace's name of a dump: the moment in the installation's own time zone.
    fn archive_name(&self, at: Timestamp) -> String {
        let portal = &self.app.config.portal;
        let zone = match portal.layout {
            LayoutKind::Docspace => TimeZone::system(),
            LayoutKind::Plain => TimeZone::get(&portal.timezone).unwrap_or(TimeZone::UTC),
        };
        crate::portal::archive_name(&portal.name, &Zoned::new(at, zone))
    }
}

/// What is to be read, and what it is compared with.
struct Read {
    indexes: Vec<CapturedIndex>,
    snapshots: Vec<Opened>,
    base: Arc<Base>,
}

struct Opened {
    name: String,
    snapshot: Arc<dyn Snapshot>,
}

impl Opened {
    fn info(&self) -> DatabaseInfo {
        let server = self.snapshot.server();
        DatabaseInfo {
            name: self.name.clone(),
            engine: server.engine.as_str().to_owned(),
            server_version: server.version.clone(),
            position: server.position.clone(),
        }
    }
}

/// Notes what an upload may leave behind with the job that makes it.
pub(in crate::ops) struct RemainsJournal(pub JobContext);

#[async_trait::async_trait]
impl crate::storage::UploadJournal for RemainsJournal {
    async fn record(&self, remains: &Remains) -> Result<(), JournalError> {
        Ok(self.0.save_remains(serde_json::to_value(remains)?).await?)
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

/// What of a job's memory sending the archive has, in bytes.
pub(super) fn upload_memory(app: &App) -> usize {
    app.config.backup.memory.0 as usize / 5
}

/// Hands the archive's bytes to the storage as they come.
pub(in crate::ops) async fn send(
    mut chunks: mpsc::Receiver<bytes::Bytes>,
    mut upload: Upload,
    limit: Rate,
) -> Result<(Upload, Fingerprint), RunError> {
    let mut sent = Fingerprint::default();
    while let Some(chunk) = chunks.recv().await {
        sent.update(&chunk);
        limit.take(chunk.len()).await;
        if let Err(error) = upload.write(chunk).await {
            if let Err(left) = upload.abort().await {
                tracing::warn!(%left, "a failed upload could not be removed; it will be tried again");
            }
            return Err(error.into());
        }
    }
    Ok((upload, sent))
}

/// What the storage got, after the writer has ended. An encryption that failed says more than the writer, whose bytes
/// it no longer took.
pub(super) async fn sealed(
    sealing: Sealing,
    written: Result<Summary, RunError>,
) -> Result<Stored, RunError> {
    let sealed = sealing.finish().await?;
    let Summary { bytes, sha256, .. } = written?;
    Ok(sealed.unwrap_or(Stored { bytes, sha256 }))
}

pub(in crate::ops) async fn joined(
    task: JoinHandle<Result<(Upload, Fingerprint), RunError>>,
) -> Result<(Upload, Fingerprint), RunError> {
    task.await.map_err(|error| RunError::Internal(error.to_string()))?
}
