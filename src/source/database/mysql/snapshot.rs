//! One moment of a MySQL or MariaDB database.

use async_trait::async_trait;
use mysql_async::Opts;

use super::connect::Session;
use super::rows::Failure;
use super::scheme::{self, Catalog};
use super::{failed, lock, objects, rows, table_failed};
use crate::source::database::readers::{Lease, Readers};
use crate::source::database::{DataSink, DatabaseError, ServerInfo, Snapshot, Table};

/// Held metadata locks would let a portal's ALTER TABLE wait, and everybody behind it, until the dump ends:
/// going back to a savepoint releases those of a table that was read.
const MARK: &str = "SAVEPOINT portal_backup";
const RELEASE: &str = "ROLLBACK TO SAVEPOINT portal_backup";

pub(super) struct MySqlSnapshot {
    name: String,
    server: ServerInfo,
    catalog: Catalog,
    warnings: Vec<String>,
    readers: Readers<Session>,
}

/// Opens a snapshot with up to `readers` connections.
pub(super) async fn open(
    name: &str,
    opts: &Opts,
    readers: usize,
) -> Result<MySqlSnapshot, DatabaseError> {
    let (first, mut server) = super::open(name, opts).await?;
    let fail = |error| failed(name, "opening the snapshot", &error);
    let mut sessions = vec![first];
    let mut position = None;
    let mut begun = false;

    let wanted = readers.clamp(1, 16).min(count_tables(&mut sessions[0]).await.map_err(fail)?);
    if wanted > 1 {
        while sessions.len() < wanted {
            // A server that has no room for more connections still has one for us.
            match Session::open(opts).await {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    tracing::info!(reason = %super::describe(&error), "no further connection");
                    break;
                }
            }
        }
        if sessions.len() > 1
            && let Ok(mut locker) = Session::open(opts).await
        {
            let locked = lock::begin_together(&mut locker, &mut sessions).await;
            match locked.map_err(fail)? {
                Some(found) => {
                    begun = true;
                    position = found;
                }
                None => tracing::debug!("the snapshot has one connection"),
            }
            locker.close().await;
        }
    }
    if !begun {
        for session in sessions.drain(1..) {
            session.close().await;
        }
        lock::begin(&mut sessions[0]).await.map_err(fail)?;
        position = lock::position_of_snapshot(&mut sessions[0]).await.map_err(fail)?;
    }
    server.position = position;

    let catalog = scheme::read(&mut sessions[0]).await.map_err(fail)?;
    let warnings = objects::warnings(&mut sessions[0], &catalog).await.map_err(fail)?;
    for session in &mut sessions {
        session.run(MARK).await.map_err(fail)?;
    }
    Ok(MySqlSnapshot {
        name: name.to_owned(),
        server,
        catalog,
        warnings,
        readers: Readers::new(sessions),
    })
}

async fn count_tables(session: &mut Session) -> Result<usize, mysql_async::Error> {
    let query = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    let count: Option<usize> = session.rows(query).await?.pop();
    Ok(count.unwrap_or(1).max(1))
}

impl MySqlSnapshot {
    async fn lease(&self, what: &str) -> Result<Lease<'_, Session>, DatabaseError> {
        self.readers.take().await.ok_or_else(|| DatabaseError::Query {
            name: self.name.clone(),
            what: what.to_owned(),
            message: "the connection with the snapshot was lost".to_owned(),
        })
    }
}

#[async_trait]
impl Snapshot for MySqlSnapshot {
    fn server(&self) -> &ServerInfo {
        &self.server
    }

    fn tables(&self) -> &[Table] {
        &self.catalog.tables
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn readers(&self) -> usize {
        self.readers.count()
    }

    async fn scheme(&self, table: &Table) -> Result<String, DatabaseError> {
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let mut lease = self.lease(&format!("table {}", table.name)).await?;
        let session = lease.session().map_err(fail)?;
        let scheme = scheme::definition(session, table).await.map_err(fail);
        session.run(RELEASE).await.map_err(fail)?;
        scheme
    }

    async fn data(&self, table: &Table, sink: &mut dyn DataSink) -> Result<u64, DatabaseError> {
        if !table.with_data {
            return Ok(0);
        }
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let Some(columns) = self.catalog.columns.get(&table.name) else {
            return Err(DatabaseError::DefinitionChanged {
                name: self.name.clone(),
                table: table.name.clone(),
            });
        };
        let mut lease = self.lease(&format!("table {}", table.name)).await?;
        let session = lease.session().map_err(fail)?;
        match rows::dump(session, &table.name, columns, sink).await {
            Ok(rows) => {
                session.run(RELEASE).await.map_err(fail)?;
                Ok(rows)
            }
            Err(Failure::Server(error)) => {
                if !error.is_fatal() {
                    session.run(RELEASE).await.map_err(fail)?;
                }
                Err(fail(error))
            }
            Err(Failure::Sink(closed)) => Err(closed.into()),
        }
    }
}
