//! The file that tables are loaded into.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::mpsc;

use super::beside::{self, Beside};
use super::digest::digest;
use super::literal::{self, Literal};
use super::load::{Pieces, load};
use super::swap::Swap;
use super::{OTHER, adjust, definition};
use crate::catalog::is_own_table;
use crate::source::database::sql::SchemeStatement;
use crate::source::database::sqlite::objects::Object;
use crate::source::database::sqlite::order;
use crate::source::database::sqlite::render::identifier;
use crate::source::database::sqlite::{Source, blocking, open};
use crate::source::database::{Adjustment, DatabaseError, ObjectText, Staging, Statements, Trust};
use crate::source::restore::{AttemptId, Staged};

mod ready;

pub(in crate::source::database::sqlite) struct SqliteStaging {
    swap: Swap,
    state: Arc<Mutex<State>>,
}

struct State {
    source: Source,
    beside: Beside,
    db: Connection,
    tables: BTreeMap<String, Waiting>,
    numbers: BTreeMap<&'static str, i64>,
    /// Made last: triggers must not fire while rows are loaded.
    objects: Vec<Object>,
}

/// What is made when a table has its rows.
#[derive(Default)]
struct Waiting {
    indexes: Vec<String>,
    /// Where it stands in the schema, and its indexes, if that is known.
    positions: Vec<i64>,
    /// Where its `AUTOINCREMENT` stands.
    sequence: Option<i64>,
}

/// Makes the empty file; blocks.
pub(in crate::source::database::sqlite) fn stage(
    source: Source,
    attempt: &AttemptId,
) -> Result<SqliteStaging, DatabaseError> {
    let beside = Beside::new(&source.path, attempt);
    let swap = Swap::new(source.clone(), attempt);
    swap.roll_back(&|_| Ok(()))?;
    let shown = beside.staged.display().to_string();
    beside::create(&beside.staged)
        .map_err(|error| source.failed("staging a restore", format!("{shown}: {error}")))?;
    let failed = |error| source.failed("staging a restore", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&beside.staged, flags).map_err(failed)?;
    let mut numbers = BTreeMap::new();
    if beside.live.exists() {
        let live = open::database(&source)?;
        numbers = like(&db, &live).map_err(failed)?;
    }
    // Whoever is killed begins again with an empty file; what is on disc in the end is synced then.
    db.execute_batch(
        "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA main.locking_mode=EXCLUSIVE; \
         PRAGMA cache_size=-16000; PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON; \
         PRAGMA trusted_schema=OFF;",
    )
    .map_err(failed)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    let state = State { source, beside, db, tables: BTreeMap::new(), numbers, objects: Vec::new() };
    Ok(SqliteStaging { swap, state: Arc::new(Mutex::new(state)) })
}

/// Gives an empty file what cannot be changed later: SQLite copies a database into another only if their pages are of
/// one size. Returns the numbers that the live file has.
fn like(db: &Connection, live: &Connection) -> rusqlite::Result<BTreeMap<&'static str, i64>> {
    for pragma in ["page_size", "auto_vacuum"] {
        let value: i64 = live.pragma_query_value(None, pragma, |row| row.get(0))?;
        db.pragma_update(None, pragma, value)?;
    }
    let encoding: String = live.pragma_query_value(None, "encoding", |row| row.get(0))?;
    db.pragma_update(None, "encoding", encoding)?;
    ["user_version", "application_id"]
        .into_iter()
        .map(|pragma| Ok((pragma, live.pragma_query_value(None, pragma, |row| row.get(0))?)))
        .collect()
}

impl SqliteStaging {
    /// Does something with the file on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let state = self.state.clone();
        let work = move || work(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        blocking(self.swap.source(), work).await?
    }
}

#[async_trait]
impl Staging for SqliteStaging {
    fn loaders(&self) -> usize {
        1
    }

    async fn objects(&self, objects: Vec<ObjectText>, trust: Trust) -> Result<(), DatabaseError> {
        if trust == Trust::Foreign {
            return Ok(()); // The plan says so.
        }
        self.with(move |state| state.take_objects(&objects)).await
    }

    async fn scheme(&self, table: &str, sql: &str, trust: Trust) -> Result<(), DatabaseError> {
        let (table, sql) = (table.to_owned(), sql.to_owned());
        self.with(move |state| state.scheme(&table, sql.as_bytes(), trust)).await
    }

    async fn data(
        &self,
        table: &str,
        mut statements: Statements,
        trust: Trust,
        loaded: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, DatabaseError> {
        let name = table.to_owned();
        let (pieces, receiver) = mpsc::channel(4);
        let (report, mut reports) = mpsc::unbounded_channel();
        let work = self.with(move |state| {
            let mut loaded = |bytes| {
                let _ = report.send(bytes); // Whoever does not listen any more does not want to know.
            };
            state.known(&name)?;
            load(&state.source, &state.db, &name, trust, &mut Receiver(receiver), &mut loaded)
        });
        let feed = async move {
            while let Some(piece) = statements.next().await {
                // When the thread has failed there is nobody to send to.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
        };
        tokio::pin!(work, feed);
        let mut fed = false;
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                Some(bytes) = reports.recv() => loaded(bytes),
                () = &mut feed, if !fed => fed = true,
            }
        };
        while let Ok(bytes) = reports.try_recv() {
            loaded(bytes);
        }
        result
    }

