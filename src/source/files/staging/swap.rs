//! The swap in a folder, its undoing and its end. Every change is one rename, and where things lie says which renames
//! are done: a path is swapped when what was staged there no longer lies in `new`, and its old state is safe when it
//! lies in `old`. So each step can be killed anywhere and asked again.
//!
//! What others write into the new state is lost when it is undone: it goes with the new state. The database goes back
//! too, so nothing would refer to it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::journal::{self, Record};
use super::paths;
use super::place::{LATE, NEW, OLD, Place, Tree, failed, rename};
use super::steps::Steps;
use crate::source::files::local::{LocalFolder, blocking};
use crate::source::files::{FilesError, STAGING_FOLDER, beneath};
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// How often to try when others keep putting something where a rename has to go.
const TRIES: usize = 100;

#[derive(Clone)]
pub struct LocalStaged {
    pub folder: Arc<LocalFolder>,
    pub attempt: AttemptId,
    pub steps: Steps,
}

#[async_trait]
impl Staged for LocalStaged {
    async fn swap(&self) -> Result<(), RestoreError> {
        self.run(|this| this.swap_now()).await
    }

    async fn roll_back(&self) -> Result<(), RestoreError> {
        self.run(|this| this.roll_back_now()).await
    }

    async fn finish(&self) -> Result<(), RestoreError> {
        self.run(|this| this.finish_now()).await
    }
}

impl LocalStaged {
    async fn run(
        &self,
        work: impl FnOnce(Self) -> Result<(), FilesError> + Send + 'static,
    ) -> Result<(), RestoreError> {
        let this = self.clone();
        Ok(blocking(STAGING_FOLDER.to_owned(), move || work(this)).await?)
    }

    fn place(&self) -> Result<Option<Place>, FilesError> {
        let place = Place::open(&self.folder, &self.attempt)?;
        if let Some(place) = &place {
            place.lock();
        }
        Ok(place)
    }

    fn swap_now(self) -> Result<(), FilesError> {
        match self.place()? {
            Some(place) => self.swap_in(&place),
            None => Ok(()),
        }
    }

    fn swap_in(&self, place: &Place) -> Result<(), FilesError> {
        let (Some(records), false) = (records(place)?, place.is_swapped()) else { return Ok(()) };
        let mut trees = Trees::open(place, &self.steps)?;
        for record in records {
            if let Record::Swap { path, staged } = record? {
                trees.put_in(&path, staged).map_err(|errno| failed(&path, errno))?;
            }
        }
        place.set_swapped().and_then(|()| self.steps.step()).map_err(noting)
    }

    pub(super) fn roll_back_now(self) -> Result<(), FilesError> {
        let Some(place) = self.place()? else { return Place::tidy(&self.folder) };
        if let Some(undone) = records(&place)? {
            place.unset_swapped().and_then(|()| self.steps.step()).map_err(noting)?;
            let mut trees = Trees::open(&place, &self.steps)?;
            for record in undone {
                if let Record::Swap { path, staged } = record? {
                    trees.put_back(&path, staged).map_err(|errno| failed(&path, errno))?;
                }
            }
            // Only now, because every rename changes its folder's time.
            for record in records(&place)?.into_iter().flatten() {
                if let Record::Folder { path, seconds, nanoseconds } = record? {
                    trees
                        .set_time(&path, seconds, nanoseconds)
                        .map_err(|errno| failed(&path, errno))?;
                }
            }
            rustix::fs::syncfs(&place.root).map_err(noting)?;
        }
        self.drop_all(place)
    }

    fn finish_now(self) -> Result<(), FilesError> {
        let Some(place) = self.place()? else { return Place::tidy(&self.folder) };
        self.swap_in(&place)?;
        self.drop_all(place)
    }

    /// Without its journal, what is staged or kept means nothing more: that goes first.
    fn drop_all(&self, place: Place) -> Result<(), FilesError> {
        journal::remove(&place.folder).map_err(|error| failed(STAGING_FOLDER, error))?;
        self.steps.step().map_err(noting)?;
        place.remove(&self.folder, &self.attempt, &self.steps)
    }
}

