//! Putting the staged file's content into the live one, and back.

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OTHER;
use super::beside::{self, Beside};
use super::carry::{self, Way, What};
use super::mark::{self, Mark};
use crate::source::database::DatabaseError;
use crate::source::database::sqlite::{Source, blocking};
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// How long others may hold a lock on the live file before we give up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// Where a swap may be ended by a test, as if the process had been killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// Nobody else can write the live file.
    Locked,
    /// What the archive does not know is in the file that is to be swapped in.
    Carried,
    /// The live state is kept.
    Kept,
    /// The live file has the other state.
    Replaced,
    /// The live file says no longer that it was swapped.
    Unmarked,
}

type At<'a> = &'a dyn Fn(Point) -> Result<(), DatabaseError>;

/// The files of one attempt. All its methods block.
#[derive(Debug, Clone)]
pub(in crate::source::database::sqlite) struct Swap {
    source: Source,
    attempt: AttemptId,
    beside: Beside,
}

/// What an attempt staged, whatever there is of it.
pub(in crate::source::database::sqlite) fn staged(source: Source, attempt: &AttemptId) -> Swap {
    Swap::new(source, attempt)
}

#[async_trait]
impl Staged for Swap {
    async fn swap(&self) -> Result<(), RestoreError> {
        let swap = self.clone();
        Ok(blocking(&self.source, move || swap.swap(&|_| Ok(()))).await??)
    }

    async fn roll_back(&self) -> Result<(), RestoreError> {
        let swap = self.clone();
        Ok(blocking(&self.source, move || swap.roll_back(&|_| Ok(()))).await??)
    }

    async fn finish(&self) -> Result<(), RestoreError> {
        let swap = self.clone();
        Ok(blocking(&self.source, move || swap.finish(&|_| Ok(()))).await??)
    }
}

impl Swap {
    pub fn new(source: Source, attempt: &AttemptId) -> Self {
        let beside = Beside::new(&source.path, attempt);
        Self { source, attempt: attempt.clone(), beside }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }

    pub(super) fn swap(&self, at: At<'_>) -> Result<(), DatabaseError> {
        let what = "swapping in the restored state";
        match self.live_mark()? {
            Some(mark) if mark.is_of(&self.attempt) => return self.drop_staged(),
            Some(mark) => {
                let message = format!("the restore {} has not been finished", mark.attempt);
                return Err(self.source.failed(what, message));
            }
            None if !self.beside.staged.exists() => return Ok(()),
            None => {}
        }
        let staged = self.open(&self.beside.staged, what)?;
        let mark = Mark::read(&staged).map_err(|error| self.failed(what, &error))?;
        drop(staged);
        let Some(mark) = mark.filter(|mark| mark.is_of(&self.attempt)) else {
            return Err(self.source.failed(what, "it was not staged to the end"));
        };
        self.replace(what, &self.beside.staged, Some(mark), at)?;
        self.drop_staged()
    }

    /// What was swapped in is in the live file; its copy is of no more use.
    fn drop_staged(&self) -> Result<(), DatabaseError> {
        beside::remove(&self.beside.staged)
            .map_err(|error| self.source.failed("removing what was staged", error))
    }

    pub(super) fn roll_back(&self, at: At<'_>) -> Result<(), DatabaseError> {
        let what = "putting back the state before the restore";
        let io = |error: std::io::Error| self.source.failed(what, error);
        match self.live_mark()?.filter(|mark| mark.is_of(&self.attempt)) {
            Some(mark) if mark.created => beside::remove(&self.beside.live).map_err(io)?,
            Some(_) if !self.beside.kept.exists() => {
                let message = format!("{} is gone", self.beside.kept.display());
                return Err(self.source.failed(what, message));
            }
            Some(_) => self.replace(what, &self.beside.kept, None, at)?,
            None => self.remove_created(what)?,
        }
        self.beside.remove().map_err(io)
    }

