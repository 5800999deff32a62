//! The demo portal's SQLite database.

use std::io;
use std::path::Path;

use rusqlite::{Connection, params_from_iter};

use super::tables::{Dialect, Rows, TABLES, create_statement, row_counts};

/// Makes the database at `path`, where nothing may be yet.
pub(super) fn write_database(path: &Path, rows: u64) -> io::Result<()> {
    fill(path, rows).map_err(io::Error::other)
}

fn fill(path: &Path, rows: u64) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    // A run that stops half-way is thrown away, so nothing needs to reach the disk before the end.
    db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let transaction = db.transaction()?;
    let mut source = Rows::new(rows);
    for (table, count) in TABLES.iter().zip(row_counts(rows)) {
        transaction.execute_batch(&create_statement(table, Dialect::Sqlite))?;
        let places = vec!["?"; table.columns.len()].join(",");
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {} VALUES ({places})", table.name))?;
        for number in 0..count {
            insert.execute(params_from_iter(source.row(table, number)))?;
        }
    }
    transaction.execute_batch(
        "CREATE INDEX files_of_folder ON files (folder_id);
         CREATE INDEX messages_of_room ON messages (room_id, sent_on);
         CREATE UNIQUE INDEX users_by_guid ON users (guid);",
    )?;
    transaction.commit()?;
    // As a portal would have it: readers do not block writers.
    db.pragma_update(None, "journal_mode", "WAL")
}
