//! The service's own database: archives, jobs, API keys. SQL that SQLite, PostgreSQL and MySQL share.

mod api_keys;
mod archives;
mod cache;
mod copies;
mod db;
mod index_copies;
pub(crate) mod jobs;
mod memos;
mod migrate;
mod operations;
mod place;
mod schedules;
mod sources;
mod upkeep;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::runtime::{Handle, Runtime};
use uuid::Uuid;

use crate::config::Secret;
use crate::storage::{StorageParams, StorageType};

pub use api_keys::{ApiKey, ApiKeyInfo, ApiKeys};
pub use archives::{ArchiveFilter, Archives, Page};
pub(crate) use cache::Cache;
pub use copies::{Copied, Copies, CopyRecord, CopyState};
use db::{Db, Dialect};
pub use index_copies::{IndexCopies, IndexCopy};
pub use memos::Memos;
pub use operations::{Ending, Message, Operation, Operations, Task};
pub use place::sqlite_file;
use place::{Place, create_file};
pub use schedules::{Fired, ScheduleRecord, Schedules};
pub use sources::{SourceKind, SourceRecord, Sources};
pub(crate) use upkeep::{Told, Upkeep};

/// An archive that was stored, read back and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchiveRecord {
    pub id: Uuid,
    pub tenant_id: i64,
    pub name: String,
    pub storage_type: StorageType,
    /// As requested; secrets among them are sealed by the caller (`seal::Sealer::seal_params`).
    pub storage_params: StorageParams,
    /// Where it lies, without credentials.
    pub url: String,
    pub size: u64,
    /// Lowercase hex.
    pub sha256: String,
    pub created_on: Timestamp,
    pub expires_on: Option<Timestamp>,
    pub dump: bool,
    pub mode: String,
    pub parent_id: Option<Uuid>,
    pub verified_on: Option<Timestamp>,
    /// When it was last restored into a scratch place and found good.
    pub proved_on: Option<Timestamp>,
    /// When it was deleted on request; its record stays for the history of jobs.
    pub removed_on: Option<Timestamp>,
    /// Since when its object is known to be gone.
    pub missing_since: Option<Timestamp>,
    /// How many warnings its job gave.
    pub warnings: u64,
    pub job_id: Option<Uuid>,
    /// The schedule that made it; None: somebody asked for it.
    pub schedule_id: Option<Uuid>,
}

#[cfg(test)]
impl ArchiveRecord {
    /// For tests, which say what matters to them.
    pub(crate) fn sample() -> Self {
        Self {
            id: Uuid::new_v4(),
            tenant_id: 1,
            name: "a".to_owned(),
            storage_type: StorageType::Local,
            storage_params: Default::default(),
            url: String::new(),
            size: 1,
            sha256: String::new(),
            created_on: Timestamp::UNIX_EPOCH,
            expires_on: None,
            dump: true,
            mode: "full".to_owned(),
            parent_id: None,
            verified_on: None,
            proved_on: None,
            removed_on: None,
            missing_since: None,
            warnings: 0,
            job_id: None,
            schedule_id: None,
        }
    }
}

/// What an API key may do; the greater includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sees status and history.
    Read,
    /// Also starts, cancels, deletes, restores and reads contents.
    Write,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error("catalog.url: {0}")]
    Url(String),
    #[error("catalog {}: {source}", path.display())]
    File { path: PathBuf, source: Arc<std::io::Error> },
    #[error("the catalog {place} cannot be opened: {source}")]
    Open { place: String, source: Arc<sqlx::Error> },
    #[error(
        "the catalog's schema is version {found}, made by a newer portal-backup; this one knows \
         version {known}: use the newer program"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error("another process has been changing the catalog's schema for a minute")]
    Locked,
    #[error("the catalog does not answer: {0}")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the catalog holds something unreadable: {0}")]
    Unreadable(String),
    #[error("the catalog has been closed")]
    Closed,
    /// What was made is not wanted any more, and trying again would not help.
    #[error("{0}")]
    Superseded(&'static str),
}

/// A figure of `/metrics`: however many poll, the catalog is asked no more often.
pub const QUERIES: &str = "portal_backup_catalog_queries_total";

/// Whether a table is the catalog's: one that lies in a portal's database is left out of backups, because
/// a restore of it would bring back jobs and keys of another time.
pub fn is_own_table(name: &str) -> bool {
    name.starts_with("portal_backup_")
}

/// The catalog, open; clones share one pool of connections.
///
/// Its connections are driven by a thread of their own: they work from any runtime, outlive the runtime
/// that used them first, and no work elsewhere can starve them.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    handle: Handle,
    /// Always there until drop.
    runtime: Option<Runtime>,
    api_keys: api_keys::KeyCache,
    /// Counts what this process changed in the table of archives.
    archives: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropping a runtime waits, which panics inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Catalog").field(&self.inner.db.dialect).finish()
    }
}

impl Catalog {
    /// Opens the catalog that `url` names and brings its schema up to date. An SQLite file is created if
    /// it does not exist, with mode 0600; a MySQL or PostgreSQL database must exist.
    ///
    /// Several processes may open the same catalog at the same time.
    pub async fn open(url: &Secret) -> Result<Self, CatalogError> {
        let place = Place::parse(url)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("catalog")
            .enable_all()
            .build()
            .map_err(|source| CatalogError::File {
                path: place.file.clone().unwrap_or_default(),
                source: Arc::new(source),
            })?;
        let handle = runtime.handle().clone();
        // Owned from here on by something whose drop does not wait.
        let mut runtime = RuntimeGuard(Some(runtime));
        let db = handle.spawn(connect(place)).await.map_err(|_| CatalogError::Closed)??;
        let runtime = runtime.0.take();
        let inner = Inner {
            db,
            handle,
            runtime,
            api_keys: api_keys::KeyCache::default(),
            archives: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The table of archives.
    pub fn archives(&self) -> Archives<'_> {
        Archives { catalog: self }
    }

    /// The table of copies.
    pub fn copies(&self) -> Copies<'_> {
        Copies { catalog: self }
    }

