//! Staging files in a folder: each is written once, where a rename can later put it in its place.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::TryStreamExt;
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::place::{FOLDER_MODE, NEW, Place, failed};
use super::steps::Steps;
use super::swap::LocalStaged;
use super::{Replaced, plan};
use crate::source::files::local::{LocalFolder, blocking};
use crate::source::files::{Content, FileMeta, FilesError, PIECE, STAGING_FOLDER, beneath, text};
use crate::source::restore::AttemptId;

const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
/// Permissions that a live file's successor inherits; nothing that was staged runs with another's rights.
const FILE_BITS: u32 = 0o777;
const FOLDER_BITS: u32 = 0o3777;
/// How many folders are held open for their next files.
const HELD_OPEN: usize = 128;

pub struct LocalStaging {
    staged: LocalStaged,
    place: Arc<Place>,
    tree: Arc<NewTree>,
}

impl LocalStaging {
    pub async fn create(folder: Arc<LocalFolder>, attempt: AttemptId) -> Result<Self, FilesError> {
        blocking(STAGING_FOLDER.to_owned(), move || {
            let staged = LocalStaged { folder, attempt, steps: Steps::default() };
            staged.clone().roll_back_now()?;
            let place = Place::create(&staged.folder, &staged.attempt)?;
            let tree = NewTree::open(&place)?;
            Ok(Self { staged, place: Arc::new(place), tree: Arc::new(tree) })
        })
        .await
    }

    pub async fn put(&self, file: &FileMeta, content: Content) -> Result<(), FilesError> {
        let (tree, file) = (Arc::clone(&self.tree), file.clone());
        if file.is_directory {
            super::sized(&file, content).try_for_each(|_| async { Ok(()) }).await?;
            return blocking(file.path.clone(), move || tree.put_folder(&file)).await;
        }
        let path = file.path.clone();
        let mut content = super::sized(&file, content);
        let (first, whole) = gathered(&mut content).await?;
        // A small file needs one trip to a blocking thread.
        let open = move || {
            let mut output = tree.create(&file)?;
            write(&mut output, &file, &first)?;
            if whole {
                set_time(&output, &file)?;
            }
            Ok((output, file))
        };
        let (mut output, mut file) = blocking(path.clone(), open).await?;
        if whole {
            return Ok(());
        }
        // The next piece is fetched while this one is written.
        let (mut pieces, mut last) = gathered(&mut content).await?;
        loop {
            let writing = spawn_blocking(move || {
                write(&mut output, &file, &pieces)?;
                if last {
                    set_time(&output, &file)?;
                }
                Ok::<_, FilesError>((output, file))
            });
            let following = match last {
                true => None,
                false => Some(gathered(&mut content).await?),
            };
            let written =
                writing.await.map_err(|error| failed(&path, std::io::Error::other(error)));
            (output, file) = written??;
            match following {
                Some(following) => (pieces, last) = following,
                None => return Ok(()),
            }
        }
    }

    pub async fn ready(self, replaced: Replaced) -> Result<LocalStaged, FilesError> {
        let Self { staged, place, tree } = self;
        drop(tree);
        blocking(STAGING_FOLDER.to_owned(), move || {
            rustix::fs::syncfs(&place.root).map_err(|errno| failed(STAGING_FOLDER, errno))?;
            plan::write(&staged.folder, &place, &replaced)?;
            Ok(staged)
        })
        .await
    }
}

/// Up to a piece of content, and whether it is the end.
async fn gathered(content: &mut Content) -> Result<(Vec<Bytes>, bool), FilesError> {
    let (mut pieces, mut size) = (Vec::new(), 0);
    while let Some(piece) = content.try_next().await? {
        size += piece.len();
        pieces.push(piece);
        if size >= PIECE {
            return Ok((pieces, false));
        }
    }
    Ok((pieces, true))
}

fn write(output: &mut File, file: &FileMeta, pieces: &[Bytes]) -> Result<(), FilesError> {
    let written = pieces.iter().try_for_each(|piece| output.write_all(piece));
    written.map_err(|error| failed(&file.path, error))
}

fn set_time(output: impl AsFd, file: &FileMeta) -> Result<(), FilesError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: file.modified, tv_nsec: 0 },
    };
    rustix::fs::futimens(output, &times).map_err(|errno| failed(&file.path, errno))
}

/// What is staged, and the live tree that it is modelled on.
struct NewTree {
    top: Arc<Pair>,
    /// Who owns what is new: the root's owner, if we may give things away.
    owner: Option<(u32, u32)>,
    open: Mutex<HashMap<String, Arc<Pair>>>,
}

/// A staged folder and the live one of the same path.
struct Pair {
    staged: OwnedFd,
    live: Option<OwnedFd>,
}

