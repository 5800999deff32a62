//! What backups leave out of a live tree: links that lead elsewhere, sockets, names that could lead elsewhere. No
//! archive has it, so no restore takes it away with its folder.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::paths::{self, Paths};
use super::place::failed;
use crate::source::files::local::LocalFolder;
use crate::source::files::mounts::Mount;
use crate::source::files::names::Names;
use crate::source::files::{FilesError, beneath, text};

/// Folders deeper than this are opened anew for each one in them: descriptors are few.
const HELD_OPEN: usize = 64;
/// A volume's own folder in its root, for what its repair finds. Backups have it, but it must not be moved.
const RESCUED: &[u8] = b"lost+found";

pub struct Search<'a> {
    pub folder: &'a LocalFolder,
    pub root: BorrowedFd<'a>,
    /// Where it does not look: what is never moved, and mounts.
    pub kept: &'a Paths,
    pub mounts: &'a Paths,
}

impl Search<'_> {
    /// Adds what is found below a folder, in as little memory as the folder's depth and widths need.
    pub fn below(&self, folder: &[u8], found: &mut Paths) -> Result<(), FilesError> {
        let mut chain = Vec::new();
        chain.extend(self.enter(&chain, folder.to_vec())?);
        while let Some(level) = chain.last_mut() {
            let Some((name, kind)) = level.names.get(level.next) else {
                chain.pop();
                continue;
            };
            level.next += 1;
            let path = paths::join(&level.path, name);
            if self.kept.has(&path) || self.mounts.has(&path) {
                continue;
            }
            match self.judge(&path, kind)? {
                Judged::Folder => {
                    let below = self.enter(&chain, path)?;
                    chain.extend(below);
                }
                Judged::LeftOut => found.add(path),
                Judged::InBackups => {}
            }
        }
        Ok(())
    }

    fn enter(&self, chain: &[Level], path: Vec<u8>) -> Result<Option<Level>, FilesError> {
        let opened = match chain.last().and_then(|above| above.fd.as_ref()) {
            Some(above) => beneath::folder(above.as_fd(), paths::split(&path).1),
            None => beneath::folders(self.root, &paths::names(&path)),
        };
        match opened.and_then(|fd| Ok((Names::read(&fd)?, fd))) {
            Ok((names, fd)) => {
                let fd = (chain.len() < HELD_OPEN).then_some(fd);
                Ok(Some(Level { path, fd, names, next: 0 }))
            }
            // No folder (any more): whoever asked looks at what it is now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    fn judge(&self, path: &[u8], kind: FileType) -> Result<Judged, FilesError> {
        if archive::clean_path(&format!("x/{}", text::of_bytes(path))).is_err() {
            return Ok(Judged::LeftOut);
        }
        let kind = match kind {
            FileType::Unknown => match self.kind(path) {
                Ok(kind) => kind,
                Err(Errno::NOENT) => return Ok(Judged::InBackups),
                Err(errno) => return Err(failed(path, errno)),
            },
            known => known,
        };
        Ok(match kind {
            FileType::Directory if path == RESCUED => Judged::LeftOut,
            FileType::RegularFile => Judged::InBackups,
            FileType::Directory => Judged::Folder,
            // Backups hold the file that such a link leads to.
            FileType::Symlink => match self.folder.through_link(&text::of_bytes(path)) {
                Ok(target) if !self.kept.hold(&text::to_bytes(&target.path)) => Judged::InBackups,
                _ => Judged::LeftOut,
            },
            _ => Judged::LeftOut,
        })
    }

    fn kind(&self, path: &[u8]) -> Result<FileType, Errno> {
        let (folder, name) = paths::split(path);
        let at = beneath::folders(self.root, &paths::names(folder))?;
        Ok(FileType::from_raw_mode(beneath::stat(at.as_fd(), name)?.st_mode))
    }
}

struct Level {
    path: Vec<u8>,
    /// None below [`HELD_OPEN`].
    fd: Option<OwnedFd>,
    names: Names,
    next: usize,
}

enum Judged {
    Folder,
    InBackups,
    LeftOut,
}

/// The mounts below a root, relative to it, as far as the system tells.
pub fn mounts(folder: &LocalFolder) -> Paths {
    let (Ok(root), Ok(table)) =
        (folder.path().canonicalize(), std::fs::read("/proc/self/mountinfo"))
    else {
        return Paths::default();
    };
    let points = Mount::all(&table).into_iter().filter_map(|mount| {
        let below = mount.point.strip_prefix(&root).ok()?.as_os_str().as_bytes().to_vec();
        Some(below).filter(|path| !path.is_empty())
    });
    Paths::new(points)
}

/// Whether a link leads to a folder, wherever that is.
pub fn leads_to_folder(at: BorrowedFd<'_>, name: &OsStr) -> bool {
    let followed = rustix::fs::statat(at, name, rustix::fs::AtFlags::empty());
    followed.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
