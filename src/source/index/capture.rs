//! Capturing a tree of folders. All of it are blocking calls.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::lucene::{self, Commit, Role};
use super::place::Place;
use super::{Capture, Captured, IndexError, failed};
use crate::source::files::beneath::{self, NotAFile};
use crate::source::files::{FileMeta, STAGING_FOLDER};

/// How long one folder's commit point may keep moving.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a tree that has more than commits is captured.
const TREE_TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);
const PIECE: usize = 1 << 20;
/// A file that was written to so shortly ago may be written to again without its time showing it: clocks of volumes
/// tick some 4 milliseconds.
const FRESH: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(10);
/// A commit point without a checksum is taken for complete when nobody has written to it for so long.
const SETTLED: Duration = Duration::from_secs(1);

/// What tells that a file was written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    number: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        Self {
            number: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        }
    }

    /// In nanoseconds since 1970.
    fn modified(self) -> i128 {
        i128::from(self.modified.0) * 1_000_000_000 + i128::from(self.modified.1)
    }

    fn is_fresh(self) -> bool {
        self.is_younger(FRESH)
    }

    fn is_younger(self, age: Duration) -> bool {
        let now = jiff::Timestamp::now().as_nanosecond();
        now.abs_diff(self.modified()) < age.as_nanos()
    }

    pub fn is_of(self, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|meta| {
            self == Self {
                number: meta.ino(),
                size: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
            }
        })
    }
}

/// Whether an index's folder is there.
pub fn check(root: &Path) -> Result<(), IndexError> {
    match beneath::root(root) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => Err(IndexError::Missing(root.display().to_string())),
        Err(errno) => Err(failed(root.display().to_string(), errno)),
    }
}

/// The folder of the one index in use, relative to the root.
pub fn current(root: &Path) -> Result<String, IndexError> {
    check(root)?;
    let at = beneath::root(root).map_err(|errno| failed("", errno))?;
    let names = Names::read(&at).map_err(|errno| failed("", errno))?;
    if names.files().any(|name| lucene::generation(name).is_some()) {
        return Ok(String::new());
    }
    let numbered = names.folders().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let newest = numbered.max_by_key(|name| (name.len(), name.to_string()));
    Ok(newest.map(str::to_owned).unwrap_or_default())
}

/// Captures a tree. Errors with [`IndexError::Unsteady`] when it never holds still.
pub fn tree(
    root: &Path,
    excluded: Vec<String>,
    place: Place,
    stop: &CancellationToken,
) -> Result<Capture, IndexError> {
    for tried in 1.. {
        let before = survey(root, &excluded)?;
        let mut work = Work { root, excluded: &excluded, place: &place, stop, files: Vec::new() };
        let captured =
            before.folders.iter().try_for_each(|(path, folder)| work.folder(path, folder));
        match captured {
            Ok(()) if survey(root, &excluded)? == before => {
                let (files, mut warnings) = (work.files, before.skipped);
                warnings.sort();
                return Ok(Capture { place, files, warnings });
            }
            Ok(()) | Err(Trouble::Moved | Trouble::Gone) => {}
            Err(Trouble::Failed(error)) => return Err(error),
        }
        if tried == TREE_TRIES {
            break;
        }
        empty(place.path())?;
        pause(stop, PAUSE * tried)?;
    }
    Err(IndexError::Unsteady(root.display().to_string()))
}

fn empty(folder: &Path) -> Result<(), IndexError> {
    let removed = std::fs::read_dir(folder).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    });
    removed.map_err(|error| failed(folder.display().to_string(), error))
}

fn pause(stop: &CancellationToken, time: Duration) -> Result<(), IndexError> {
    std::thread::sleep(time.min(Duration::from_millis(200)));
    if stop.is_cancelled() { Err(IndexError::Stopped) } else { Ok(()) }
}

/// The names in a folder.
struct Names(Vec<(Vec<u8>, FileType)>);

impl Names {
    fn read(at: impl AsFd) -> Result<Self, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(at.as_fd())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                let kind = match entry.file_type() {
                    FileType::Unknown => match beneath::stat(at.as_fd(), name_of(name)) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno),
                    },
                    known => known,
                };
                names.push((name.to_vec(), kind));
            }
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Self(names))
    }

    fn of_kind(&self, kind: FileType) -> impl Iterator<Item = &str> {
        let known = self.0.iter().filter(move |(_, known)| *known == kind);
        known.filter_map(|(name, _)| str::from_utf8(name).ok())
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        self.of_kind(FileType::RegularFile)
    }

    fn folders(&self) -> impl Iterator<Item = &str> {
        self.of_kind(FileType::Directory).filter(|name| *name != STAGING_FOLDER)
    }
}

