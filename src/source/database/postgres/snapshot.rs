//! One moment of a PostgreSQL database.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use sqlx::Error;

use super::catalog::{self, Relation};
use super::connect::Session;
use super::definitions::{Definitions, Parts};
use super::items::Item;
use super::large;
use super::names::{LARGE_OBJECTS, qualified};
use super::rows::{self, Failure};
use super::url::Target;
use super::{describe, failed, notnull, sequences, table_failed};
use crate::source::database::readers::{Lease, Readers};
use crate::source::database::{DataSink, DatabaseError, ObjectText, ServerInfo, Snapshot, Table};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// A lock that is held lets a portal's ALTER TABLE wait, and everybody behind it, until the dump ends: going back to
/// a savepoint releases that of a table that was read.
const MARK: &str = "SAVEPOINT portal_backup";
const RELEASE: &str = "ROLLBACK TO SAVEPOINT portal_backup";

/// How long somebody else's ALTER TABLE may make us wait.
const LOCK_WAIT: &str = "SET lock_timeout = '300s'";

pub(super) struct PostgresSnapshot {
    name: String,
    info: ServerInfo,
    encoding: &'static str,
    tables: Vec<Table>,
    relations: BTreeMap<String, Relation>,
    definitions: Definitions,
    warnings: Vec<String>,
    readers: Readers<Session>,
}

/// Opens a snapshot with up to `readers` connections.
pub(super) async fn open(
    target: &Target,
    readers: usize,
) -> Result<PostgresSnapshot, DatabaseError> {
    let (mut first, others) = open_all(target, readers.clamp(1, 16)).await?;
    let server = super::server(target, &mut first).await?;
    let name = &target.name;
    let fail = |error| failed(name, "opening the snapshot", &error);
    let encoding = server.client_encoding();
    let folder = super::tools(target, &server).await?;
    first.run(LOCK_WAIT).await.map_err(fail)?;
    first.run(BEGIN).await.map_err(fail)?;
    let exported = first.value("SELECT pg_catalog.pg_export_snapshot()").await.map_err(fail)?;
    let exported = exported.unwrap_or_default();
    let position = position(&mut first).await.map_err(fail)?;

    let mut sessions = vec![first];
    for mut session in others {
        match join(&mut session, &exported, encoding).await {
            Ok(()) => sessions.push(session),
            Err(error) => without(&error),
        }
    }
    let session = &mut sessions[0];
    let mut relations = catalog::relations(session).await.map_err(fail)?;
    relations.retain(|name, _| !crate::catalog::is_own_table(name));
    let mut warnings = catalog::warnings(session).await.map_err(fail)?;
    let values = sequences::values(session).await.map_err(fail)?;
    let refresh = refresh(session).await.map_err(fail)?;
    let odd_not_nulls = notnull::odd(session).await.map_err(fail)?;
    let parts = Parts { relations: relations.clone(), values, refresh, odd_not_nulls, encoding };
    let definitions = Definitions::start(
        &as_members(target, session).await.map_err(fail)?,
        folder,
        exported,
        parts,
    );
    let mut tables: Vec<Table> = relations.values().map(Relation::table).collect();
    let large = large::find(session).await.map_err(fail)?;
    tables.extend(large.table);
    if large.forbidden > 0 {
        warnings.push(format!(
            "large objects are not carried that the database's user may not read ({})",
            large.forbidden
        ));
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    for session in &mut sessions {
        session.run(MARK).await.map_err(fail)?;
    }
    let info = ServerInfo { position, ..server.info() };
    Ok(PostgresSnapshot {
        name: name.clone(),
        info,
        encoding,
        tables,
        relations,
        definitions,
        warnings,
        readers: Readers::new(sessions),
    })
}

/// Where `pg_dump` is to read: it would write strings as the user's or the database's setting has them, and members say
/// that they are in standard's. (A setting that needs no change is not sent: some poolers refuse any.)
async fn as_members(target: &Target, session: &mut Session) -> Result<Target, Error> {
    let query =
        "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings'";
    Ok(match session.value(query).await?.as_deref() {
        Some("off") => target.set("standard_conforming_strings=on"),
        _ => target.clone(),
    })
}

/// Opens up to so many connections, as the server and the user's limit have room for, and leaves room for one more:
/// `pg_dump` needs its own. All at once, because each takes a tenth of a second, most of it waiting.
async fn open_all(
    target: &Target,
    wanted: usize,
) -> Result<(Session, Vec<Session>), DatabaseError> {
    let opening = (0..=wanted).map(|_| Session::open(&target.options));
    let (mut opened, mut refused) = (Vec::new(), None);
    for session in futures::future::join_all(opening).await {
        match session {
            Ok(session) => opened.push(session),
            Err(error) => {
                without(&error);
                refused = Some(error);
            }
        }
    }
    if opened.len() > 1
        && let Some(spare) = opened.pop()
    {
        spare.close().await;
    }
    match (opened.pop(), refused) {
        (Some(first), _) => Ok((first, opened)),
        (None, refused) => Err(refused.map_or_else(
            || failed(&target.name, "opening the snapshot", &Error::PoolClosed),
            |error| super::unreachable(target, &error),
        )),
    }
}

/// Lets a connection read the same snapshot.
async fn join(session: &mut Session, exported: &str, encoding: &str) -> Result<(), Error> {
    session.run(&format!("SET client_encoding = '{encoding}'; {LOCK_WAIT}")).await?;
    session.run(BEGIN).await?;
    session.run(&format!("SET TRANSACTION SNAPSHOT {}", super::names::literal(exported))).await
}

/// A server that has no room for more connections still has one for us.
fn without(error: &Error) {
    tracing::info!(reason = %describe(error), "no further connection");
}

/// Where the server's log stands.
async fn position(session: &mut Session) -> Result<Option<String>, Error> {
    session
        .value(
            "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
             ELSE pg_catalog.pg_current_wal_lsn() END)::text",
        )
        .await
}

