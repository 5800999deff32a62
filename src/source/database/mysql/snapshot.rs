//! One moment of a MySQL or MariaDB database.

use async_trait::async_trait;
use mysql_async::Opts;
use tokio::sync::Mutex;

use super::connect::Session;
use super::made::{self, Made};
use super::objects::{self, Found};
use super::rows::Failure;
use super::scheme::{self, Catalog};
use super::{failed, lock, rows, table_failed, warnings};
use crate::catalog::is_own_table;
use crate::source::database::readers::{Lease, Readers};
use crate::source::database::{
    DataSink, DatabaseError, ObjectText, ServerInfo, Snapshot, Table, warning,
};

/// Held metadata locks would let a portal's ALTER TABLE wait, and everybody behind it, until the dump ends:
/// going back to a savepoint releases those of a table that was read.
const MARK: &str = "SAVEPOINT portal_backup";
const RELEASE: &str = "ROLLBACK TO SAVEPOINT portal_backup";

pub(super) struct MySqlSnapshot {
    name: String,
    server: ServerInfo,
    schema: String,
    catalog: Catalog,
    /// What tables there were just before.
    made: Made,
    objects: Found,
    warnings: Vec<String>,
    readers: Readers<Session>,
    /// In no snapshot, where one shows tables as they were.
    watcher: Option<Mutex<Session>>,
}

/// How often a snapshot is begun anew because a view, a trigger or the like was changed just then.
const TRIES: usize = 3;

/// Opens a snapshot with up to `readers` connections. Definitions know no snapshot: they are read before it is begun
/// and again after, and are those of its moment if they are the same.
pub(super) async fn open(
    name: &str,
    opts: &Opts,
    readers: usize,
) -> Result<MySqlSnapshot, DatabaseError> {
    let mut tries = 1;
    loop {
        let (mut snapshot, changed) = open_once(name, opts, readers).await?;
        if changed && tries < TRIES {
            tries += 1;
            continue;
        }
        if changed {
            snapshot.warnings.push(
                "views, triggers, routines or events were being changed when the backup began: they may be of a \
                 later moment than the rows"
                    .to_owned(),
            );
        }
        return Ok(snapshot);
    }
}

/// Says with the snapshot whether definitions changed meanwhile.
async fn open_once(
    name: &str,
    opts: &Opts,
    readers: usize,
) -> Result<(MySqlSnapshot, bool), DatabaseError> {
    let (first, mut server) = super::open(name, opts).await?;
    let fail = |error| failed(name, "opening the snapshot", &error);
    let schema = opts.db_name().unwrap_or_default();
    let mut sessions = vec![first];
    let before = objects::read(&mut sessions[0], schema).await.map_err(fail)?;
    let mut made = made::settled(&mut sessions[0], server.engine).await.map_err(fail)?;
    let watcher = match made.needs_watcher() {
        // A server that has no room for one more still has one for us; then the snapshot is asked itself.
        true => Session::open(opts).await.map(Mutex::new).ok(),
        false => None,
    };
    let is_unwatched = made.needs_watcher() && watcher.is_none();
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

    let mut catalog = scheme::read(&mut sessions[0]).await.map_err(fail)?;
    // Those made since are not of this moment, and those dropped since are.
    catalog.tables.retain(|table| made.knows(&table.name));
    if let Some(table) = made.gone(&catalog.tables) {
        return Err(changed(name, table));
    }
    for session in &mut sessions {
        session.run(MARK).await.map_err(fail)?;
    }
    for table in catalog.tables.iter().filter(|table| table.with_data) {
        let looked = made.look(&mut sessions[0], &table.name).await;
        looked.map_err(|error| table_failed(name, &table.name, &error))?;
    }
    let objects = objects::read(&mut sessions[0], schema).await.map_err(fail)?;
    sessions[0].run(RELEASE).await.map_err(fail)?;
    let mut warnings = warnings::of(&mut sessions[0], &catalog, &objects).await.map_err(fail)?;
    warnings.extend(warning(
        "without the right PROCESS it cannot be seen whether an EXCHANGE PARTITION during the backup moved rows between \
         tables; tables with partitions",
        made.unwatched(),
    ));
    if is_unwatched {
        warnings.push(
            "without one connection more it cannot be seen whether tables swapped their names or lost partitions during \
             the backup"
                .to_owned(),
        );
    }
    let changed = !objects.has_definitions_of(&before);
    let snapshot = MySqlSnapshot {
        name: name.to_owned(),
        server,
        schema: schema.to_owned(),
        catalog,
        made,
        objects,
        warnings,
        readers: Readers::new(sessions),
        watcher,
    };
    Ok((snapshot, changed))
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

fn changed(name: &str, table: &str) -> DatabaseError {
    DatabaseError::DefinitionChanged { name: name.to_owned(), table: table.to_owned() }
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

    async fn objects(&self) -> Result<Vec<ObjectText>, DatabaseError> {
        let Found { objects, collation, .. } = &self.objects;
        Ok(objects
            .iter()
            .filter(|object| !object.table.as_deref().is_some_and(is_own_table))
            .map(|object| object.text(collation))
            .collect())
    }

    async fn scheme(&self, table: &Table) -> Result<String, DatabaseError> {
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let mut lease = self.lease(&format!("table {}", table.name)).await?;
        let session = lease.session().map_err(fail)?;
        let scheme = scheme::definition(session, &self.schema, table).await.map_err(fail);
        session.run(RELEASE).await.map_err(fail)?;
        scheme
    }

    async fn data(&self, table: &Table, sink: &mut dyn DataSink) -> Result<u64, DatabaseError> {
        if !table.with_data {
            return Ok(0);
        }
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let Some(columns) = self.catalog.columns.get(&table.name) else {
            return Err(changed(&self.name, &table.name));
        };
        let mut lease = self.lease(&format!("table {}", table.name)).await?;
        let session = lease.session().map_err(fail)?;
        match rows::dump(session, &table.name, columns, sink).await {
            Ok(rows) => {
                // Nobody can make it anew until it is released.
                let same = match &self.watcher {
                    None => self.made.is_still(session, &table.name, rows).await,
                    Some(watcher) => {
                        let mut watcher = watcher.lock().await;
                        self.made.is_still(&mut watcher, &table.name, rows).await
                    }
                };
                let same = same.map_err(fail)?;
                session.run(RELEASE).await.map_err(fail)?;
                if same { Ok(rows) } else { Err(changed(&self.name, &table.name)) }
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
