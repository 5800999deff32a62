//! MySQL and MariaDB, dumped in DocSpace's format (`docspace/facts.md` §6).

mod connect;
mod grants;
mod lock;
mod made;
mod making;
mod objects;
mod render;
mod restore;
mod rows;
mod scheme;
mod snapshot;
mod url;
mod warnings;

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::{Error, IoError, Opts};

use self::connect::Session;
use super::{Database, DatabaseError, Engine, Live, ObjectText, ServerInfo, Snapshot, Staging};
use crate::source::restore::{AttemptId, Staged};

/// A database of a MySQL or MariaDB server.
pub struct MySql {
    target: Target,
}

/// Where it is, and how it is spoken to.
#[derive(Debug, Clone)]
struct Target {
    /// The source's name in the configuration.
    name: String,
    opts: Opts,
    /// How long a restore waits for tables that others use.
    lock_wait: Duration,
    /// The longest statement that is let through to the server, where that is less than it takes.
    max_packet: Option<usize>,
}

impl Target {
    /// The live schema.
    fn database(&self) -> &str {
        self.opts.db_name().unwrap_or_default()
    }
}

impl MySql {
    /// Reads the URL; connects to nothing yet.
    pub fn new(name: &str, url: &str) -> Result<Self, DatabaseError> {
        let settings = url::parse(url)
            .map_err(|message| DatabaseError::Configuration { name: name.to_owned(), message })?;
        let url::Settings { opts, lock_wait, max_packet } = settings;
        Ok(Self { target: Target { name: name.to_owned(), opts, lock_wait, max_packet } })
    }
}

#[async_trait]
impl Database for MySql {
    async fn check(&self) -> Result<ServerInfo, DatabaseError> {
        let (session, server) = open(&self.target.name, &self.target.opts).await?;
        session.close().await;
        Ok(server)
    }

    async fn snapshot(&self, readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError> {
        Ok(Box::new(snapshot::open(&self.target.name, &self.target.opts, readers).await?))
    }

    async fn live(&self) -> Result<Live, DatabaseError> {
        restore::live(&self.target).await
    }

    /// Objects of an archive that is not ours are left out, so nothing in them is refused.
    fn judge(&self, schemes: &[(&str, &str)], _: &[ObjectText]) -> Result<(), DatabaseError> {
        restore::judge(&self.target, schemes)
    }

    async fn count(&self, tables: &[String]) -> Result<Vec<Option<u64>>, DatabaseError> {
        restore::count(&self.target, tables).await
    }

    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        restore::digest(&self.target, table).await
    }

    async fn stage(&self, attempt: &AttemptId) -> Result<Box<dyn Staging>, DatabaseError> {
        restore::stage(&self.target, attempt).await
    }

    async fn staged(&self, attempt: &AttemptId) -> Result<Box<dyn Staged>, DatabaseError> {
        restore::staged(&self.target, attempt).await
    }

    async fn create(&self) -> Result<bool, DatabaseError> {
        making::create(&self.target).await
    }

    async fn discard(&self, with_content: bool) -> Result<(), DatabaseError> {
        making::discard(&self.target, with_content).await
    }

    async fn compact(&self) -> Result<(), DatabaseError> {
        making::compact(&self.target).await
    }
}

/// See [`super::mysql_options`].
pub(super) fn options(url: &str) -> Result<Opts, String> {
    Ok(url::parse(url)?.opts)
}

async fn open(name: &str, opts: &Opts) -> Result<(Session, ServerInfo), DatabaseError> {
    let connect = async {
        let mut session = Session::open(opts).await?;
        let version = session.rows::<String>("SELECT VERSION()").await?.pop().unwrap_or_default();
        Ok((session, version))
    };
    let (session, version) = connect.await.map_err(|error: Error| DatabaseError::Connect {
        name: name.to_owned(),
        message: describe(&error),
    })?;
    let engine = if version.contains("MariaDB") { Engine::MariaDb } else { Engine::MySql };
    Ok((session, ServerInfo { engine, version, position: None }))
}

/// The server's own words, or the driver's.
fn describe(error: &Error) -> String {
    match error {
        Error::Server(server) => format!("{} (error {})", server.message, server.code),
        // The driver prints packets and rows with some of these.
        Error::Driver(mysql_async::DriverError::UnexpectedPacket { .. }) => {
            "the server sent an unexpected packet".to_owned()
        }
        Error::Driver(
            mysql_async::DriverError::FromRow { .. } | mysql_async::DriverError::FromValue { .. },
        ) => "the server answered with an unexpected value".to_owned(),
        Error::Io(IoError::Io(broken)) => format!("the connection failed: {broken}"),
        other => other.to_string(),
    }
}

/// The error of a statement. `what` says what it was for.
fn failed(name: &str, what: &str, error: &Error) -> DatabaseError {
    DatabaseError::Query { name: name.to_owned(), what: what.to_owned(), message: describe(error) }
}

/// Like [`failed`], for what is done with one table.
fn table_failed(name: &str, table: &str, error: &Error) -> DatabaseError {
    match error {
        // ER_TABLE_DEF_CHANGED; no such table, any more; no such column, any more.
        Error::Server(server) if matches!(server.code, 1412 | 1146 | 1054) => {
            DatabaseError::DefinitionChanged { name: name.to_owned(), table: table.to_owned() }
        }
        _ => failed(name, &format!("table {table}"), error),
    }
}
