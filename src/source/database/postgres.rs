//! PostgreSQL: data by `COPY`, definitions by the server's own `pg_dump`, all of one exported snapshot.

mod catalog;
mod connect;
mod definitions;
mod items;
mod large;
mod making;
mod members;
mod names;
mod notnull;
mod restore;
mod rows;
mod sequences;
mod snapshot;
mod tool;
mod url;

use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::Error;

use self::connect::Session;
use self::url::Target;
use super::{Database, DatabaseError, Engine, Live, ObjectText, ServerInfo, Snapshot, Staging};
use crate::source::restore::{AttemptId, Staged};

/// A database of a PostgreSQL server.
pub struct Postgres {
    target: Target,
}

impl Postgres {
    /// Reads the URL; connects to nothing yet.
    pub fn new(name: &str, url: &str) -> Result<Self, DatabaseError> {
        let target = Target::parse(name, url)
            .map_err(|message| DatabaseError::Configuration { name: name.to_owned(), message })?;
        Ok(Self { target })
    }
}

#[async_trait]
impl Database for Postgres {
    async fn check(&self) -> Result<ServerInfo, DatabaseError> {
        let (session, server) = open(&self.target).await?;
        session.close().await;
        tools(&self.target, &server).await?;
        Ok(server.info())
    }

    async fn snapshot(&self, readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError> {
        Ok(Box::new(snapshot::open(&self.target, readers).await?))
    }

    async fn live(&self) -> Result<Live, DatabaseError> {
        restore::live(&self.target).await
    }

    fn judge(&self, schemes: &[(&str, &str)], objects: &[ObjectText]) -> Result<(), DatabaseError> {
        restore::judge(&self.target, schemes, objects)
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
        Ok(restore::staged(&self.target, attempt))
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

/// What answers.
#[derive(Debug, Clone)]
struct Server {
    /// As `SHOW server_version` says.
    version: String,
    /// 150020 for 15.20.
    number: u32,
    /// `UTF8`, `SQL_ASCII` …
    encoding: String,
}

impl Server {
    fn info(&self) -> ServerInfo {
        ServerInfo { engine: Engine::Postgres, version: self.version.clone(), position: None }
    }

    /// In which its texts are read: converted, unless the server does not know what they are.
    fn client_encoding(&self) -> &'static str {
        if self.encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" }
    }
}

async fn open(target: &Target) -> Result<(Session, Server), DatabaseError> {
    let session = Session::open(&target.options).await;
    let mut session = session.map_err(|error| unreachable(target, &error))?;
    let server = server(target, &mut session).await?;
    Ok((session, server))
}

fn unreachable(target: &Target, error: &Error) -> DatabaseError {
    DatabaseError::Connect { name: target.name.clone(), message: describe(error) }
}

/// What answers on a connection, which then speaks the encoding that its texts are read in.
async fn server(target: &Target, session: &mut Session) -> Result<Server, DatabaseError> {
    let ask = async {
        let query = "SELECT current_setting('server_version'), current_setting('server_version_num'), \
                     current_setting('server_encoding')";
        let row = session.rows(query).await?.pop().unwrap_or_default();
        let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let number = text(1).parse().unwrap_or(0);
        let server = Server { version: text(0), number, encoding: text(2) };
        session.run(&format!("SET client_encoding = '{}'", server.client_encoding())).await?;
        Ok(server)
    };
    let server = ask.await.map_err(|error: Error| unreachable(target, &error))?;
    if server.number < 120_000 {
        return Err(DatabaseError::Configuration {
            name: target.name.clone(),
            message: format!("PostgreSQL {} is too old: 12 or newer is needed", server.version),
        });
    }
    Ok(server)
}

/// Where the programs lie that a backup needs.
async fn tools(target: &Target, server: &Server) -> Result<PathBuf, DatabaseError> {
    let found = tool::find(server.number).await;
    found.map_err(|message| DatabaseError::Configuration { name: target.name.clone(), message })
}

/// The server's own words, or the driver's.
fn describe(error: &Error) -> String {
    match error {
        Error::Database(server) => match server.code() {
            Some(code) => format!("{} (SQLSTATE {code})", server.message()),
            None => server.message().to_owned(),
        },
        other => other.to_string(),
    }
}

/// The SQLSTATE of a server's error; empty for any other.
fn sqlstate(error: &Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The error of a statement. `what` says what it was for.
fn failed(name: &str, what: &str, error: &Error) -> DatabaseError {
    DatabaseError::Query { name: name.to_owned(), what: what.to_owned(), message: describe(error) }
}

/// Like [`failed`], for what is done with one table.
fn table_failed(name: &str, table: &str, error: &Error) -> DatabaseError {
    match sqlstate(error).as_str() {
        // No such table, any more; no such column; no such schema.
        "42P01" | "42703" | "3F000" => {
            DatabaseError::DefinitionChanged { name: name.to_owned(), table: table.to_owned() }
        }
        // A value, or a row, for which the server has no room in its memory.
        code if code == "54000" || describe(error).starts_with("invalid memory alloc request") => {
            DatabaseError::Query {
                name: name.to_owned(),
                what: format!("table {table}"),
                message: format!(
                    "a row of it is longer as text than the 1 GB that the server can write (half of that as bytea): {}",
                    describe(error)
                ),
            }
        }
        _ => failed(name, &format!("table {table}"), error),
    }
}
