//! Opening what lies beneath a folder, never following a link on the way: what was a folder when it
//! was listed may be a link out of the root by the time it is opened.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::RDONLY);
/// `NONBLOCK`: a pipe put in a file's place must not stop us. `NOCTTY`: nor may a terminal take us.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Opens the root. Links are followed: it is what the configuration names.
pub fn root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, FOLDER, Mode::empty())
}

/// Opens a folder in a folder.
pub fn folder(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

/// Opens a folder by its names from another one on.
pub fn folders(at: BorrowedFd<'_>, names: &[impl AsRef<OsStr>]) -> Result<OwnedFd, Errno> {
    let mut current = None::<OwnedFd>;
    for name in names {
        let at = current.as_ref().map_or(at, |fd| fd.as_fd());
        current = Some(folder(at, name.as_ref())?);
    }
    match current {
        Some(fd) => Ok(fd),
        None => folder(at, OsStr::new(".")),
    }
}

/// Opens a folder in a folder, also by a link that root or the user whom we run as has made: nobody else decides what
/// we read. A link that leads to no folder is an error of its own, never a missing folder.
pub fn linked_folder(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match folder(at, name) {
        Err(Errno::LOOP | Errno::NOTDIR) => {}
        other => return other,
    }
    let itself = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = rustix::fs::openat(at, name, itself, Mode::empty())?;
    let stat = rustix::fs::fstat(&link)?;
    let ours = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink || !ours {
        return Err(Errno::LOOP);
    }
    // Of the very link that was looked at.
    let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
    rustix::fs::openat(at, target, FOLDER, Mode::empty()).map_err(|_| Errno::LOOP)
}

/// What a name stands for, without following a link.
pub fn stat(at: BorrowedFd<'_>, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a regular file; anything else is not opened at all, because opening a device may do something.
pub fn file(at: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, Stat), NotAFile> {
    match FileType::from_raw_mode(stat(at, name)?.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(NotAFile::Link),
        other => return Err(NotAFile::Other(other)),
    }
    let fd = rustix::fs::openat(at, name, FILE, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => NotAFile::Link,
        other => NotAFile::System(other),
    })?;
    let stat = rustix::fs::fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((fd, stat)),
        other => Err(NotAFile::Other(other)),
    }
}

/// Why something was not opened as a file.
#[derive(Debug)]
pub enum NotAFile {
    Link,
    Other(FileType),
    System(Errno),
}

impl From<Errno> for NotAFile {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// How a sentence calls a kind of thing that is no file.
pub fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Socket => "a socket",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        _ => "no regular file",
    }
}
