//! One moment of a SQLite database.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::objects::Object;
use super::rows::{self, Failure};
use super::scheme::{self, Catalog, Details};
use super::{Source, blocking, copy, open, server};
use crate::source::database::{DataSink, DatabaseError, ObjectText, ServerInfo, Snapshot, Table};

/// How often several connections try to begin without a commit between them.
const TRIES: usize = 20;

pub(super) struct SqliteSnapshot {
    source: Source,
    server: ServerInfo,
    catalog: Catalog,
    readers: Arc<Readers>,
    count: usize,
}

/// The connections, and how many of them are free.
struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
}

/// Opens a snapshot; blocks.
pub(super) fn open(source: Source, readers: usize) -> Result<SqliteSnapshot, DatabaseError> {
    let wanted = readers.clamp(1, 16);
    let first = open::database(&source)?;
    let mode: String = first
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(|error| source.failed("reading its journal mode", error))?;
    let connections = if mode.eq_ignore_ascii_case("wal") {
        begin_together(&source, first, wanted)?
    } else {
        copy::make(&source, &first, wanted)?
    };
    let catalog = scheme::read(&connections[0])
        .map_err(|error| source.failed("reading its tables", error))?;
    let count = connections.len();
    let readers = Readers { idle: Mutex::new(connections), free: Arc::new(Semaphore::new(count)) };
    Ok(SqliteSnapshot { source, server: server(), catalog, readers: Arc::new(readers), count })
}

/// Begins a reading transaction on each of several connections to a database in WAL mode.
///
/// `PRAGMA data_version` tells one connection whether any other has committed in between
/// (<https://sqlite.org/pragma.html#pragma_data_version>). If none has, all see the same moment.
fn begin_together(
    source: &Source,
    first: Connection,
    wanted: usize,
) -> Result<Vec<Connection>, DatabaseError> {
    let failed = |error| source.failed("beginning to read", error);
    let mut connections = vec![first];
    while connections.len() < wanted {
        connections.push(open::database(source)?);
    }
    if wanted > 1 {
        let watcher = open::database(source)?;
        let version =
            || watcher.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0));
        for _ in 0..TRIES {
            let before = version().map_err(failed)?;
            connections.iter().try_for_each(begin).map_err(failed)?;
            if version().map_err(failed)? == before {
                return Ok(connections);
            }
            for connection in &connections {
                connection.execute_batch("ROLLBACK").map_err(failed)?;
            }
        }
        tracing::info!("the database is written without pause, so one connection reads it");
        connections.truncate(1);
    }
    begin(&connections[0]).map_err(failed)?;
    Ok(connections)
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    // BEGIN alone fixes no moment; the first read does.
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

impl SqliteSnapshot {
    fn details(&self, table: &Table) -> Result<&Details, DatabaseError> {
        let index = self.catalog.tables.iter().position(|known| known.name == table.name);
        index.and_then(|index| self.catalog.details.get(index)).ok_or_else(|| {
            self.source.failed(&format!("table {}", table.name), "it is not in the snapshot")
        })
    }
}

/// A connection in use; it goes back when dropped, and only then is its permit free.
struct Lease {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn server(&self) -> &ServerInfo {
        &self.server
    }

    fn tables(&self) -> &[Table] {
        &self.catalog.tables
    }

    fn warnings(&self) -> &[String] {
        &self.catalog.warnings
    }

    fn readers(&self) -> usize {
        self.count
    }

    async fn objects(&self) -> Result<Vec<ObjectText>, DatabaseError> {
        Ok(self.catalog.objects.iter().map(Object::text).collect())
    }

    async fn scheme(&self, table: &Table) -> Result<String, DatabaseError> {
        Ok(self.details(table)?.scheme.clone())
    }

    async fn data(&self, table: &Table, sink: &mut dyn DataSink) -> Result<u64, DatabaseError> {
        let what = format!("table {}", table.name);
        let columns = self.details(table)?.columns.clone();
        let name = table.name.clone();
        let permit = self.readers.free.clone().acquire_owned().await;
        let permit = permit.map_err(|error| self.source.failed(&what, error))?;
        let connection = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lease = Lease { connection, readers: self.readers.clone(), _permit: permit };

        let (sender, mut pieces) = mpsc::channel(2);
        let reading = blocking(&self.source, move || match &lease.connection {
            Some(connection) => rows::dump(connection, &name, &columns, |piece, ends| {
                sender.blocking_send((piece.to_vec(), ends.to_vec())).map_err(|_| Failure::Gone)
            }),
            None => Err(Failure::Gone),
        });
        let taking = async move {
            while let Some((piece, ends)) = pieces.recv().await {
                sink.write(&piece, &ends).await?;
            }
            Ok::<_, DatabaseError>(())
        };
        // An error on either side ends the other: the thread when it cannot send, the sink when nothing comes.
        let (read, taken) = tokio::join!(reading, taking);
        taken?;
        match read? {
            Ok(rows) => Ok(rows),
            Err(Failure::Sqlite(error)) => Err(self.source.failed(&what, error)),
            Err(Failure::Gone) => Err(self.source.failed(&what, "its connection was lost")),
        }
    }
}
