//! The rows of a table, read on a blocking thread.

use rusqlite::Connection;

use super::render::{identifier, value};
use crate::source::database::statements::{PIECE, Statements};

/// Why reading ended early.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    /// Nobody takes the pieces any more.
    Gone,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Renders all rows of a table into pieces, in the order of the rowid or the key; returns their number.
pub(super) fn dump(
    db: &Connection,
    table: &str,
    columns: &[String],
    mut take: impl FnMut(&[u8], &[usize]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let table = identifier(table);
    let names = columns.join(",");
    let mut statements =
        Statements::new("", format!("REPLACE INTO {table} ({names}) VALUES \n"), "");
    // An index that has all columns would give another order, and loading what is in order is faster.
    let mut select = db.prepare(&format!("SELECT {names} FROM {table} NOT INDEXED"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let out = statements.begin_row();
        for index in 0..columns.len() {
            out.push(if index == 0 { b'(' } else { b',' });
            value(out, row.get_ref(index)?);
        }
        out.push(b')');
        statements.end_row();
        if statements.is_full() {
            flush(&mut statements, &mut take)?;
        }
    }
    let count = statements.finish();
    flush(&mut statements, &mut take)?;
    Ok(count)
}

fn flush(
    statements: &mut Statements,
    take: &mut impl FnMut(&[u8], &[usize]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut ends = statements.ends();
    for (number, piece) in statements.pending().chunks(PIECE * 2).enumerate() {
        let start = number * PIECE * 2;
        let (here, later) = ends.split_at(ends.partition_point(|end| *end <= start + piece.len()));
        ends = later;
        take(piece, &here.iter().map(|end| end - start).collect::<Vec<_>>())?;
    }
    statements.clear();
    Ok(())
}
