//! Tables in the staging schema: made, loaded, adjusted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Opts, OptsBuilder, Row};
use tokio::sync::Mutex;

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object};
use super::journal::Journal;
use super::load::{Columns, Load};
use super::place::Place;
use super::swap::{self, StagedTables};
use super::{Fault, adjust, admin, digest, other, ready, refused, sequences};
use crate::catalog::is_own_table;
use crate::source::database::mysql::Target;
use crate::source::database::mysql::scheme::WRONG_MERGE;
use crate::source::database::readers::{Lease, Readers};
use crate::source::database::sql::{
    Chunk, Dialect, Guard, Limits, SchemeStatement, Splitter, SqlError,
};
use crate::source::database::{
    Adjustment, DatabaseError, ObjectText, Staging, Statements, Trust, warning,
};
use crate::source::restore::{AttemptId, Staged};

/// As many tables are loaded at once: more only make the server's disk seek.
const LOADERS: usize = 4;

/// What a server answers that cannot make a table exactly as its text says.
const NOT_EXACTLY: &[u16] = &[1005, 1030, 1031, 1118, 1478];

/// The column of a primary key that MySQL adds to tables without one, where it is told so.
const MADE_KEY: &str = "`my_row_id`";

struct StagingTables {
    target: Target,
    place: Place,
    /// The staging schema's own options.
    opts: Opts,
    loaders: Readers<Session>,
    /// The longest statement that the server takes.
    packet: usize,
    /// Views, triggers, routines and events of the archive, which wait until all tables are loaded.
    objects: Mutex<Vec<Object>>,
    /// Of tables, what users should know of them.
    warnings: Mutex<Vec<(String, String)>>,
}

/// Makes the attempt's schemas. What an attempt of that name left is rolled back first.
pub(in super::super) async fn stage(
    target: &Target,
    attempt: &AttemptId,
) -> Result<Box<dyn Staging>, DatabaseError> {
    let place = Place::new(target.database(), attempt);
    match make(target, place.clone()).await {
        Ok(staging) => Ok(Box::new(staging)),
        Err(fault) => {
            if let Err(error) = swap::roll_back(&target.opts, &place).await {
                tracing::debug!(?error, "what a failed beginning left stays");
            }
            Err(swap::locked(fault, target.lock_wait).of(&target.name, "making room for a restore"))
        }
    }
}

async fn make(target: &Target, place: Place) -> Result<StagingTables, Fault> {
    swap::roll_back(&target.opts, &place).await?;
    let (mut session, place) = admin::open(&target.opts, &place).await?;
    admin::wait_for_tables(&mut session, target.lock_wait).await?;
    admin::create_schema(&mut session, &place, &place.staging).await?;
    Journal(&place).create(&mut session).await?;
    admin::create_schema(&mut session, &place, &place.kept).await?;
    let packet: Option<usize> = session.rows("SELECT @@max_allowed_packet").await?.pop();
    session.close().await;

    let builder = OptsBuilder::from_opts(target.opts.clone());
    let opts: Opts = builder.db_name(Some(place.staging.clone())).into();
    let mut sessions = Vec::new();
    while sessions.len() < LOADERS {
        match loader(&opts, target.lock_wait).await {
            Ok(session) => sessions.push(session),
            // A server that has no room for more connections had some for one.
            Err(error) if sessions.is_empty() => return Err(error.into()),
            Err(_) => break,
        }
    }
    let packet = packet.unwrap_or(1 << 20).min(target.max_packet.unwrap_or(usize::MAX));
    Ok(StagingTables {
        target: target.clone(),
        place,
        opts,
        loaders: Readers::new(sessions),
        packet,
        objects: Mutex::default(),
        warnings: Mutex::default(),
    })
}

async fn loader(opts: &Opts, lock_wait: Duration) -> Result<Session, Error> {
    let mut session = Session::open(opts).await?;
    admin::prepare(&mut session).await?;
    admin::wait_for_tables(&mut session, lock_wait).await?;
    Ok(session)
}

