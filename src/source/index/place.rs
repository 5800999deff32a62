//! Where an index is captured: a private folder `.portal-backup/capture-…` in its own, so that its files can be linked,
//! or a folder for temporary files where that is not possible. Whoever captures holds a lock on it, so that what
//! killed processes left is told from what is in use.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{IndexError, failed};
use crate::source::files::STAGING_FOLDER;

const CAPTURE: &str = "capture-";
const TEMPORARY: &str = "portal-backup-index-";
/// How often to begin anew when others sweep what was only just made.
const TRIES: usize = 100;

/// The folder; dropping it removes it.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Whether it lies in the index, so that links may be possible.
    pub beside: bool,
    /// Locked as long as the place is in use.
    _lock: File,
}

impl Place {
    pub fn create(root: &Path, temp: &Path) -> Result<Self, IndexError> {
        // Capturing must not make a root that is not there.
        super::capture::check(root)?;
        let beside = root.join(STAGING_FOLDER);
        if let Ok((path, lock)) = create(&beside, CAPTURE, true) {
            return Ok(Self { path, beside: true, _lock: lock });
        }
        let _ = std::fs::remove_dir(&beside);
        let (path, lock) = create(temp, TEMPORARY, false)
            .map_err(|error| failed(temp.display().to_string(), error))?;
        Ok(Self { path, beside: false, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn create(above: &Path, prefix: &str, make_above: bool) -> io::Result<(PathBuf, File)> {
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700);
    for _ in 0..TRIES {
        if make_above {
            match private.create(above) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let name = &uuid::Uuid::new_v4().simple().to_string()[..16];
        let path = above.join(format!("{prefix}{name}"));
        match private.create(&path).and_then(|()| File::open(&path)) {
            Ok(lock) => {
                // Volumes without locks are swept by nobody.
                let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
                if locked != Err(Errno::WOULDBLOCK) && is_same(&lock, &path) {
                    return Ok((path, lock));
                }
            }
            // Others sweep it before it is locked, and remove the folder above when it is empty.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && above.parent().is_some_and(Path::exists) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("others keep removing it"))
}

fn is_same(lock: &File, path: &Path) -> bool {
    let number =
        |meta: io::Result<std::fs::Metadata>| meta.ok().map(|meta| (meta.dev(), meta.ino()));
    number(lock.metadata()).is_some() && number(lock.metadata()) == number(path.symlink_metadata())
}

/// Removes the places that nobody holds.
pub fn sweep(root: &Path, temp: &Path) {
    let beside = root.join(STAGING_FOLDER);
    for (above, prefix) in [(beside.as_path(), CAPTURE), (temp, TEMPORARY)] {
        let Ok(entries) = std::fs::read_dir(above) else { continue };
        for entry in entries.flatten() {
            let is_place = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_place || !is_folder {
                continue;
            }
            let Some(_lock) = lock_dead(&entry.path()) else { continue };
            tracing::info!(folder = %entry.path().display(), "removing what a killed copy of an index left");
            remove(&entry.path());
        }
    }
}

/// Takes the lock of a place of ours that nobody holds.
fn lock_dead(path: &Path) -> Option<File> {
    let own = rustix::process::geteuid().as_raw();
    let folder = File::open(path).ok()?;
    folder.metadata().ok().filter(|meta| meta.uid() == own)?;
    rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(folder)
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %path.display(), %error, "the copy of an index could not be removed; it will be tried again");
    }
    if let Some(above) = path.parent().filter(|above| above.ends_with(STAGING_FOLDER)) {
        // Only if it is empty.
        let _ = std::fs::remove_dir(above);
    }
}
