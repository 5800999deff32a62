//! A copy of a database that is not in WAL mode, where a reader makes every writer wait.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{Source, open};
use crate::source::database::DatabaseError;

/// Pages a step: the file is locked for some milliseconds, then writers have their turn.
const STEP: i32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);
/// A writer that intervenes makes the copy begin again; after so often it is made in one step.
const RESTARTS: u32 = 8;
const BUSY: Duration = Duration::from_secs(60);

/// Copies the database to a temporary file, at one moment, and gives `count` connections to it. The file has no name
/// any more before the first page is in it: it goes with the connections, also when we are killed.
pub(super) fn make(
    source: &Source,
    from: &Connection,
    count: usize,
) -> Result<Vec<Connection>, DatabaseError> {
    let failed = |error: &dyn std::fmt::Display| source.failed("copying it to temp_dir", error);
    // Files of such a name are never backed up, should temp_dir lie in a source.
    let file = tempfile::Builder::new()
        .prefix(&format!(".copy.portal-backup-{}", uuid::Uuid::new_v4().simple()))
        .rand_bytes(0)
        .tempfile_in(&source.temp_dir)
        .map_err(|error| failed(&format!("{}: {error}", source.temp_dir.display())))?;
    let path = file.into_temp_path();
    let mut to = Connection::open(&path).map_err(|error| failed(&error))?;
    // Should we be killed the file is lost anyway, so nothing is gained by care.
    to.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        .map_err(|error| failed(&error))?;
    let readers = (0..count).map(|_| open::unread(&path)).collect::<Result<Vec<_>, _>>();
    let readers = readers.map_err(|error| failed(&error))?;
    path.close().map_err(|error| failed(&error))?;
    run(from, &mut to).map_err(|error| failed(&error))?;
    readers.iter().try_for_each(open::prepare).map_err(|error| failed(&error))?;
    Ok(readers)
}

fn run(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    let started = Instant::now();
    let mut restarts = 0;
    let mut left = i32::MAX;
    loop {
        let pages = if restarts < RESTARTS { STEP } else { -1 };
        match backup.step(pages)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {
                let now = backup.progress().remaining;
                if now >= left {
                    restarts += 1;
                }
                left = now;
                std::thread::sleep(PAUSE);
            }
            // Busy or locked by a writer, in spite of the busy timeout of each step.
            _ if started.elapsed() > BUSY => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    Some("its writers left no moment to copy it".to_owned()),
                ));
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}
