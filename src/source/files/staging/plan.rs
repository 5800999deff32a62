//! What a swap in a folder has to rename: as few things as possible, as high up as possible. Nothing is changed here,
//! but all that could stop a swap on the way is looked for, because then it must not begin.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::Replaced;
use super::journal::{Record, Writer};
use super::left_out::{Search, leads_to_folder, mounts};
use super::paths::{self, Paths};
use super::place::{NEW, Place, failed};
use crate::source::files::local::LocalFolder;
use crate::source::files::names::Names;
use crate::source::files::{FilesError, STAGING_FOLDER, beneath, text};

/// Two folders are open for each level. Whole folders are renamed at any depth; this is only how deep a swap goes
/// name by name.
const MAX_DEPTH: usize = 256;

/// Writes the journal of a swap that puts what is staged in the live one's place.
pub fn write(folder: &LocalFolder, place: &Place, replaced: &Replaced) -> Result<(), FilesError> {
    let paths = |paths: &[String]| Paths::new(paths.iter().map(|path| text::to_bytes(path)));
    let (folders, kept) = match replaced {
        Replaced::Folders { folders, kept } => (paths(folders), paths(kept)),
        Replaced::Staged => (Paths::default(), Paths::default()),
    };
    let mut kept = kept;
    kept.add(STAGING_FOLDER.into());
    let device = rustix::fs::fstat(&place.root).map_err(|errno| failed("", errno))?.st_dev;
    let mounts = mounts(folder);
    let mut plan = Plan {
        folder,
        root: place.root.as_fd(),
        device,
        left_out: Paths::default(),
        folders,
        kept,
        mounts,
        journal: Writer::new(place.folder.as_fd()).map_err(noting)?,
    };
    plan.find_left_out()?;
    plan.all(place)?;
    plan.journal.finish().map_err(noting)
}

struct Plan<'a> {
    folder: &'a LocalFolder,
    root: BorrowedFd<'a>,
    device: u64,
    /// All below these is replaced.
    folders: Paths,
    /// Never moved, whatever is staged.
    kept: Paths,
    /// Never taken away, but what is staged may replace it.
    left_out: Paths,
    mounts: Paths,
    journal: Writer<'a>,
}

/// A live folder that is gone through name by name.
struct Level {
    path: Vec<u8>,
    live: OwnedFd,
    staged: Option<OwnedFd>,
    names: Names,
    next: usize,
    /// Whether it stands in the journal.
    noted: bool,
}

enum Verdict {
    /// It stays as it is.
    Stay,
    Swap {
        staged: bool,
    },
    /// Both are folders, or only the live one is, and parts of it stay.
    Descend,
}