    /// The table of what increments need of encrypted archives.
    pub fn memos(&self) -> Memos<'_> {
        Memos { catalog: self }
    }

    /// The table of schedules.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules { catalog: self }
    }

    /// The table of databases and filesystems that restores made.
    pub fn sources(&self) -> Sources<'_> {
        Sources { catalog: self }
    }

    /// The table of operations on one source.
    pub fn operations(&self) -> Operations<'_> {
        Operations { catalog: self }
    }

    /// The table of copies that sensenet's API made of the index.
    pub fn index_copies(&self) -> IndexCopies<'_> {
        IndexCopies { catalog: self }
    }

    /// What is done to the tables from time to time.
    pub(crate) fn upkeep(&self) -> Upkeep<'_> {
        Upkeep { catalog: self }
    }

    /// Rises with every change that this process makes to the table of archives.
    pub(crate) fn archives_epoch(&self) -> u64 {
        self.inner.archives.load(Ordering::Acquire)
    }

    fn archives_changed(&self) {
        self.inner.archives.fetch_add(1, Ordering::AcqRel);
    }

    /// The table of API keys.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys { catalog: self }
    }

    /// Asks the database for its time, in Unix milliseconds; says so if it does not answer.
    pub async fn ping(&self) -> Result<Timestamp, CatalogError> {
        self.run(|db| async move {
            let sql = db.sql("select {now} as present");
            let row = sqlx::query(sql).fetch_one(&db.pool).await?;
            db::Columns(&row).time("present")
        })
        .await
    }

    /// Closes every connection; what runs is finished first. Later calls fail.
    pub async fn close(&self) {
        let pool = self.inner.db.pool.clone();
        // An error means that the runtime is gone, and the connections with it.
        let _ = self.inner.handle.spawn(async move { pool.close().await }).await;
    }

    /// The thread that drives the catalog's connections; heartbeats run there too.
    pub(crate) fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Does `work` on the catalog's own thread, again when the database broke a deadlock. Once begun it is
    /// done to its end even if the caller stops waiting, so that no transaction is left half done.
    pub(crate) async fn run<T, W, F>(&self, work: W) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        W: Fn(Db) -> F + Send + 'static,
        F: Future<Output = Result<T, CatalogError>> + Send + 'static,
    {
        const TRY_FOR: Duration = Duration::from_secs(5);
        metrics::counter!(QUERIES).increment(1);
        let db = self.inner.db.clone();
        let task = self.inner.handle.spawn(async move {
            let begun = Instant::now();
            let mut pause = Duration::from_millis(5);
            loop {
                match work(db.clone()).await {
                    Err(error) if db::is_transient(&error) && begun.elapsed() < TRY_FOR => {
                        // Not the same for everyone, or the same two would meet again.
                        let spread = u64::from(Uuid::new_v4().as_bytes()[0] % 20);
                        tokio::time::sleep(pause + Duration::from_millis(spread)).await;
                        pause *= 2;
                    }
                    result => return result,
                }
            }
        });
        task.await.map_err(|_| CatalogError::Closed)?
    }
}

struct RuntimeGuard(Option<Runtime>);

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(place: Place) -> Result<Db, CatalogError> {
    sqlx::any::install_default_drivers();
    let open = |source| CatalogError::Open { place: place.shown.clone(), source: Arc::new(source) };
    if let Some(file) = &place.file {
        create_file(file)?;
    }
    // One connection by itself first: its errors say what is wrong, the pool's only that it waited.
    let options = AnyConnectOptions::from_url(&place.url).map_err(open)?;
    let mut first = AnyConnection::connect_with(&options).await.map_err(open)?;
    prepare(&mut first, place.dialect).await.map_err(open)?;
    if place.dialect == Dialect::Sqlite {
        write_ahead(&mut first).await.map_err(open)?;
    }
    migrate::migrate(&mut first, place.dialect).await?;
    first.close().await?;
    let dialect = place.dialect;
    let pool = AnyPoolOptions::new()
        .max_connections(if dialect == Dialect::Sqlite { 4 } else { 8 })
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(move |connection, _| Box::pin(prepare(connection, dialect)))
        .connect_lazy_with(options);
    Ok(Db { pool, dialect })
}

/// What every connection needs.
async fn prepare(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    if dialect == Dialect::Sqlite {
        connection.execute("pragma busy_timeout = 10000").await?;
        // In WAL mode, "normal" may lose the last commits when the machine loses power; an archive
        // that was told to be recorded must stay recorded.
        connection.execute("pragma synchronous = full").await?;
    }
    Ok(())
}

/// Readers and a writer beside each other. The file keeps the mode. SQLite does not wait for other
/// connections here as it does elsewhere (<https://sqlite.org/wal.html>), so we do.
async fn write_ahead(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let begun = Instant::now();
    loop {
        match connection.execute("pragma journal_mode = wal").await {
            Err(_) if begun.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result.map(drop),
        }
    }
}
