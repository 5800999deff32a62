//! The digest of a table, as its dump would have it.

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::source::database::DatabaseError;
use crate::source::database::sqlite::rows::{self, Failure};
use crate::source::database::sqlite::{Source, scheme};

pub(in crate::source::database::sqlite) fn digest(
    source: &Source,
    db: &Connection,
    table: &str,
) -> Result<Option<[u8; 32]>, DatabaseError> {
    let what = format!("table {table}");
    let failed = |error: rusqlite::Error| source.failed(&what, error);
    let without_rowid: bool = db
        .query_row(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE",
            [table],
            |row| row.get(0),
        )
        .map_err(failed)?;
    let columns = scheme::columns(db, "main", table, without_rowid).map_err(failed)?;
    let mut digest = Sha256::new();
    let rows = rows::dump(db, table, &columns, |piece, _| {
        digest.update(piece);
        Ok(())
    });
    match rows {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(digest.finalize().into())),
        Err(Failure::Sqlite(error)) => Err(failed(error)),
        Err(Failure::Gone) => Err(source.failed(&what, "reading it ended early")),
    }
}
