//! Databases, each engine behind one trait: a snapshot is opened once, and everything is read from it.

mod digest;
mod hex;
mod mysql;
mod object;
mod postgres;
mod readers;
mod sql;
mod sqlite;
mod staging;
mod statements;

use async_trait::async_trait;

use crate::config::DatabaseConfig;
use crate::source::restore::{AttemptId, Staged};

pub use object::{ObjectText, member_of_table, table_of_member};
pub use staging::{Adjustment, Live, LiveObject, LiveTable, Staging, Statements, Trust};

/// A database that can be dumped.
#[async_trait]
pub trait Database: Send + Sync {
    /// Connects once and says what answers there; reads nothing else. Fails where the programs are missing that a backup needs.
    async fn check(&self) -> Result<ServerInfo, DatabaseError>;

    /// Opens one consistent snapshot over all tables, read by up to `readers` connections at once
    /// (fewer where the server does not allow it). No lock is held once this returns.
    async fn snapshot(&self, readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError>;

    /// What a restore would find here; changes nothing.
    async fn live(&self) -> Result<Live, DatabaseError>;

    /// Judges what an archive that is not ours would make, by its text alone: `schemes` are its tables' names and
    /// definitions. Errors say what a restore would refuse, and why.
    fn judge(&self, schemes: &[(&str, &str)], objects: &[ObjectText]) -> Result<(), DatabaseError>;

    /// How many rows live tables have, with those of their histories, in the tables' order; None of what is not
    /// counted by rows.
    async fn count(&self, tables: &[String]) -> Result<Vec<Option<u64>>, DatabaseError>;

    /// The digest of a live table, as [`Staging::digest`].
    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError>;

    /// Makes an empty place beside the live database; what an attempt of that name left is dropped first.
    async fn stage(&self, attempt: &AttemptId) -> Result<Box<dyn Staging>, DatabaseError>;

    /// What an attempt staged and maybe swapped, also when there is nothing (any more).
    async fn staged(&self, attempt: &AttemptId) -> Result<Box<dyn Staged>, DatabaseError>;

    /// Makes the database, empty, where there is none. True: it was made.
    async fn create(&self) -> Result<bool, DatabaseError>;

    /// Drops the database, if there is nothing in it or it is to be dropped `with_content`.
    async fn discard(&self, with_content: bool) -> Result<(), DatabaseError>;

    /// Gives space that is not used back; tables are locked meanwhile.
    async fn compact(&self) -> Result<(), DatabaseError>;
}

/// One moment of a database. Dropping it closes its connections and ends what they were running.
#[async_trait]
pub trait Snapshot: Send + Sync {
    fn server(&self) -> &ServerInfo;

    /// The tables of the snapshot, in the order of their names.
    fn tables(&self) -> &[Table];

    /// Objects that a dump does not carry, each a sentence for the job's warnings.
    fn warnings(&self) -> &[String];

    /// How many tables can be read at once.
    fn readers(&self) -> usize;

    /// Definitions are better asked for after the rows: getting them takes long, and they are those of the snapshot
    /// whenever that is.
    fn definitions_come_late(&self) -> bool {
        false
    }

    /// What is carried beside the tables: two texts, or one for each view, trigger and so on. None by default.
    async fn objects(&self) -> Result<Vec<ObjectText>, DatabaseError> {
        Ok(Vec::new())
    }

    /// The statements that make the empty table.
    async fn scheme(&self, table: &Table) -> Result<String, DatabaseError>;

    /// Renders every row of a table as statements and hands them to `sink` in pieces of some 256 KiB.
    /// Returns the number of rows; a table without rows writes nothing at all. Waits for a free connection.
    async fn data(&self, table: &Table, sink: &mut dyn DataSink) -> Result<u64, DatabaseError>;
}

/// Takes rendered statements. An error ends the dump of the table at once.
#[async_trait]
pub trait DataSink: Send {
    /// `ends`: where in `piece` a run of rows ends that an incremental backup may find again. Pieces may be cut
    /// anywhere; where runs end depends on the rows alone.
    async fn write(&mut self, piece: &[u8], ends: &[usize]) -> Result<(), SinkClosed>;
}

/// The consumer of a dump has gone or failed; it knows why.
#[derive(Debug, thiserror::Error)]
#[error("the dump's consumer stopped")]
pub struct SinkClosed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    MySql,
    MariaDb,
    Postgres,
    Sqlite,
}

impl Engine {
    /// The name in an archive's manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

#[derive(Debug, Clone)]
pub struct ServerInfo {
    pub engine: Engine,
    pub version: String,
    /// Where the snapshot stands in the server's log, when the server tells.
    pub position: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    /// False for tables of which only the definition is carried.
    pub with_data: bool,
    /// Bytes of the rendered statements: a guess, for progress only.
    pub estimated_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is not one we can use; nothing was tried.
    #[error("database {name}: {message}")]
    Configuration { name: String, message: String },
    /// The server cannot be reached, or refuses the credentials.
    #[error("cannot connect to database {name}: {message}")]
    Connect { name: String, message: String },
    /// A statement failed. `message` is the server's own.
    #[error("database {name}, {what}: {message}")]
    Query { name: String, what: String, message: String },
    /// A definition changed under the snapshot, so the dump must be begun again.
    #[error("database {name}: table {table} was changed while it was read")]
    DefinitionChanged { name: String, table: String },
    #[error(transparent)]
    SinkClosed(#[from] SinkClosed),
}

/// Makes the database that a URL names; connects to nothing yet.
///
/// `temp_dir`: where a SQLite database that is not in WAL mode is copied to, so that its writers need not wait.
pub fn open(
    config: &DatabaseConfig,
    temp_dir: &std::path::Path,
) -> Result<Box<dyn Database>, DatabaseError> {
    let url = config.url.expose();
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("mysql" | "mariadb") => Ok(Box::new(mysql::MySql::new(&config.name, url)?)),
        Some("sqlite") => Ok(Box::new(sqlite::Sqlite::new(&config.name, url, temp_dir)?)),
        Some("postgres" | "postgresql") => {
            Ok(Box::new(postgres::Postgres::new(&config.name, url)?))
        }
        _ => Err(DatabaseError::Configuration {
            name: config.name.clone(),
            message: "its url must begin with mysql://, postgres:// or sqlite://".to_owned(),
        }),
    }
}

/// How a `mysql://` URL is connected to. Errors do not repeat the URL.
pub fn mysql_options(url: &str) -> Result<mysql_async::Opts, String> {
    mysql::options(url)
}

/// A sentence that names what it is about, but not a thousand things. `None` when there is nothing.
pub fn warning(about: &str, names: &[String]) -> Option<String> {
    const SHOWN: usize = 20;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        count if count > SHOWN => Some(format!("{about} ({count}): {shown}, …")),
        count => Some(format!("{about} ({count}): {shown}")),
    }
}