fn records(
    place: &Place,
) -> Result<Option<impl Iterator<Item = Result<Record, FilesError>>>, FilesError> {
    let read = journal::read(place.folder.as_fd());
    let records = read.map_err(|error| failed(STAGING_FOLDER, error))?;
    Ok(records
        .map(|records| records.map(|record| record.map_err(|error| failed(STAGING_FOLDER, error)))))
}

fn noting(errno: Errno) -> FilesError {
    failed(STAGING_FOLDER, errno)
}

/// The trees between which things are renamed.
struct Trees<'a> {
    live: Tree,
    new: Tree,
    old: Tree,
    late: OwnedFd,
    next_late: u64,
    steps: &'a Steps,
}

impl<'a> Trees<'a> {
    fn open(place: &Place, steps: &'a Steps) -> Result<Self, FilesError> {
        let root = beneath::folder(place.root.as_fd(), OsStr::new(".")).map_err(noting)?;
        Ok(Self {
            live: Tree::new(root),
            new: Tree::new(place.part(NEW)?),
            old: Tree::new(place.part(OLD)?),
            late: place.part(LATE)?,
            next_late: 0,
            steps,
        })
    }

    /// Puts aside what is live at a path, and what is staged there in its place.
    fn put_in(&mut self, path: &[u8], staged: bool) -> Result<(), Errno> {
        let (folder, name) = paths::split(path);
        let new = match staged {
            true => match self.new.folder(folder, false)? {
                Some(new) if exists(new, name)? => Some(new),
                _ => return Ok(()),
            },
            false => None,
        };
        let Some(live) = self.live.folder(folder, staged)? else { return Ok(()) };
        for _ in 0..TRIES {
            if exists(live, name)? {
                let Some(old) = self.old.folder(folder, true)? else { return Err(Errno::NOENT) };
                match (exists(old, name)?, new) {
                    (false, _) => {
                        rename((live, name), (old, name))?;
                        self.steps.step()?;
                    }
                    (true, Some(_)) => {
                        put_late((live, name), self.late.as_fd(), &mut self.next_late)?;
                    }
                    // Removed before; what is there now came later.
                    (true, None) => return Ok(()),
                }
            }
            let Some(new) = new else { return Ok(()) };
            match rename((new, name), (live, name)) {
                Err(Errno::EXIST) => {}
                other => return other.and_then(|()| self.steps.step()),
            }
        }
        Err(Errno::EXIST)
    }

    /// Takes back what was staged at a path, and puts what was live there before in its place.
    fn put_back(&mut self, path: &[u8], staged: bool) -> Result<(), Errno> {
        let (folder, name) = paths::split(path);
        if staged
            && let Some(new) = self.new.folder(folder, true)?
            && !exists(new, name)?
            && let Some(live) = self.live.folder(folder, false)?
            && exists(live, name)?
        {
            rename((live, name), (new, name))?;
            self.steps.step()?;
        }
        let Some(old) = self.old.folder(folder, false)? else { return Ok(()) };
        if !exists(old, name)? {
            return Ok(());
        }
        let Some(live) = self.live.folder(folder, true)? else { return Err(Errno::NOENT) };
        for _ in 0..TRIES {
            match rename((old, name), (live, name)) {
                Err(Errno::EXIST) => {
                    put_late((live, name), self.late.as_fd(), &mut self.next_late)?;
                }
                other => return other.and_then(|()| self.steps.step()),
            }
        }
        Err(Errno::EXIST)
    }

    fn set_time(&mut self, path: &[u8], seconds: i64, nanoseconds: i64) -> Result<(), Errno> {
        let Some(folder) = self.live.folder(path, false)? else { return Ok(()) };
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        match rustix::fs::futimens(folder, &Timestamps { last_access, last_modification }) {
            // Another owner's folder: everything in it is back all the same.
            Err(Errno::PERM | Errno::ACCESS) => Ok(()),
            other => other,
        }
    }
}

fn exists(at: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    match beneath::stat(at, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes what others put there out of the way.
fn put_late(
    (live, name): (BorrowedFd<'_>, &OsStr),
    late: BorrowedFd<'_>,
    next: &mut u64,
) -> Result<(), Errno> {
    loop {
        *next += 1;
        match rename((live, name), (late, &OsString::from(next.to_string()))) {
            Err(Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}