    async fn adjust(&self, adjustment: &Adjustment) -> Result<(), DatabaseError> {
        let adjustment = adjustment.clone();
        self.with(move |state| state.adjust(&adjustment)).await
    }

    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        let table = table.to_owned();
        self.with(move |state| state.digest(&table)).await
    }

    async fn ready(self: Box<Self>) -> Result<(Box<dyn Staged>, Vec<String>), DatabaseError> {
        let attempt = self.swap.attempt().to_string();
        let warnings = self.with(move |state| state.ready(attempt)).await?;
        Ok((Box::new(self.swap), warnings))
    }
}

struct Receiver(mpsc::Receiver<std::io::Result<Bytes>>);

impl Pieces for Receiver {
    fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        self.0.blocking_recv()
    }
}

impl State {
    fn known(&self, table: &str) -> Result<(), DatabaseError> {
        match self.tables.contains_key(table) {
            true => Ok(()),
            false => {
                Err(self.source.failed(&format!("table {table}"), "its definition is missing"))
            }
        }
    }

    fn take_objects(&mut self, texts: &[ObjectText]) -> Result<(), DatabaseError> {
        let literal = |value: &[u8]| match literal::read(value)? {
            Literal::Text(text) => Some(text.into_owned()),
            _ => None,
        };
        for text in texts {
            let object = Object::from_text(text, literal).ok_or_else(|| {
                self.source.failed(&text.path(), "it is not of the form of our own")
            })?;
            self.objects.push(object);
        }
        self.objects.sort_by_key(|object| object.kind as u8);
        Ok(())
    }

    fn scheme(&mut self, table: &str, sql: &[u8], trust: Trust) -> Result<(), DatabaseError> {
        let what = definition::about(table);
        if is_own_table(table) {
            return Err(self.source.failed(&what, "tables of this name are the catalog's own"));
        }
        let (positions, sql) = order::read(sql);
        let mut waiting = Waiting { positions, ..Waiting::default() };
        let mut numbers = Vec::new();
        definition::statements(&self.source, table, sql, trust, |statement, text| {
            match statement {
                SchemeStatement::Drop => {
                    self.run(&what, &format!("DROP TABLE IF EXISTS main.{}", identifier(table)))?;
                }
                SchemeStatement::Create { .. } => self.run(&what, &self.text(&what, text)?)?,
                SchemeStatement::Index => waiting.indexes.push(self.text(&what, text)?),
                SchemeStatement::Number { pragma, value } => numbers.push((pragma, value)),
                SchemeStatement::Sequence(last) => waiting.sequence = last,
                SchemeStatement::Session => {}
            }
            Ok(())
        })?;
        self.numbers.extend(numbers);
        let made = self
            .db
            .query_row(
                "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE",
                [table],
                |_| Ok(()),
            )
            .optional();
        if made.map_err(|error| self.source.failed(&what, error))?.is_none() {
            return Err(self.source.failed(&what, "it makes no table"));
        }
        self.tables.insert(table.to_owned(), waiting);
        Ok(())
    }

    fn text(&self, what: &str, statement: &[u8]) -> Result<String, DatabaseError> {
        // Our dumps put a line's end before the `;`. The rest is what SQLite keeps of a definition, to the last blank.
        match std::str::from_utf8(statement.strip_suffix(b"\n").unwrap_or(statement)) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.source.failed(what, "it is not UTF-8")),
        }
    }

    fn run(&self, what: &str, sql: &str) -> Result<(), DatabaseError> {
        self.db.execute_batch(sql).map_err(|error| self.source.failed(what, error))
    }

    fn adjust(&mut self, adjustment: &Adjustment) -> Result<(), DatabaseError> {
        let table = adjustment.table();
        if !self.tables.contains_key(table) {
            return Ok(());
        }
        let what = format!("adjusting table {table}");
        let live = matches!(adjustment, Adjustment::KeepNewer { .. }) && self.beside.live.exists();
        if live {
            self.attach(&what)?;
        }
        let result = adjust::adjust(&self.db, adjustment, live);
        if live {
            self.run(&what, &format!("DETACH {OTHER}"))?;
        }
        result.map_err(|error| self.source.failed(&what, error))
    }

    fn attach(&self, what: &str) -> Result<(), DatabaseError> {
        let attach = format!("ATTACH ? AS {OTHER}");
        let path = self.beside.live.to_string_lossy();
        let attached = self.db.execute(&attach, [&path]).map(drop);
        attached.map_err(|error| self.source.failed(what, error))
    }

    fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        self.known(table)?;
        digest(&self.source, &self.db, table)
    }
}
