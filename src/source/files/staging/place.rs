//! The folder `.portal-backup/{attempt}` under the root of a filesystem: `new` holds what is staged, `old` what was
//! live, `late` what others put in the way of a rename, and files beside them say how far it went.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::paths;
use super::remove;
use super::steps::Steps;
use crate::source::files::local::LocalFolder;
use crate::source::files::{FilesError, STAGING_FOLDER, beneath};
use crate::source::restore::AttemptId;

pub const NEW: &str = "new";
pub const OLD: &str = "old";
pub const LATE: &str = "late";
/// A file that says that the swap is complete.
pub const SWAPPED: &str = "swapped";

/// Nobody else needs to see what is staged before it is live.
const PRIVATE: Mode = Mode::RWXU;
/// Of folders that are made; the umask may take some of it.
pub const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
/// How often to begin anew when others make or remove the same folders.
const TRIES: usize = 100;

pub struct Place {
    pub root: OwnedFd,
    /// `.portal-backup/{attempt}`
    pub folder: OwnedFd,
}

impl Place {
    /// None when there is nothing (any more).
    pub fn open(folder: &LocalFolder, attempt: &AttemptId) -> Result<Option<Self>, FilesError> {
        let opened = beneath::root(folder.path()).and_then(|root| {
            let folder = beneath::folders(root.as_fd(), &[STAGING_FOLDER, attempt.as_str()])?;
            Ok(Self { root, folder })
        });
        match opened {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(STAGING_FOLDER, errno)),
        }
    }

    /// Makes it, empty, and the root too where there is none.
    pub fn create(folder: &LocalFolder, attempt: &AttemptId) -> Result<Self, FilesError> {
        std::fs::create_dir_all(folder.path()).map_err(|error| failed("", error))?;
        let root = beneath::root(folder.path()).map_err(|errno| failed("", errno))?;
        let made = again_if_missing(|| {
            let staging = make(root.as_fd(), OsStr::new(STAGING_FOLDER), PRIVATE)?;
            let folder = make(staging.as_fd(), OsStr::new(attempt.as_str()), PRIVATE)?;
            for part in [NEW, OLD, LATE] {
                make(folder.as_fd(), OsStr::new(part), PRIVATE)?;
            }
            Ok(folder)
        });
        let folder = made.map_err(|errno| failed(STAGING_FOLDER, errno))?;
        Ok(Self { root, folder })
    }

    /// Waits until no one else is at work here, be it another process. The lock ends with the handles.
    pub fn lock(&self) {
        // Some network volumes have no locks; there one worker at a time has to be enough.
        while rustix::fs::flock(&self.folder, FlockOperation::LockExclusive) == Err(Errno::INTR) {}
    }

    /// One of its folders.
    pub fn part(&self, name: &str) -> Result<OwnedFd, FilesError> {
        beneath::folder(self.folder.as_fd(), OsStr::new(name)).map_err(|errno| failed(name, errno))
    }

    pub fn is_swapped(&self) -> bool {
        beneath::stat(self.folder.as_fd(), OsStr::new(SWAPPED)).is_ok()
    }

    /// Notes that the swap is complete, after it is on disc.
    pub fn set_swapped(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.root)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, SWAPPED, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fsync(&self.folder)
    }

    /// Withdraws that note.
    pub fn unset_swapped(&self) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.folder, SWAPPED, AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&self.folder),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Removes `.portal-backup` if it is there and empty.
    pub fn tidy(folder: &LocalFolder) -> Result<(), FilesError> {
        let removed = beneath::root(folder.path())
            .and_then(|root| rustix::fs::unlinkat(root, STAGING_FOLDER, AtFlags::REMOVEDIR));
        match removed {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed(STAGING_FOLDER, errno)),
        }
    }

    /// Removes all of it, and `.portal-backup` if that is empty then.
    pub fn remove(
        self,
        folder: &LocalFolder,
        attempt: &AttemptId,
        steps: &Steps,
    ) -> Result<(), FilesError> {
        remove::contents(self.folder.as_fd(), steps)?;
        let failed = |errno| failed(STAGING_FOLDER, errno);
        let staging = match beneath::folder(self.root.as_fd(), OsStr::new(STAGING_FOLDER)) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failed)?,
        };
        match rustix::fs::unlinkat(&staging, attempt.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) => steps.step().map_err(failed)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        Self::tidy(folder)
    }
}

