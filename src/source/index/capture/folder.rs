//! Capturing one folder: its newest commit, or files that hold still.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Stat};
use rustix::io::Errno;

use super::super::lucene::{self, Commit, Role};
use super::super::{Captured, IndexError, failed};
use super::survey::{Names, Seen};
use super::{Trouble, Work, pause};
use crate::source::files::FileMeta;
use crate::source::files::beneath::{self, NotAFile};

/// How long one folder's commit point may keep moving.
const PATIENCE: Duration = Duration::from_secs(20);
const PIECE: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(10);
/// A commit point without a checksum is taken for complete when nobody has written to it for so long.
const SETTLED: Duration = Duration::from_secs(1);

/// One folder of a tree.
pub(super) struct One<'w, 'a> {
    pub work: &'w mut Work<'a>,
    pub path: &'w str,
    pub from: OwnedFd,
    pub into: PathBuf,
}

impl One<'_, '_> {
    fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn failed(&self, name: &str, error: impl Into<std::io::Error>) -> Trouble {
        Trouble::Failed(failed(self.full(name), error))
    }

    pub fn newest_commit(&mut self) -> Result<(), Trouble> {
        let begun = Instant::now();
        let known = self.work.files.len();
        let mut wait = Duration::from_millis(1);
        loop {
            match self.commit() {
                Ok(()) => break,
                Err(Trouble::Moved) if begun.elapsed() < PATIENCE => {}
                Err(Trouble::Moved) => {
                    let folder = self.work.root.join(self.path);
                    return Err(IndexError::Unsteady(folder.display().to_string()).into());
                }
                Err(trouble) => return Err(trouble),
            }
            self.work.files.truncate(known);
            for entry in std::fs::read_dir(&self.into).into_iter().flatten().flatten() {
                // Folders within are others' turn.
                let _ = std::fs::remove_file(entry.path());
            }
            pause(self.work.stop, wait)?;
            wait = (wait * 2).min(Duration::from_millis(50));
        }
        let is_commit = |file: &Captured| {
            let name = file.meta.path.rsplit('/').next();
            name.is_some_and(|name| lucene::generation(name).is_some())
        };
        self.work.files[known..].sort_by_key(is_commit);
        Ok(())
    }

    /// The newest commit that is complete. Its files are there as long as no newer one is, so all that it names were
    /// seen if it still is the newest afterwards.
    fn commit(&mut self) -> Result<(), Trouble> {
        let names = Names::read(&self.from).map_err(|errno| self.failed("", errno))?;
        if !names.files().any(|name| lucene::generation(name).is_some()) {
            return Err(Trouble::Gone);
        }
        let (newest, seen) = self.newest(&names)?.ok_or(Trouble::Moved)?;
        // Listed again: a listing during which a commit is made may show its commit point and not all of its files.
        let names = Names::read(&self.from).map_err(|errno| self.failed("", errno))?;
        let commit = newest.clone().among(names.files());
        // What is younger than the commit is of a later one, and may still be written to: it is no harm, but must not
        // be linked. (Only when a clock was put back may the commit need it.)
        let is_later = |name: &str, file: Seen| {
            let tick = if lucene::has_generation(name) { TICK.as_nanos() as i128 } else { 0 };
            file.modified() + tick > seen.modified()
        };
        let (mut copies, mut beside) = (Vec::new(), Vec::new());
        for name in names.files().filter(|name| *name != commit.name) {
            match commit.role(name) {
                Role::Committed => copies.extend(self.pinned(name, is_later)?),
                Role::Beside if self.work.excluded.contains(&self.full(name)) => {}
                Role::Beside => beside.push(name),
                Role::Foreign => {}
            }
        }
        copies.extend(self.pinned(&commit.name, |_, _| false)?);
        // Asked last.
        let names_now = Names::read(&self.from).map_err(|errno| self.failed("", errno))?;
        if self.newest(&names_now)?.is_none_or(|(now, _)| now != newest) {
            return Err(Trouble::Moved);
        }
        for (name, file) in copies {
            self.copy(&name, file)?;
        }
        for name in beside {
            self.copied(name)?;
        }
        Ok(())
    }