impl StagingTables {
    async fn make_table(&self, table: &str, sql: &str, trust: Trust) -> Result<(), Fault> {
        if is_own_table(table) {
            return Err(Fault::Text("it is a table of this service".to_owned()));
        }
        let statements = statements(table, sql, trust).map_err(|e| Fault::Text(e.to_string()))?;
        let mut lease = self.lease().await?;
        let session = lease.session()?;
        session.run(&format!("DROP TABLE IF EXISTS {}", self.place.in_staging(table))).await?;
        Journal(&self.place).forget_table(session, table).await?;
        self.warnings.lock().await.retain(|(of, _)| of != table);
        for statement in &statements {
            let statement = sequences::bind(session, &self.place, statement).await?;
            self.define_here(session, table, statement).await?;
        }
        if objects::is_mariadb(session).await? {
            let passed_over = other::passed_over(sql);
            let what = warning(
                &format!("table {table} is made without what only MySQL has"),
                &passed_over,
            );
            self.warnings.lock().await.extend(what.map(|what| (table.to_owned(), what)));
        }
        let Some(made) = show_create(session, &self.place, table).await? else {
            return Err(Fault::Text("its statements do not make it".to_owned()));
        };
        if made.contains(MADE_KEY) && !sql.contains(MADE_KEY) {
            return Err(Fault::Text(
                "the server gives it a key of its own, which the archive does not have: \
                 sql_generate_invisible_primary_key is on, and the database's user may not switch it off (grant it \
                 SESSION_VARIABLES_ADMIN)"
                    .to_owned(),
            ));
        }
        ready::hold_back(session, &self.place, Some(table)).await
    }

    /// Makes the archive's sequences, for tables may take values from them, and keeps its other objects.
    async fn take_objects(&self, texts: &[ObjectText]) -> Result<(), Fault> {
        let mut objects = Vec::new();
        for text in texts {
            let unknown = || Fault::Text(format!("{} is not of the form of our own", text.path()));
            objects.push(Object::from_text(text).ok_or_else(unknown)?);
        }
        objects.sort_by_key(|object| object.kind);
        let (sequences, others): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.kind == Kind::Sequence);
        let mut lease = self.lease().await?;
        let session = lease.session()?;
        for sequence in &sequences {
            sequence.drop(session).await?;
            sequence.create(session).await?;
        }
        *self.objects.lock().await = others;
        Ok(())
    }

    /// Runs a statement of a scheme, which may be of another kind of server.
    async fn define_here(
        &self,
        session: &mut Session,
        table: &str,
        mut statement: String,
    ) -> Result<(), Fault> {
        let mut tried = HashSet::new();
        loop {
            let fault = match self.define(session, table, &statement).await {
                Err(Fault::Server(error)) => error,
                other => return other,
            };
            let Some((fitted, known)) = other::fitted(&statement, &fault) else {
                return Err(fault.into());
            };
            // A server that has neither would be asked for one and the other for ever.
            tried.insert(statement);
            if tried.contains(&fitted) {
                return Err(fault.into());
            }
            let known = known.map(|known| (table.to_owned(), format!("table {table} is {known}")));
            self.warnings.lock().await.extend(known);
            statement = fitted;
        }
    }

    /// Runs a statement of a scheme.
    async fn define(
        &self,
        session: &mut Session,
        table: &str,
        statement: &str,
    ) -> Result<(), Fault> {
        let refused = match session.run(statement).await {
            Err(error) if refused::is_for_a_key(&error) => {
                let made = refused::make_without(session, &self.place, table, statement).await?;
                let left_out = made.ok_or(error)?;
                let left_out = left_out.into_iter().map(|warning| (table.to_owned(), warning));
                self.warnings.lock().await.extend(left_out);
                return Ok(());
            }
            Err(Error::Server(error)) if NOT_EXACTLY.contains(&error.code) => Error::Server(error),
            other => return Ok(other?),
        };
        // The table may come from a server that is less strict; then it must at least become what it says.
        if !session.try_run("SET SESSION innodb_strict_mode=0").await? {
            return Err(refused.into()); // MySQL lets only some set it.
        }
        let result = session.begin()?.query_drop(statement).await;
        let result = session.done(result);
        session.run("SET SESSION innodb_strict_mode=1").await?;
        let same = match result {
            Ok(()) => show_create(session, &self.place, table).await?.is_some_and(|made| {
                made.trim() == statement.trim().trim_end_matches(';').trim_end()
            }),
            Err(_) => false,
        };
        if same {
            return Ok(());
        }
        session.run(&format!("DROP TABLE IF EXISTS {}", self.place.in_staging(table))).await?;
        Err(refused.into())
    }

    async fn load(
        &self,
        table: &str,
        statements: Statements,
        trust: Trust,
        loaded: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, Fault> {
        let mut lease = self.lease().await?;
        let session = lease.session()?;
        admin::prepare(session).await?;
        let columns = Arc::new(Columns::read(session, &self.place, table).await?);
        let load = Load {
            session,
            place: &self.place,
            table,
            trust,
            packet: self.packet,
            columns,
            history: false,
            bulk: true,
            loaded,
        };
        let result = load.run(statements).await;
        if result.is_err() {
            // The connection may go on to serve others.
            session.try_run("ROLLBACK").await.ok();
            session.try_run("SET SESSION autocommit=1").await.ok();
        }
        result
    }

    async fn lease(&self) -> Result<Lease<'_, Session>, Fault> {
        let lost = || Fault::Text("the connections to the server were lost".to_owned());
        self.loaders.take().await.ok_or_else(lost)
    }

    async fn complete(&self) -> Result<Vec<String>, Fault> {
        let (mut session, _) = admin::open(&self.target.opts, &self.place).await?;
        admin::wait_for_tables(&mut session, self.target.lock_wait).await?;
        let objects = std::mem::take(&mut *self.objects.lock().await);
        let mut warnings: Vec<String> =
            self.warnings.lock().await.iter().map(|(_, said)| said.clone()).collect();
        warnings.extend(ready::check(&mut session, &self.place, objects).await?);
        session.close().await;
        Ok(warnings)
    }

    fn fail(&self, table: &str, fault: Fault) -> DatabaseError {
        let fault = swap::locked(fault, self.target.lock_wait);
        fault.of(&self.target.name, &format!("table {table}"))
    }
}

