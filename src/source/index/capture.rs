//! Capturing a tree of folders. All of it are blocking calls.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use folder::One;
use survey::{Folder, Names, survey};

use super::lucene;
use super::place::Place;
use super::{Capture, Captured, IndexError, failed};
use crate::source::files::beneath;

mod folder;
mod survey;

pub use survey::Seen;

/// How often a tree that has more than commits is captured.
const TREE_TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

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