/// Tries whether something can be made under a root, and leaves nothing. A root that is not there yet is judged by the
/// folder that it would be made in.
pub fn check_writable(folder: &LocalFolder) -> Result<(), FilesError> {
    let root = match beneath::root(folder.path()) {
        Err(Errno::NOENT) => {
            let above = folder.nearest_existing();
            return rustix::fs::accessat(
                rustix::fs::CWD,
                above,
                rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
                AtFlags::empty(),
            )
            .map_err(|errno| failed("", errno));
        }
        other => other.map_err(|errno| failed("", errno))?,
    };
    let name = format!("check-{}", uuid::Uuid::new_v4().simple());
    let tried = again_if_missing(|| {
        let staging = make(root.as_fd(), OsStr::new(STAGING_FOLDER), PRIVATE)?;
        make(staging.as_fd(), OsStr::new(&name), PRIVATE)?;
        rustix::fs::unlinkat(&staging, &name, AtFlags::REMOVEDIR)
    });
    let tidied = Place::tidy(folder);
    tried.map_err(|errno| failed(STAGING_FOLDER, errno)).and(tidied)
}

/// Opens a folder, which is made if it is missing.
pub fn make(at: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => beneath::folder(at, name),
        Err(errno) => Err(errno),
    }
}

/// Others may remove the empty `.portal-backup` between two steps here.
fn again_if_missing<T>(mut work: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..TRIES {
        match work() {
            Err(Errno::NOENT) => {}
            other => return other,
        }
    }
    work()
}

/// Renames only onto nothing: `EXIST` when something is there.
pub fn rename(
    (from, name): (BorrowedFd<'_>, &OsStr),
    (to, new_name): (BorrowedFd<'_>, &OsStr),
) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
        // Volumes that do not know the flag, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match beneath::stat(to, new_name) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new_name),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}

/// One tree by its root, with the folder that was needed last held open: neighbours follow each other.
pub struct Tree {
    root: OwnedFd,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// The folder of a path below the root. None when it is missing; if `make_it`, it is made.
    pub fn folder(&mut self, path: &[u8], make_it: bool) -> Result<Option<BorrowedFd<'_>>, Errno> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let names = paths::names(path);
            let root = self.root.as_fd();
            let opened = match beneath::folders(root, &names) {
                Err(Errno::NOENT) if make_it => {
                    let mut at = beneath::folder(root, OsStr::new("."))?;
                    for name in names {
                        at = make(at.as_fd(), name, FOLDER_MODE)?;
                    }
                    at
                }
                Err(Errno::NOENT) => return Ok(None),
                other => other?,
            };
            self.last = Some((path.to_vec(), opened));
        }
        Ok(self.last.as_ref().map(|(_, fd)| fd.as_fd()))
    }
}

/// What went wrong, in words that help.
pub fn failed(path: impl AsRef<[u8]>, error: impl Into<io::Error>) -> FilesError {
    let error = error.into();
    let message = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => "no space is left on its volume".to_owned(),
        Some(Errno::DQUOT) => "the quota of its volume is used up".to_owned(),
        Some(Errno::NAMETOOLONG) => "its name is longer than the volume allows".to_owned(),
        Some(Errno::LOOP | Errno::NOTDIR) => "a folder on its way is none, or is a link".to_owned(),
        Some(Errno::XDEV) => {
            "it lies on another volume, or in a lower layer of an overlay".to_owned()
        }
        Some(Errno::BUSY) => "it is in use by the system, such as by a mount".to_owned(),
        _ => error.to_string(),
    };
    FilesError::Write { path: paths::shown(path.as_ref()), message }
}
