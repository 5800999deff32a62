//! New files for databases that are restored under another name, and compaction. All of it blocks.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Source;
use crate::source::database::DatabaseError;

/// How long to wait for others that have the file.
const BUSY: Duration = Duration::from_secs(30);

/// Makes an empty file, and the folders above it. True: it was made.
pub(super) fn create(source: &Source) -> Result<bool, DatabaseError> {
    let work = || {
        if let Some(folder) = source.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&source.path) {
            Ok(file) => file.sync_all().map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    };
    work().map_err(|error: std::io::Error| source.failed("making its file", error))
}

/// Removes the file, if there is nothing in it or `with_content`, and its folder if that is empty then.
pub(super) fn discard(source: &Source, with_content: bool) -> Result<(), DatabaseError> {
    if !source.path.exists() {
        return Ok(());
    }
    let failed = |error: rusqlite::Error| source.failed("looking whether its file is empty", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&source.path, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    let objects: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    drop(db);
    if objects > 0 && !with_content {
        return Ok(());
    }
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut path = source.path.clone().into_os_string();
        path.push(suffix);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(source.failed("removing its file", error));
            }
            _ => {}
        }
    }
    // One that still holds something stays.
    if let Some(folder) = source.path.parent() {
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

/// Rewrites the file without free pages.
pub(super) fn compact(source: &Source) -> Result<(), DatabaseError> {
    let work = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&source.path, flags)?;
        db.busy_timeout(BUSY)?;
        db.execute_batch("VACUUM")
    };
    work().map_err(|error: rusqlite::Error| source.failed("compacting it", error))
}