    /// A swap into a file that did not exist makes an empty one first.
    fn remove_created(&self, what: &str) -> Result<(), DatabaseError> {
        let Beside { live, staged, .. } = &self.beside;
        if !live.exists() || !staged.exists() {
            return Ok(());
        }
        // (A staged file that cannot be read is not complete, so nothing was swapped.)
        let mark = Mark::read(&self.open(staged, what)?).unwrap_or_default();
        if !mark.is_some_and(|mark| mark.created && mark.is_of(&self.attempt)) {
            return Ok(());
        }
        let is_empty = is_empty(&self.open(live, what)?, "main");
        match is_empty.map_err(|error| self.failed(what, &error))? {
            true => beside::remove(live).map_err(|error| self.source.failed(what, error)),
            false => Ok(()),
        }
    }

    pub(super) fn finish(&self, at: At<'_>) -> Result<(), DatabaseError> {
        let what = "finishing the restore";
        if self.live_mark()?.is_some_and(|mark| mark.is_of(&self.attempt)) {
            let live = self.open(&self.beside.live, what)?;
            live.busy_timeout(PATIENCE).map_err(|error| self.failed(what, &error))?;
            live.execute_batch(&format!("DROP TABLE main.{}", mark::TABLE))
                .map_err(|error| self.failed(what, &error))?;
            at(Point::Unmarked)?;
        }
        self.beside.remove().map_err(|error| self.source.failed(what, error))
    }

    /// What the live file says of a restore; None also if there is no such file.
    fn live_mark(&self) -> Result<Option<Mark>, DatabaseError> {
        if !self.beside.live.exists() {
            return Ok(None);
        }
        let what = "reading how far a restore got";
        let live = self.open(&self.beside.live, what)?;
        live.busy_timeout(PATIENCE).map_err(|error| self.failed(what, &error))?;
        Mark::read(&live).map_err(|error| self.failed(what, &error))
    }

    /// Copies the database `with` into the live one, all at once for everybody who has it open. First what only the
    /// live one has is carried over: with a `mark`, the one that says what was loaded, everything, and the live state
    /// is kept; without, the catalog's tables.
    fn replace(
        &self,
        what: &str,
        with: &Path,
        mark: Option<Mark>,
        at: At<'_>,
    ) -> Result<(), DatabaseError> {
        let failed = |error: rusqlite::Error| self.failed(what, &error);
        let mut live = Connection::open(&self.beside.live).map_err(failed)?;
        live.busy_timeout(Duration::from_millis(200)).map_err(failed)?;
        let mode: String =
            live.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
        let job = Job { swap: self, what, with, mark, at };
        match mode.as_str() {
            "wal" => job.beside_readers(&mut live)?,
            _ => job.alone(&mut live)?,
        }
        at(Point::Replaced)?;
        // Others may still read the old pages; then the log is emptied later.
        let _ = live.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(())
    }

    fn open(&self, path: &Path, what: &str) -> Result<Connection, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(path, flags).map_err(|error| self.failed(what, &error))
    }

    fn failed(&self, what: &str, error: &rusqlite::Error) -> DatabaseError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.locked(what),
            _ => self.source.failed(what, error),
        }
    }

    fn locked(&self, what: &str) -> DatabaseError {
        let seconds = PATIENCE.as_secs();
        self.source.failed(what, format!("others have kept it locked for {seconds} seconds"))
    }
}

fn is_empty(db: &Connection, schema: &str) -> rusqlite::Result<bool> {
    let query = format!("SELECT NOT EXISTS (SELECT 1 FROM {schema}.sqlite_schema)");
    db.query_row(&query, [], |row| row.get(0))
}

/// One replacement of the live content.
struct Job<'a> {
    swap: &'a Swap,
    what: &'a str,
    with: &'a Path,
    mark: Option<Mark>,
    at: At<'a>,
}

