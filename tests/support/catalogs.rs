//! Empty catalogs on the machine's own databases, one of each kind, dropped when a test ends.

use jiff::Timestamp;
use portal_backup::catalog::{ArchiveRecord, Catalog};
use portal_backup::config::Secret;
use portal_backup::storage::{StorageParams, StorageType};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

const MYSQL: &str = "mysql://root@127.0.0.1:3306";
const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
    MySql,
}

/// A database of its own; several catalogs may be opened on it, as several processes would.
pub struct Place {
    pub url: Secret,
    name: String,
    kind: Kind,
    _folder: tempfile::TempDir,
}

impl Place {
    pub async fn new(kind: Kind) -> Self {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let name = format!("pb_jobs_{}", Uuid::new_v4().simple());
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}/c.db", folder.path().display()),
            Kind::Postgres => format!("{POSTGRES}/{name}"),
            Kind::MySql => format!("{MYSQL}/{name}"),
        };
        let place = Self { url: Secret::new(url), name, kind, _folder: folder };
        place.administer("create database").await;
        place
    }

    pub async fn open(&self) -> Catalog {
        Catalog::open(&self.url).await.unwrap()
    }

    /// A connection beside all catalogs.
    pub async fn connect(&self) -> AnyConnection {
        AnyConnection::connect(self.url.expose()).await.unwrap()
    }

    pub async fn drop(self) {
        self.administer("drop database").await;
    }

    async fn administer(&self, verb: &str) {
        let (server, force) = match self.kind {
            Kind::Sqlite => return,
            Kind::Postgres => (
                format!("{POSTGRES}/postgres"),
                if verb.starts_with("drop") { " with (force)" } else { "" },
            ),
            Kind::MySql => (format!("{MYSQL}/mysql"), ""),
        };
        let mut connection = AnyConnection::connect(&server).await.unwrap();
        let sql = format!("{verb} {}{force}", self.name);
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

/// Makes one test of each function and each kind of database.
#[macro_export]
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        $(
            mod $test {
                use super::catalogs::{Kind, Place};

                async fn on(kind: Kind) {
                    let place = Place::new(kind).await;
                    super::$test(&place).await;
                    place.drop().await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    on(Kind::Sqlite).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    on(Kind::Postgres).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn mysql() {
                    on(Kind::MySql).await;
                }
            }
        )*
    };
}

/// The record of an archive of tenant 1 that lies in `Local`, full and of one byte.
pub fn record(name: &str) -> ArchiveRecord {
    ArchiveRecord {
        id: Uuid::new_v4(),
        tenant_id: 1,
        name: name.to_owned(),
        storage_type: StorageType::Local,
        storage_params: StorageParams::new(),
        url: format!("file:///backups/{name}"),
        size: 1,
        sha256: String::new(),
        created_on: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
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