impl NewTree {
    fn open(place: &Place) -> Result<Self, FilesError> {
        let live = beneath::folder(place.root.as_fd(), OsStr::new("."));
        let stat = rustix::fs::fstat(&place.root);
        let (live, stat) = live.and_then(|live| Ok((live, stat?))).map_err(|e| failed("", e))?;
        let owner = rustix::process::geteuid().is_root().then_some((stat.st_uid, stat.st_gid));
        let top = Arc::new(Pair { staged: place.part(NEW)?, live: Some(live) });
        Ok(Self { top, owner, open: Mutex::default() })
    }

    /// The folder of a path, made with those above it where it is missing.
    fn folder(&self, path: &str) -> Result<Arc<Pair>, FilesError> {
        let (mut at, mut end) = self.nearest(path);
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            end = path[start..].find('/').map_or(path.len(), |length| start + length);
            let made = self.folder_in(&at, &text::to_name(&path[start..end]));
            at = Arc::new(made.map_err(|errno| conflict(&path[..end], errno))?);
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.len() >= HELD_OPEN {
                open.clear();
            }
            open.insert(path[..end].to_owned(), Arc::clone(&at));
        }
        Ok(at)
    }

    /// The deepest folder on a path that is open, and the length of its part of the path.
    fn nearest(&self, path: &str) -> (Arc<Pair>, usize) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut above = path;
        while !above.is_empty() {
            if let Some(found) = open.get(above) {
                return (Arc::clone(found), above.len());
            }
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
        (Arc::clone(&self.top), 0)
    }

    fn folder_in(&self, at: &Pair, name: &OsStr) -> Result<Pair, Errno> {
        let live = at.live.as_ref().and_then(|live| beneath::folder(live.as_fd(), name).ok());
        let made = match rustix::fs::mkdirat(&at.staged, name, FOLDER_MODE) {
            Err(Errno::EXIST) => false,
            other => other.map(|()| true)?,
        };
        let staged = beneath::folder(at.staged.as_fd(), name)?;
        if made {
            let like = live.as_ref().map(rustix::fs::fstat).transpose()?;
            self.dress(&staged, like.as_ref(), FOLDER_BITS)?;
        }
        Ok(Pair { staged, live })
    }

    /// Gives something new the owner and the permissions of what it replaces.
    fn dress(&self, new: impl AsFd, like: Option<&Stat>, bits: u32) -> Result<(), Errno> {
        if let Some(root) = self.owner {
            let (user, group) = like.map_or(root, |like| (like.st_uid, like.st_gid));
            if (user, group) != (0, 0) {
                let (user, group) =
                    (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
                rustix::fs::fchown(&new, Some(user), Some(group))?;
            }
        }
        match like {
            Some(like) => rustix::fs::fchmod(new, Mode::from_raw_mode(like.st_mode & bits)),
            None => Ok(()),
        }
    }

    fn create(&self, file: &FileMeta) -> Result<File, FilesError> {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let folder = self.folder(folder)?;
        let name = text::to_name(name);
        let opened = self.create_in(&folder, &name).map_err(|errno| conflict(&file.path, errno))?;
        if file.size > PIECE as u64 {
            // It is known at once that there is no space; and the file lies in one piece.
            let allocated = rustix::fs::fallocate(&opened, FallocateFlags::empty(), 0, file.size);
            if let Err(errno @ (Errno::NOSPC | Errno::FBIG | Errno::DQUOT)) = allocated {
                return Err(failed(&file.path, errno));
            }
        }
        Ok(File::from(opened))
    }

    fn create_in(&self, folder: &Pair, name: &OsStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&folder.staged, name, flags, FILE_MODE);
        let opened = loop {
            match create() {
                // A second file of a path replaces the first, which may still be being written.
                Err(Errno::EXIST) => {
                    match rustix::fs::unlinkat(&folder.staged, name, AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                other => break other?,
            }
        };
        let like = folder.live.as_ref().and_then(|live| beneath::stat(live.as_fd(), name).ok());
        let like =
            like.filter(|like| FileType::from_raw_mode(like.st_mode) == FileType::RegularFile);
        self.dress(&opened, like.as_ref(), FILE_BITS)?;
        Ok(opened)
    }

    fn put_folder(&self, file: &FileMeta) -> Result<(), FilesError> {
        let folder = self.folder(&file.path)?;
        set_time(&folder.staged, file)
    }
}

fn conflict(path: &str, errno: Errno) -> FilesError {
    match errno {
        Errno::ISDIR | Errno::NOTDIR | Errno::LOOP => FilesError::Refused {
            path: path.to_owned(),
            message: "the archive has a file and a folder of this name".to_owned(),
        },
        other => failed(path, other),
    }
}