impl Job<'_> {
    /// In WAL mode. The copy's own lock keeps writers away, while all read the old state until it is committed.
    fn beside_readers(&self, live: &mut Connection) -> Result<(), DatabaseError> {
        let failed = |error: rusqlite::Error| self.swap.failed(self.what, &error);
        let with = self.swap.open(self.with, self.what)?;
        carry::prepare(&with).map_err(failed)?;
        self.attach(&with, &self.swap.beside.live).map_err(failed)?;
        let copy = Backup::new(&with, live).map_err(failed)?;
        // (No page is copied by this: it only begins the transaction.)
        self.patiently(|| Ok(copy.step(0)? == StepResult::More)).map_err(failed)?;
        (self.at)(Point::Locked)?;
        // What this writes the copy sees, because it is the same connection.
        self.carry(&with, Way { from: OTHER, to: "main" }).map_err(failed)?;
        (self.at)(Point::Carried)?;
        self.keep(&with, OTHER)?;
        self.patiently(|| Ok(copy.step(-1)? == StepResult::Done)).map_err(failed)
    }

    /// With a rollback journal, where one who writes is alone anyhow.
    fn alone(&self, live: &mut Connection) -> Result<(), DatabaseError> {
        let failed = |error: rusqlite::Error| self.swap.failed(self.what, &error);
        // In this mode a lock outlives its transaction, so that there is no gap between the steps.
        live.pragma_update(Some("main"), "locking_mode", "EXCLUSIVE").map_err(failed)?;
        self.patiently(|| match live.execute_batch("BEGIN EXCLUSIVE; COMMIT") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            result => result.map(|()| true),
        })
        .map_err(failed)?;
        (self.at)(Point::Locked)?;
        carry::prepare(live).map_err(failed)?;
        self.attach(live, self.with).map_err(failed)?;
        self.carry(live, Way { from: "main", to: OTHER }).map_err(failed)?;
        live.execute_batch(&format!("DETACH {OTHER}")).map_err(failed)?;
        (self.at)(Point::Carried)?;
        self.keep(live, "main")?;
        let with = self.swap.open(self.with, self.what)?;
        let copy = Backup::new(&with, live).map_err(failed)?;
        self.patiently(|| Ok(copy.step(-1)? == StepResult::Done)).map_err(failed)
    }

    fn attach(&self, db: &Connection, path: &Path) -> rusqlite::Result<()> {
        db.execute(&format!("ATTACH ? AS {OTHER}"), [path.to_string_lossy()]).map(drop)
    }

    fn carry(&self, db: &Connection, way: Way) -> rusqlite::Result<()> {
        let transaction = db.unchecked_transaction()?;
        match &self.mark {
            Some(mark) => {
                carry::carry(db, way, What::AllBut(&mark.loaded), true)?;
                let created = mark.created && is_empty(db, way.from)?;
                Mark { created, ..mark.clone() }.write(db, way.to)?;
            }
            None => {
                carry::carry(db, way, What::Own, true)?;
            }
        }
        transaction.commit()
    }

    /// Copies the live state aside and puts the copy on disc.
    fn keep(&self, db: &Connection, schema: &str) -> Result<(), DatabaseError> {
        if self.mark.is_none() {
            return Ok(());
        }
        let failed = |error: rusqlite::Error| self.swap.failed(self.what, &error);
        let beside = &self.swap.beside;
        let io = |error: std::io::Error| self.swap.source.failed(self.what, error);
        beside::remove(&beside.kept).and_then(|()| beside::create(&beside.kept)).map_err(io)?;
        let mut kept = self.swap.open(&beside.kept, self.what)?;
        kept.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;").map_err(failed)?;
        let copy = Backup::new_with_names(db, schema, &mut kept, "main").map_err(failed)?;
        self.patiently(|| Ok(copy.step(-1)? == StepResult::Done)).map_err(failed)?;
        drop(copy);
        kept.close().map_err(|(_, error)| failed(error))?;
        beside::sync(&beside.kept).and_then(|()| beside.sync_folder()).map_err(io)?;
        (self.at)(Point::Kept)
    }

    /// Tries until it is done, or others have held the lock for too long.
    fn patiently(
        &self,
        mut attempt: impl FnMut() -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let begun = Instant::now();
        while !attempt()? {
            if begun.elapsed() > PATIENCE {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}
