//! Opening a database file that others use, without changing it.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::Source;
use crate::source::database::DatabaseError;

/// How long to wait for a writer that holds the whole file.
const BUSY: Duration = Duration::from_secs(30);

/// Opens the database for reading. It must exist, and is never made.
pub(super) fn database(source: &Source) -> Result<Connection, DatabaseError> {
    let refused = |message: String| DatabaseError::Connect { name: source.name.clone(), message };
    let shown = source.path.display();
    match std::fs::metadata(&source.path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(refused(format!("{shown} is not a file"))),
        Err(error) => return Err(refused(format!("{shown}: {error}"))),
    }
    let reading = connect(&source.path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    reading
        .or_else(|error| match needs_recovery(&error) {
            // Whoever wrote last was killed. Any reader has to finish that first, as the portal itself will.
            true => connect(&source.path, OpenFlags::SQLITE_OPEN_READ_WRITE),
            false => Err(error),
        })
        .map_err(|error| refused(format!("{shown}: {error}")))
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    // Opening reads nothing; this finds out whether it is a database, and whether we may.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Opens a file for reading, and reads nothing yet: neither its content nor what [`prepare`] reads.
pub(super) fn unread(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // A damaged or hostile schema must be able to do no more than fail.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "query_only", true)?;
    // Of an order that only the portal's own program knows: rows are read as they lie, and none are written.
    connection.collation_needed(|connection, name| connection.create_collation(name, str::cmp))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -2000)
}

fn needs_recovery(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    failure.code == ErrorCode::ReadOnly
        && matches!(
            failure.extended_code,
            ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY
        )
}
