//! The rows of a table, streamed from the server and rendered.

use mysql_async::prelude::Queryable;
use mysql_async::{Error, Row, Value};

use super::connect::Session;
use super::render::{Form, identifier};
use super::scheme::Column;
use crate::source::database::statements::{LONG_ROW, PIECE, Statements};
use crate::source::database::{DataSink, SinkClosed};

// Each statement is a line: DocSpace cuts at line ends with a `;`. An id of 0 must stay 0, times are UTC, and a client
// takes the text for what it is told, in many places for latin1.
const PROLOGUE: &str =
    "SET time_zone='+00:00';\nSET sql_mode='NO_AUTO_VALUE_ON_ZERO';\nSET NAMES utf8mb4;\n";
const EPILOGUE: &str = "SET sql_mode=DEFAULT;\nSET time_zone=DEFAULT;\n";

/// The same for a table with its history.
const HISTORY: [&str; 2] = [
    "SET time_zone='+00:00';\nSET sql_mode='NO_AUTO_VALUE_ON_ZERO';\nSET NAMES utf8mb4;\nSET system_versioning_insert_history=1;\n",
    "SET system_versioning_insert_history=DEFAULT;\nSET sql_mode=DEFAULT;\nSET time_zone=DEFAULT;\n",
];

#[derive(Debug)]
pub(super) enum Failure {
    Server(Error),
    Sink(SinkClosed),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<SinkClosed> for Failure {
    fn from(error: SinkClosed) -> Self {
        Self::Sink(error)
    }
}

/// Writes all rows of a table; returns their number.
pub(super) async fn dump(
    session: &mut Session,
    table: &str,
    columns: &[Column],
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    // Bytes as they are stored: a conversion by the server is not always one that can be undone.
    session.run("SET character_set_results=NULL").await?;
    let result = stream(session, table, columns, sink).await;
    match result {
        Ok(rows) => {
            session.done(Ok(()))?;
            Ok(rows)
        }
        Err(Failure::Server(error)) => Err(session
            .done::<()>(Err(error))
            .map_or_else(Failure::from, |()| Failure::Sink(SinkClosed))),
        // The rest of the rows is on its way: the connection stays marked as busy, and is closed.
        Err(failure) => Err(failure),
    }
}

async fn stream(
    session: &mut Session,
    table: &str,
    columns: &[Column],
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    let table = identifier(table);
    let history = columns.iter().any(|column| column.is_period);
    let (from, [prologue, epilogue]) = match history {
        true => (format!("{table} FOR SYSTEM_TIME ALL"), HISTORY),
        false => (table.clone(), [PROLOGUE, EPILOGUE]),
    };
    // The server refuses REPLACE where it had to write rows of the past, or periods that must not overlap.
    let verb = if history || has_periods(session, &table).await? { "INSERT" } else { "REPLACE" };
    let head = format!("{verb} INTO {table} ({}) VALUES \n", names.join(","));
    let mut statements = Statements::new(prologue, head, epilogue);

    let mut expressions: Vec<_> = columns.iter().map(|column| column.expression.as_str()).collect();
    if expressions.is_empty() {
        // Every column is generated; the rows still count.
        expressions.push("1");
    }
    // The comment is a hint that only servers with a query cache understand.
    let query = format!("SELECT /*!40001 SQL_NO_CACHE */ {} FROM {from}", expressions.join(","));
    let mut result = session.begin()?.query_iter(query).await?;
    while let Some(row) = result.next().await? {
        if raw_length(&row) > LONG_ROW {
            long_row(&mut statements, columns, &row, sink).await?;
        } else {
            let out = statements.begin_row();
            render_row(out, columns, &row);
            statements.end_row();
        }
        if statements.is_full() {
            flush(&mut statements, sink).await?;
        }
    }
    let rows = statements.finish();
    flush(&mut statements, sink).await?;
    Ok(rows)
}

async fn has_periods(session: &mut Session, table: &str) -> Result<bool, Error> {
    const PERIOD: &[u8] = b" WITHOUT OVERLAPS";
    let row: Option<Row> = session.rows(&format!("SHOW CREATE TABLE {table}")).await?.pop();
    let text = row.and_then(|row| row.get_opt::<Vec<u8>, _>(1)?.ok()).unwrap_or_default();
    Ok(text.windows(PERIOD.len()).any(|part| part == PERIOD))
}

fn raw_length(row: &Row) -> usize {
    (0..row.len())
        .map(|index| match row.as_ref(index) {
            Some(Value::Bytes(bytes)) => bytes.len(),
            _ => 0,
        })
        .sum()
}

fn render_row(out: &mut Vec<u8>, columns: &[Column], row: &Row) {
    out.push(b'(');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match row.as_ref(index) {
            Some(Value::Bytes(bytes)) => {
                let form = column.kind.form(bytes);
                form.begin(out);
                form.part(out, bytes);
                form.end(out);
            }
            other => rare(out, other),
        }
    }
    out.push(b')');
}

/// A row that may be gigabytes, handed on while it is rendered.
async fn long_row(
    statements: &mut Statements,
    columns: &[Column],
    row: &Row,
    sink: &mut dyn DataSink,
) -> Result<(), SinkClosed> {
    statements.begin_long_row().push(b'(');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            statements.out().push(b',');
        }
        match row.as_ref(index) {
            Some(Value::Bytes(bytes)) => {
                let form: Form<'_> = column.kind.form(bytes);
                form.begin(statements.out());
                for part in bytes.chunks(PIECE / 2) {
                    form.part(statements.out(), part);
                    if statements.is_full() {
                        flush(statements, sink).await?;
                    }
                }
                form.end(statements.out());
            }
            other => rare(statements.out(), other),
        }
    }
    statements.out().push(b')');
    statements.end_long_row();
    Ok(())
}

fn rare(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None | Some(Value::NULL) => out.extend_from_slice(b"null"),
        // The text protocol knows only NULL and bytes.
        Some(other) => out.extend_from_slice(other.as_sql(false).as_bytes()),
    }
}

async fn flush(statements: &mut Statements, sink: &mut dyn DataSink) -> Result<(), SinkClosed> {
    if !statements.pending().is_empty() {
        sink.write(statements.pending(), statements.ends()).await?;
        statements.clear();
    }
    Ok(())
}