    /// The newest complete commit of a folder; where none has a checksum, the newest if it has settled.
    fn newest(&self, names: &Names) -> Result<Option<(Commit, Seen)>, Trouble> {
        let mut commits: Vec<_> =
            names.files().filter_map(|name| Some((lucene::generation(name)?, name))).collect();
        commits.sort_unstable();
        let mut settled = None;
        for (_, name) in commits.into_iter().rev() {
            let Some((file, stat)) = self.open(name)? else { return Err(Trouble::Moved) };
            let mut content = Vec::new();
            file.take(lucene::LONGEST)
                .read_to_end(&mut content)
                .map_err(|error| self.failed(name, error))?;
            let seen = Seen::of(&stat);
            let is_newest = settled.is_none();
            match Commit::new(name, content.clone()) {
                Some(commit) => return Ok(Some((commit, seen))),
                None if is_newest => settled = Some((Commit::unreadable(name, content), seen)),
                None => {}
            }
        }
        Ok(settled.filter(|(_, seen)| !seen.is_younger(SETTLED)))
    }

    /// None when it is gone.
    fn open(&self, name: &str) -> Result<Option<(File, Stat)>, Trouble> {
        match beneath::file(self.from.as_fd(), OsStr::new(name)) {
            Ok((file, stat)) => Ok(Some((File::from(file), stat))),
            Err(NotAFile::System(Errno::NOENT | Errno::STALE)) => Ok(None),
            Err(NotAFile::System(errno)) => Err(self.failed(name, errno)),
            Err(_) => Err(Trouble::Moved),
        }
    }

    /// Holds a file of a commit fast: by a link, or else by having it open; then it is still to be copied.
    fn pinned(
        &mut self,
        name: &str,
        never_link: impl Fn(&str, Seen) -> bool,
    ) -> Result<Option<(String, File)>, Trouble> {
        let (file, stat) = self.open(name)?.ok_or(Trouble::Moved)?;
        if self.work.place.beside && !never_link(name, Seen::of(&stat)) {
            let to = self.into.join(name);
            match rustix::fs::linkat(&self.from, name, CWD, &to, AtFlags::empty()) {
                Ok(()) => {
                    let seen = Seen::of(&stat);
                    // What was opened is what was linked.
                    if !seen.is_of(&to) {
                        return Err(Trouble::Moved);
                    }
                    self.note(name, &stat, seen, true);
                    return Ok(None);
                }
                Err(Errno::NOENT) => return Err(Trouble::Moved),
                // No links on this volume, to files of others, or to one that has so many.
                Err(_) => {}
            }
        }
        Ok(Some((name.to_owned(), file)))
    }

    fn note(&mut self, name: &str, stat: &Stat, seen: Seen, linked: bool) {
        let meta = FileMeta {
            path: self.full(name),
            size: seen.size,
            modified: stat.st_mtime,
            is_directory: false,
            // Not the time of its last change of status: that is when we linked it.
            version: Some(stat.st_mtime_nsec.to_string()),
        };
        self.work.files.push(Captured { meta, seen, linked });
    }

    pub fn empty_folder(&mut self, modified: i64) -> Result<(), Trouble> {
        let path = self.path.to_owned();
        let stat = rustix::fs::stat(&self.into).map_err(|errno| self.failed("", errno))?;
        let meta = FileMeta { path, size: 0, modified, is_directory: true, version: None };
        self.work.files.push(Captured { meta, seen: Seen::of(&stat), linked: false });
        Ok(())
    }

    /// Copies what may be written to at any time.
    pub fn copied(&mut self, name: &str) -> Result<(), Trouble> {
        let (file, stat) = self.open(name)?.ok_or(Trouble::Moved)?;
        if Seen::of(&stat).is_fresh() {
            return Err(Trouble::Moved);
        }
        self.copy(name, file)
    }

    /// Copies what is open; it must be the same before and after.
    fn copy(&mut self, name: &str, mut from: File) -> Result<(), Trouble> {
        let before = rustix::fs::fstat(&from).map_err(|errno| self.failed(name, errno))?;
        let to = self.into.join(name);
        let mut copy = File::create_new(&to).map_err(|error| self.failed(name, error))?;
        // Where the volume shares blocks it costs nothing; and it is of one moment.
        if rustix::fs::ioctl_ficlone(&copy, &from).is_err() {
            let mut piece = vec![0; PIECE];
            loop {
                if self.work.stop.is_cancelled() {
                    return Err(IndexError::Stopped.into());
                }
                match from.read(&mut piece) {
                    Ok(0) => break,
                    Ok(read) => {
                        copy.write_all(&piece[..read]).map_err(|error| self.failed(name, error))?;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(self.failed(name, error)),
                }
            }
        }
        let after = rustix::fs::fstat(&from).map_err(|errno| self.failed(name, errno))?;
        let stat = rustix::fs::fstat(&copy).map_err(|errno| self.failed(name, errno))?;
        let seen = Seen::of(&stat);
        if Seen::of(&before) != Seen::of(&after) || seen.size != Seen::of(&after).size {
            return Err(Trouble::Moved);
        }
        self.note(name, &before, seen, false);
        Ok(())
    }
}