impl<'a> Plan<'a> {
    fn search(&self) -> Search<'_> {
        Search { folder: self.folder, root: self.root, kept: &self.kept, mounts: &self.mounts }
    }

    fn find_left_out(&mut self) -> Result<(), FilesError> {
        let mut found = Paths::default();
        for folder in self.folders.outermost().filter(|folder| !self.kept.hold(folder)) {
            self.search().below(folder, &mut found)?;
        }
        self.left_out = found;
        Ok(())
    }

    fn all(&mut self, place: &Place) -> Result<(), FilesError> {
        let root =
            beneath::folder(self.root, OsStr::new(".")).map_err(|errno| failed("", errno))?;
        let mut chain = vec![self.level(Vec::new(), root, Some(place.part(NEW)?))?];
        while let Some(level) = chain.last_mut() {
            let Some((name, _)) = level.names.get(level.next) else {
                chain.pop();
                continue;
            };
            level.next += 1;
            let name = OsStr::from_bytes(name).to_owned();
            let path = paths::join(&level.path, name.as_bytes());
            match self.judge(level, &path, &name)? {
                Verdict::Stay => {}
                Verdict::Swap { staged } => {
                    self.note(level)?;
                    let record = Record::Swap { path, staged };
                    self.journal.add(&record).map_err(noting)?;
                }
                Verdict::Descend => {
                    let below = self.descend(level, path, &name)?;
                    if chain.len() >= MAX_DEPTH {
                        let why = "it lies too deep to be replaced in parts";
                        return Err(refused(&below.path, why));
                    }
                    chain.push(below);
                }
            }
        }
        Ok(())
    }

    fn level(
        &self,
        path: Vec<u8>,
        live: OwnedFd,
        staged: Option<OwnedFd>,
    ) -> Result<Level, FilesError> {
        let mut names = Names::default();
        let mut read = || {
            if let Some(staged) = &staged {
                names.add(staged)?;
            }
            if self.folders.hold(&path) {
                names.add(&live)?;
            }
            for name in self.folders.leading_names(&path) {
                names.push(name, FileType::Unknown)?;
            }
            names.sort();
            Ok(())
        };
        read().map_err(|errno: Errno| failed(&path, errno))?;
        Ok(Level { path, live, staged, names, next: 0, noted: false })
    }

    fn descend(&self, level: &Level, path: Vec<u8>, name: &OsString) -> Result<Level, FilesError> {
        let open = |at: BorrowedFd<'_>| beneath::folder(at, name);
        let live = open(level.live.as_fd()).map_err(|errno| failed(&path, errno))?;
        let staged = match level.staged.as_ref().map(|fd| open(fd.as_fd())).transpose() {
            Err(Errno::NOENT) => None,
            other => other.map_err(|errno| failed(&path, errno))?,
        };
        self.level(path, live, staged)
    }

    fn judge(&self, level: &Level, path: &[u8], name: &OsStr) -> Result<Verdict, FilesError> {
        if self.kept.hold(path) {
            return Ok(Verdict::Stay);
        }
        let found = |at: BorrowedFd<'_>| match beneath::stat(at, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(path, errno)),
        };
        let staged = match &level.staged {
            Some(fd) => found(fd.as_fd())?,
            None => None,
        };
        let Some(live) = found(level.live.as_fd())? else {
            return match staged {
                Some(_) => self.swap(level, path, name, None, true),
                None => Ok(Verdict::Stay),
            };
        };
        let replaced = self.folders.hold(path);
        if staged.is_none() && !replaced && self.folders.below(path).is_none() {
            return Ok(Verdict::Stay);
        }
        if live.st_dev != self.device || self.mounts.has(path) {
            return Err(on_another_volume(path));
        }
        match is_folder(&live) {
            true => self.judge_folder(level, path, name, &live, staged.as_ref(), replaced),
            false => self.judge_file(level, path, name, &live, staged.as_ref(), replaced),
        }
    }

    fn judge_folder(
        &self,
        level: &Level,
        path: &[u8],
        name: &OsStr,
        live: &Stat,
        staged: Option<&Stat>,
        replaced: bool,
    ) -> Result<Verdict, FilesError> {
        let stays = || self.kept.below(path).or_else(|| self.left_out.first_from(path));
        match staged.map(is_folder) {
            Some(false) => {
                let mut inside = Paths::default();
                if !replaced {
                    self.search().below(path, &mut inside)?;
                }
                if let Some(stays) = stays().or_else(|| inside.below(path)) {
                    let why = format!(
                        "the archive has a file there, and in the live folder {} has to stay",
                        paths::shown(stays)
                    );
                    return Err(refused(path, &why));
                }
                self.swap(level, path, name, Some(live), true)
            }
            None if self.left_out.has(path) => Ok(Verdict::Stay),
            staged if replaced && stays().is_none() => {
                self.swap(level, path, name, Some(live), staged.is_some())
            }
            _ => Ok(Verdict::Descend),
        }
    }

    fn judge_file(
        &self,
        level: &Level,
        path: &[u8],
        name: &OsStr,
        live: &Stat,
        staged: Option<&Stat>,
        replaced: bool,
    ) -> Result<Verdict, FilesError> {
        let is_link = FileType::from_raw_mode(live.st_mode) == FileType::Symlink;
        let leads_on = staged.is_some_and(is_folder) || self.folders.below(path).is_some();
        if is_link
            && (leads_on || self.folders.has(path))
            && leads_to_folder(level.live.as_fd(), name)
        {
            let why = "it is a link to a folder, and files are not restored through links; \
                       configure that folder as a filesystem of its own, or remove the link";
            return Err(refused(path, why));
        }
        match staged {
            Some(_) => self.swap(level, path, name, Some(live), true),
            None if replaced && !self.left_out.has(path) => {
                self.swap(level, path, name, Some(live), false)
            }
            None => Ok(Verdict::Stay),
        }
    }

    /// Whether it can be swapped by renames.
    fn swap(
        &self,
        level: &Level,
        path: &[u8],
        name: &OsStr,
        live: Option<&Stat>,
        staged: bool,
    ) -> Result<Verdict, FilesError> {
        if let Some(mount) = self.mounts.below(path) {
            return Err(on_another_volume(mount));
        }
        let writable = |name: &OsStr| {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::accessat(&level.live, name, access, AtFlags::empty())
                .map_err(|errno| refused(path, &format!("the live one cannot be moved: {errno}")))
        };
        writable(OsStr::new("."))?;
        if live.is_some_and(is_folder) {
            // Its `..` changes.
            writable(name)?;
        }
        Ok(Verdict::Swap { staged })
    }

    fn note(&mut self, level: &mut Level) -> Result<(), FilesError> {
        if level.noted {
            return Ok(());
        }
        level.noted = true;
        let stat = rustix::fs::fstat(&level.live).map_err(|errno| failed(&level.path, errno))?;
        let record = Record::Folder {
            path: level.path.clone(),
            seconds: stat.st_mtime,
            nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        };
        self.journal.add(&record).map_err(noting)
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn on_another_volume(path: &[u8]) -> FilesError {
    let why = "it is a mount, and files are swapped by renames within one volume; configure it as a \
               filesystem of its own";
    refused(path, why)
}

fn refused(path: &[u8], message: &str) -> FilesError {
    FilesError::Refused { path: paths::shown(path), message: message.to_owned() }
}

fn noting(error: io::Error) -> FilesError {
    failed(STAGING_FOLDER, error)
}