fn name_of(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// What must be the same before and after.
#[derive(Debug, Default, PartialEq, Eq)]
struct Survey {
    folders: BTreeMap<String, Folder>,
    skipped: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Folder {
    /// It has commit points: they tell by themselves what belongs together.
    Commits,
    Plain {
        files: BTreeMap<String, Seen>,
        modified: i64,
        folders: usize,
    },
}

fn survey(root: &Path, excluded: &[String]) -> Result<Survey, IndexError> {
    let mut survey = Survey::default();
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let opened = beneath::root(root).and_then(|root| {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let at = beneath::folders(root.as_fd(), &parts)?;
            Ok((Names::read(&at)?, rustix::fs::fstat(&at)?, at))
        });
        let (names, stat, at) = match opened {
            Err(Errno::NOENT) if path.is_empty() => {
                return Err(IndexError::Missing(root.display().to_string()));
            }
            // Removed since its name was read; the second look tells.
            Err(Errno::NOENT) => continue,
            other => other.map_err(|errno| failed(&path, errno))?,
        };
        let full =
            |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let wanted = |name: &&str| !excluded.contains(&full(name));
        for (name, kind) in &names.0 {
            let what = match (str::from_utf8(name), *kind) {
                (Err(_), _) => "its name is no text",
                (_, FileType::RegularFile | FileType::Directory) => continue,
                (_, kind) => beneath::kind(kind),
            };
            let name = String::from_utf8_lossy(name);
            survey.skipped.push(format!("{:?} was left out: {what}", full(&name)));
        }
        let below: Vec<_> = names.folders().filter(wanted).map(full).collect();
        let folders = below.len();
        waiting.extend(below);
        let folder = match names.files().any(|name| lucene::generation(name).is_some()) {
            true => Folder::Commits,
            false => {
                let mut files = BTreeMap::new();
                for name in names.files().filter(wanted) {
                    match beneath::stat(at.as_fd(), OsStr::new(name)) {
                        Ok(stat) => files.insert(name.to_owned(), Seen::of(&stat)),
                        Err(Errno::NOENT) => None,
                        Err(errno) => return Err(failed(full(name), errno)),
                    };
                }
                Folder::Plain { files, modified: stat.st_mtime, folders }
            }
        };
        survey.folders.insert(path, folder);
    }
    Ok(survey)
}

enum Trouble {
    /// Others were at work there: to be tried again.
    Moved,
    /// The folder is no longer what it was: the tree is to be looked at again.
    Gone,
    Failed(IndexError),
}

impl From<IndexError> for Trouble {
    fn from(error: IndexError) -> Self {
        Self::Failed(error)
    }
}

/// One try at a tree.
struct Work<'a> {
    root: &'a Path,
    excluded: &'a [String],
    place: &'a Place,
    stop: &'a CancellationToken,
    files: Vec<Captured>,
}

impl Work<'_> {
    fn folder(&mut self, path: &str, folder: &Folder) -> Result<(), Trouble> {
        let into = self.place.path().join(path);
        std::fs::create_dir_all(&into).map_err(|error| failed(path, error))?;
        let opened = beneath::root(self.root).and_then(|root| {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            beneath::folders(root.as_fd(), &parts)
        });
        let from = match opened {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(Trouble::Moved),
            other => other.map_err(|errno| failed(path, errno))?,
        };
        let mut one = One { work: self, path, from, into };
        match folder {
            Folder::Commits => one.newest_commit(),
            Folder::Plain { files, modified, folders } => {
                let is_empty = files.is_empty() && *folders == 0 && !path.is_empty();
                for name in files.keys() {
                    one.copied(name)?;
                }
                if is_empty {
                    one.empty_folder(*modified)?;
                }
                Ok(())
            }
        }
    }
}

/// One folder of a tree.
struct One<'w, 'a> {
    work: &'w mut Work<'a>,
    path: &'w str,
    from: OwnedFd,
    into: PathBuf,
}

impl One<'_, '_> {
    fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn failed(&self, name: &str, error: impl Into<std::io::Error>) -> Trouble {
        Trouble::Failed(failed(self.full(name), error))
    }

    fn newest_commit(&mut self) -> Result<(), Trouble> {
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

    fn empty_folder(&mut self, modified: i64) -> Result<(), Trouble> {
        let path = self.path.to_owned();
        let stat = rustix::fs::stat(&self.into).map_err(|errno| self.failed("", errno))?;
        let meta = FileMeta { path, size: 0, modified, is_directory: true, version: None };
        self.work.files.push(Captured { meta, seen: Seen::of(&stat), linked: false });
        Ok(())
    }

    /// Copies what may be written to at any time.
    fn copied(&mut self, name: &str) -> Result<(), Trouble> {
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
