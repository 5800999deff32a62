//! Loads a table's rows.

use rusqlite::{Connection, Statement};

use super::literal;
use crate::source::database::sql::{Chunk, Dialect, Guard, Limits, Rows, Splitter};
use crate::source::database::sqlite::Source;
use crate::source::database::sqlite::render::identifier;
use crate::source::database::{DatabaseError, Trust};

/// What the pieces of a member come from; blocks, `None` at its end.
pub(super) trait Pieces {
    fn next(&mut self) -> Option<std::io::Result<bytes::Bytes>>;
}

/// Loads a data member in one transaction; returns how many rows the table has then.
pub(super) fn load(
    source: &Source,
    db: &Connection,
    table: &str,
    trust: Trust,
    pieces: &mut impl Pieces,
    loaded: &mut impl FnMut(u64),
) -> Result<u64, DatabaseError> {
    let what = format!("table {table}");
    let failed = |error: rusqlite::Error| source.failed(&what, error);
    let transaction = db.unchecked_transaction().map_err(failed)?;
    let mut loader = Loader {
        source,
        what: &what,
        guard: Guard { dialect: Dialect::Sqlite, table, trust },
        splitter: Splitter::new(Dialect::Sqlite, Limits::default()),
        told: 0,
        insert: Insert { db, sql: String::new(), statement: None },
    };
    while let Some(piece) = pieces.next() {
        loader.splitter.push(&piece.map_err(|error| source.failed(&what, error))?);
        loader.run(loaded)?;
    }
    loader.splitter.finish();
    loader.run(loaded)?;
    drop(loader);
    transaction.commit().map_err(failed)?;
    db.query_row(&format!("SELECT count(*) FROM main.{}", identifier(table)), [], |row| row.get(0))
        .map(i64::unsigned_abs)
        .map_err(failed)
}

struct Loader<'a> {
    source: &'a Source,
    what: &'a str,
    guard: Guard<'a>,
    splitter: Splitter,
    /// How many bytes were reported.
    told: u64,
    insert: Insert<'a>,
}

/// The statement that was used last, ready to be used again.
struct Insert<'a> {
    db: &'a Connection,
    sql: String,
    statement: Option<Statement<'a>>,
}

impl Loader<'_> {
    /// Inserts all rows that are complete.
    fn run(&mut self, loaded: &mut impl FnMut(u64)) -> Result<(), DatabaseError> {
        loop {
            let chunk =
                self.splitter.next().map_err(|error| self.source.failed(self.what, error))?;
            let Some(chunk) = chunk else { return Ok(()) };
            let failed = |error: &dyn std::fmt::Display| self.source.failed(self.what, error);
            match chunk {
                Chunk::Statement(text) => {
                    self.guard.statement(text).map_err(|error| failed(&error))?;
                }
                Chunk::Rows(rows) => {
                    self.guard.rows(&rows).map_err(|error| failed(&error))?;
                    let done = self.insert.rows(self.guard.table, &rows);
                    done.map_err(|message| failed(&message))?;
                }
            }
            let done = self.splitter.consumed();
            loaded(done - std::mem::replace(&mut self.told, done));
        }
    }
}

impl Insert<'_> {
    fn rows(&mut self, table: &str, rows: &Rows<'_>) -> Result<(), String> {
        let columns = rows.columns().ok_or("its rows do not say what their columns are")?;
        let mut names = Vec::with_capacity(columns.len());
        for column in columns {
            names.push(identifier(std::str::from_utf8(column).map_err(|error| error.to_string())?));
        }
        let sql = format!(
            "{} INTO main.{} ({}) VALUES ({})",
            if rows.replaces() { "REPLACE" } else { "INSERT" },
            identifier(table),
            names.join(","),
            vec!["?"; names.len()].join(",")
        );
        let statement = match self.statement.take() {
            Some(statement) if self.sql == sql => self.statement.insert(statement),
            _ => {
                let prepared = self.db.prepare(&sql).map_err(|error| error.to_string())?;
                self.sql = sql;
                self.statement.insert(prepared)
            }
        };
        for row in rows.rows() {
            for (index, value) in row.enumerate() {
                let literal = literal::read(value).ok_or_else(|| {
                    let shown = String::from_utf8_lossy(&value[..value.len().min(80)]);
                    format!("the value {} is none that our dumps have", shown.escape_debug())
                })?;
                statement
                    .raw_bind_parameter(index + 1, literal)
                    .map_err(|error| error.to_string())?;
            }
            statement.raw_execute().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
