//! What lies in a tree of folders, and whether it is still the same.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::super::{IndexError, failed, lucene};
use crate::source::files::STAGING_FOLDER;
use crate::source::files::beneath;

/// A file that was written to so shortly ago may be written to again without its time showing it: clocks of volumes
/// tick some 4 milliseconds.
const FRESH: Duration = Duration::from_millis(50);

/// What tells that a file was written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    number: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Seen {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            number: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        }
    }

    /// In nanoseconds since 1970.
    pub(super) fn modified(self) -> i128 {
        i128::from(self.modified.0) * 1_000_000_000 + i128::from(self.modified.1)
    }

    pub(super) fn is_fresh(self) -> bool {
        self.is_younger(FRESH)
    }

    pub(super) fn is_younger(self, age: Duration) -> bool {
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

/// The names in a folder.
pub(super) struct Names(Vec<(Vec<u8>, FileType)>);

impl Names {
    pub fn read(at: impl AsFd) -> Result<Self, Errno> {
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

    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.of_kind(FileType::RegularFile)
    }

    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.of_kind(FileType::Directory).filter(|name| *name != STAGING_FOLDER)
    }
}

fn name_of(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// What must be the same before and after.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub folders: BTreeMap<String, Folder>,
    pub skipped: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// It has commit points: they tell by themselves what belongs together.
    Commits,
    Plain {
        files: BTreeMap<String, Seen>,
        modified: i64,
        folders: usize,
    },
}

pub(super) fn survey(root: &Path, excluded: &[String]) -> Result<Survey, IndexError> {
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
