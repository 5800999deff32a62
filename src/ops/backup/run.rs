//! One backup, from opening the sources to the archive read back.

use std::sync::Arc;

use archive::{
    DatabaseInfo, EntryKind, ManifestInfo, NewEntry, Ratio, Summary, TenantInfo, Writer,
    WriterOptions,
};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::chunked::Base;
use super::index::{CapturedIndex, IndexFiles};
use super::parent::{Candidate, Choice, Wanted, choose, first_of, keep_or_warn};
use super::sending::{Kept, RemainsJournal, Sending};
use super::{BackupRequest, Mode, databases, files, index};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::config::LayoutKind;
use crate::encryption::{EncryptionError, Stored};
use crate::jobs::{Finished, Job, JobContext, JobFailure};
use crate::ops::archives;
use crate::ops::schedules::mode_word;
use crate::portal::{PortalError, Tenant};
use crate::schedule::full_every;
use crate::source::database::{self, DatabaseError, Snapshot};
use crate::storage::{self, Remains, Storage, StorageError, StorageType};

/// How often a dump is begun anew because a table's definition changed under it.
const MAX_RESTARTS: u32 = 3;

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

/// What is to be read, and what it is compared with.
struct Sources {
    indexes: Vec<CapturedIndex>,
    snapshots: Vec<Opened>,
    base: Arc<Base>,
    tenants: Vec<Tenant>,
    /// About how much is to be read.
    bytes: u64,
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

    /// Captures the indexes, then opens the snapshots, and counts all of it; the archive's name beside.
    async fn prepare(&self, started: Timestamp) -> Result<(Sources, String), RunError> {
        let portal = &self.app.portal;
        let indexes = index::capture(self.app, self.ctx, self.one.map(|one| one.told)).await?;
        let base = Arc::new(self.base().await?);
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
        let bytes = plan.bytes + table_bytes + index::bytes(&indexes);
        let name = match &self.request.file_name {
            // What reads it finds it by this name, and sees by its first bytes whether it is encrypted.
            Some(name) => name.clone(),
            None => {
                let name = self.app.keys.named(&self.archive_name(started));
                self.storage.unused_name(&name).await?
            }
        };
        Ok((Sources { indexes, snapshots, base, tenants, bytes }, name))
    }

    /// What the backup adds to.
    async fn base(&self) -> Result<Base, RunError> {
        let request = self.request;
        if request.mode == Mode::Full {
            return Base::new(None);
        }
        if let Some(one) = self.one {
            return match first_of(self.app, one.upon).await {
                Ok(parent) => Base::new(Some(parent)),
                Err(why) => self.no_base(why),
            };
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
            Choice::None(why) => self.no_base(Some(why)),
        }
    }

    fn no_base(&self, why: Option<String>) -> Result<Base, RunError> {
        if let Some(why) = why {
            let text = format!("a full backup was made, for there is nothing to add to: {why}");
            self.ctx.warn(text);
        }
        Base::new(None)
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

    async fn manifest(
        &self,
        tenants: &[Tenant],
        databases: Vec<DatabaseInfo>,
        base: &Base,
        started: Timestamp,
    ) -> Result<ManifestInfo, RunError> {
        let (portal, config) = (&self.app.portal, &self.app.config.portal);
        let parent = base.parent.as_ref();
        Ok(ManifestInfo {
            program: format!("portal-backup {}", env!("CARGO_PKG_VERSION")),
            id: self.ctx.job.id.to_string(),
            portal: config.name.clone(),
            layout: self.app.layout_name().to_owned(),
            dump: self.ctx.job.dump,
            mode: mode_word(parent.map_or(Mode::Full, |_| Mode::Incremental)).to_owned(),
            schedule: self.request.schedule_id.map(|id| id.to_string()),
            parent: parent.map(|parent| parent.id.to_string()),
            links: parent.map(|parent| parent.links.clone()).unwrap_or_default(),
            resource: self.app.single.map(|id| id.to_string()),
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