/// Whether the definitions of an archive that is not ours would be run.
pub(in super::super) fn judge(
    target: &Target,
    schemes: &[(&str, &str)],
) -> Result<(), DatabaseError> {
    for (table, sql) in schemes {
        statements(table, sql, Trust::Foreign).map_err(|error| {
            Fault::Text(error.to_string()).of(&target.name, &format!("table {table}"))
        })?;
    }
    Ok(())
}

/// The statements of a scheme that are to be run.
fn statements(table: &str, sql: &str, trust: Trust) -> Result<Vec<String>, SqlError> {
    let guard = Guard { dialect: Dialect::MySql, table, trust };
    let mut splitter = Splitter::new(Dialect::MySql, Limits::default());
    splitter.push(sql.as_bytes());
    splitter.finish();
    let mut statements = Vec::new();
    while let Some(chunk) = splitter.next()? {
        let text = match chunk {
            Chunk::Statement(text) => text.to_vec(),
            Chunk::Rows(rows) => {
                // The guard says that these do not belong there.
                let mut text = Vec::new();
                rows.write(None, None, &mut text);
                text
            }
        };
        if guard.scheme(&text)? != SchemeStatement::Session {
            statements.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(statements)
}

/// What the server says a staged table is; `None` if it is not there, or no table.
async fn show_create(
    session: &mut Session,
    place: &Place,
    table: &str,
) -> Result<Option<String>, Error> {
    let query = format!("SHOW CREATE TABLE {}", place.in_staging(table));
    match session.rows::<Row>(&query).await {
        Ok(mut rows) => Ok(rows
            .pop()
            .and_then(|row| row.get_opt::<String, _>(1)?.ok())
            .filter(|text| text.starts_with("CREATE TABLE"))),
        Err(Error::Server(error)) if error.code == 1146 => Ok(None),
        // A MERGE table whose parts are still to come: it is there, and cannot be said.
        Err(Error::Server(error)) if error.code == WRONG_MERGE => Ok(Some(String::new())),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Staging for StagingTables {
    fn loaders(&self) -> usize {
        self.loaders.count()
    }

    async fn objects(&self, objects: Vec<ObjectText>, trust: Trust) -> Result<(), DatabaseError> {
        if trust == Trust::Foreign {
            return Ok(()); // The plan says so.
        }
        let taken = self.take_objects(&objects).await;
        taken.map_err(|fault| fault.of(&self.target.name, "making its objects"))
    }

    async fn scheme(&self, table: &str, sql: &str, trust: Trust) -> Result<(), DatabaseError> {
        self.make_table(table, sql, trust).await.map_err(|fault| self.fail(table, fault))
    }

    async fn data(
        &self,
        table: &str,
        statements: Statements,
        trust: Trust,
        loaded: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, DatabaseError> {
        let rows = self.load(table, statements, trust, loaded).await;
        rows.map_err(|fault| self.fail(table, fault))
    }

    async fn adjust(&self, adjustment: &Adjustment) -> Result<(), DatabaseError> {
        let adjusted = async {
            let mut lease = self.lease().await?;
            adjust::adjust(lease.session()?, &self.place, adjustment).await
        };
        adjusted.await.map_err(|fault| self.fail(adjustment.table(), fault))
    }

    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        digest::digest(&self.opts, table).await.map_err(|fault| self.fail(table, fault))
    }

    async fn ready(self: Box<Self>) -> Result<(Box<dyn Staged>, Vec<String>), DatabaseError> {
        let warnings = self.complete().await;
        let warnings = warnings.map_err(|fault| {
            let fault = swap::locked(fault, self.target.lock_wait);
            fault.of(&self.target.name, "checking the loaded tables")
        })?;
        let Self { target, place, .. } = *self;
        Ok((Box::new(StagedTables { target, place, expected: true }), warnings))
    }
}