/// What fills each materialised view that is filled, by its number in the catalog.
async fn refresh(session: &mut Session) -> Result<HashMap<u64, Item>, Error> {
    let query = "SELECT c.oid::text, n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^portal_backup_' \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";
    let views = session.rows(query).await?;
    Ok(views
        .iter()
        .map(|row| {
            let (schema, name) = (catalog::text(row, 1), catalog::text(row, 2));
            let sql = format!("REFRESH MATERIALIZED VIEW {};", qualified(&schema, &name));
            (catalog::number(row, 0), Item::new("MATERIALIZED VIEW DATA", &schema, &name, sql))
        })
        .collect())
}

impl PostgresSnapshot {
    async fn lease(&self, table: &str) -> Result<Lease<'_, Session>, DatabaseError> {
        self.readers.take().await.ok_or_else(|| DatabaseError::Query {
            name: self.name.clone(),
            what: format!("table {table}"),
            message: "the connection with the snapshot was lost".to_owned(),
        })
    }

    fn changed(&self, table: &str) -> DatabaseError {
        DatabaseError::DefinitionChanged { name: self.name.clone(), table: table.to_owned() }
    }

    /// Rows under a lock, after a look whether they still are those of the snapshot: TRUNCATE and some kinds of
    /// ALTER TABLE let a table look empty to snapshots from before, and another may have its name by now. And after
    /// another look, because a schema is renamed whatever is locked in it.
    async fn rows(
        &self,
        session: &mut Session,
        table: &Table,
        sink: &mut dyn DataSink,
    ) -> Result<u64, DatabaseError> {
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let result = match self.relations.get(&table.name) {
            Some(relation) => {
                let lock = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", relation.sql());
                session.run(&lock).await.map_err(fail)?;
                if !catalog::is_unchanged(session, relation).await.map_err(fail)? {
                    return Err(self.changed(&table.name));
                }
                let rows = rows::dump(session, relation, self.encoding, sink).await;
                if rows.is_ok() && !catalog::is_unchanged(session, relation).await.map_err(fail)? {
                    return Err(self.changed(&table.name));
                }
                rows
            }
            None if table.name == LARGE_OBJECTS => large::dump(session, None, sink).await,
            None => return Err(self.changed(&table.name)),
        };
        result.map_err(|failure| match failure {
            Failure::Server(error) => fail(error),
            Failure::Sink(closed) => closed.into(),
        })
    }
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn server(&self) -> &ServerInfo {
        &self.info
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn readers(&self) -> usize {
        self.readers.count()
    }

    fn definitions_come_late(&self) -> bool {
        true
    }

    async fn objects(&self) -> Result<Vec<ObjectText>, DatabaseError> {
        let members = self.definitions.get().await?;
        let object = |name: &str, sql: &str| ObjectText {
            kind: ObjectText::WHOLE.to_owned(),
            name: name.to_owned(),
            sql: sql.as_bytes().to_vec(),
        };
        let after = object(ObjectText::AFTER_TABLES, &members.after);
        Ok(vec![object("pre-data", &members.before), after])
    }

    async fn scheme(&self, table: &Table) -> Result<String, DatabaseError> {
        if table.name != LARGE_OBJECTS {
            let members = self.definitions.get().await?;
            let scheme = members.tables.get(&table.name);
            return scheme.cloned().ok_or_else(|| self.changed(&table.name));
        }
        let mut lease = self.lease(&table.name).await?;
        let scheme = match lease.session() {
            Ok(session) => large::scheme(session).await,
            Err(error) => Err(error),
        };
        scheme.map_err(|error| table_failed(&self.name, &table.name, &error))
    }

    async fn data(&self, table: &Table, sink: &mut dyn DataSink) -> Result<u64, DatabaseError> {
        if !table.with_data {
            return Ok(0);
        }
        let fail = |error| table_failed(&self.name, &table.name, &error);
        let mut lease = self.lease(&table.name).await?;
        let session = lease.session().map_err(fail)?;
        let rows = self.rows(session, table, sink).await;
        if !session.is_broken() {
            // Also after an error of the server's: that aborts no more than what follows the savepoint.
            session.run(RELEASE).await.map_err(fail)?;
        }
        rows
    }
}
