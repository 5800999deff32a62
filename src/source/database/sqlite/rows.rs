//! The rows of a table, read on a blocking thread.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::render::{Form, identifier, value};
use crate::source::database::statements::{LONG_ROW, PIECE, Statements};

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
        if raw_length(row, columns.len())? > LONG_ROW {
            long_row(&mut statements, row, columns.len(), &mut take)?;
        } else {
            let out = statements.begin_row();
            for index in 0..columns.len() {
                out.push(if index == 0 { b'(' } else { b',' });
                value(out, row.get_ref(index)?);
            }
            out.push(b')');
            statements.end_row();
        }
        if statements.is_full() {
            flush(&mut statements, &mut take)?;
        }
    }
    let count = statements.finish();
    flush(&mut statements, &mut take)?;
    Ok(count)
}

fn raw_length(row: &Row<'_>, columns: usize) -> rusqlite::Result<usize> {
    let mut length = 0;
    for index in 0..columns {
        if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(index)? {
            length += bytes.len();
        }
    }
    Ok(length)
}

/// A row that may be a gigabyte, handed on while it is rendered.
fn long_row(
    statements: &mut Statements,
    row: &Row<'_>,
    columns: usize,
    take: &mut impl FnMut(&[u8], &[usize]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    statements.begin_long_row();
    for index in 0..columns {
        statements.out().push(if index == 0 { b'(' } else { b',' });
        let found = row.get_ref(index)?;
        let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = found else {
            value(statements.out(), found);
            continue;
        };
        let form = Form::of(found);
        form.begin(statements.out());
        for part in bytes.chunks(PIECE / 2) {
            form.part(statements.out(), part);
            if statements.is_full() {
                flush(statements, take)?;
            }
        }
        form.end(statements.out());
    }
    statements.out().push(b')');
    statements.end_long_row();
    Ok(())
}

fn flush(
    statements: &mut Statements,
    take: &mut impl FnMut(&[u8], &[usize]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !statements.pending().is_empty() {
        take(statements.pending(), statements.ends())?;
        statements.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_is_handed_on_piece_by_piece() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "create table t (b, t); insert into t values (1, 'x');
             insert into t values (zeroblob(20971520), replace(hex(zeroblob(1000000)), '00', 'a' || char(39, 10)));
             insert into t values (2, 'y');",
        )
        .unwrap();
        let (mut text, mut longest) = (Vec::new(), 0);
        let columns = ["b".to_owned(), "t".to_owned()];
        let rows = dump(&db, "t", &columns, |piece, ends| {
            assert!(ends.iter().all(|end| *end <= piece.len()));
            longest = longest.max(piece.len());
            text.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(rows.unwrap(), 3);
        assert!(longest < PIECE * 4, "{longest}");
        let copy = Connection::open_in_memory().unwrap();
        copy.execute_batch("create table t (b, t)").unwrap();
        copy.execute_batch(std::str::from_utf8(&text).unwrap()).unwrap();
        let sums =
            "select count(*) || ',' || sum(length(b)) || ',' || sum(length(t)) || max(t) from t";
        let read = |db: &Connection| db.query_row(sums, [], |row| row.get::<_, String>(0)).unwrap();
        assert!(read(&copy) == read(&db));
    }
}
