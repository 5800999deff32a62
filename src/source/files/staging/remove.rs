//! Removing trees: no link is followed, no other volume entered, however deep they are.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::place::{failed, rename};
use super::steps::Steps;
use crate::source::files::names::Names;
use crate::source::files::{FilesError, beneath};

/// What lies deeper is moved up first: descriptors are few.
const HELD_OPEN: usize = 64;
/// How often a folder that does not get empty is gone through again: others may be writing there.
const TRIES: usize = 100;

/// Removes all that lies in a folder.
pub fn contents(top: BorrowedFd<'_>, steps: &Steps) -> Result<(), FilesError> {
    let device = beneath::stat(top, OsStr::new(".")).map_err(|errno| failed("", errno))?.st_dev;
    let mut removal = Removal { top, device, steps, moved_up: 0, tries: 0 };
    loop {
        let names = Names::read(top).map_err(|errno| failed("", errno))?;
        if names.get(0).is_none() {
            return Ok(());
        }
        let mut next = 0;
        while let Some((name, kind)) = names.get(next) {
            next += 1;
            removal.entry(OsStr::from_bytes(name), kind).map_err(|errno| failed(name, errno))?;
        }
        removal.tried().map_err(|errno| failed("", errno))?;
    }
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    device: u64,
    steps: &'a Steps,
    moved_up: u64,
    tries: usize,
}

struct Level {
    name: OsString,
    fd: OwnedFd,
    names: Names,
    next: usize,
}

impl Removal<'_> {
    fn entry(&mut self, name: &OsStr, kind: FileType) -> Result<(), Errno> {
        let mut chain: Vec<Level> = Vec::new();
        if !self.remove_or_enter(&mut chain, name, kind)? {
            return Ok(());
        }
        while let Some(level) = chain.last_mut() {
            if let Some((name, kind)) = level.names.get(level.next) {
                let name = OsStr::from_bytes(name).to_owned();
                level.next += 1;
                self.remove_or_enter(&mut chain, &name, kind)?;
                continue;
            }
            let Some(done) = chain.pop() else { break };
            let above = chain.last().map_or(self.top, |level| level.fd.as_fd());
            match rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR) {
                Ok(()) => self.steps.step()?,
                Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    self.tried()?;
                    self.remove_or_enter(&mut chain, &done.name, FileType::Directory)?;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// True if it is a folder, which is then the last of the chain.
    fn remove_or_enter(
        &mut self,
        chain: &mut Vec<Level>,
        name: &OsStr,
        kind: FileType,
    ) -> Result<bool, Errno> {
        let at = chain.last().map_or(self.top, |level| level.fd.as_fd());
        let kind = match kind {
            FileType::Unknown => match beneath::stat(at, name) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(errno),
            },
            known => known,
        };
        if kind != FileType::Directory {
            unlink(at, name)?;
            self.steps.step()?;
            return Ok(false);
        }
        if chain.len() >= HELD_OPEN {
            self.move_up(at, name)?;
            return Ok(false);
        }
        let fd = match beneath::folder(at, name) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        if rustix::fs::fstat(&fd)?.st_dev != self.device {
            return Err(Errno::XDEV);
        }
        let names = Names::read(&fd)?;
        chain.push(Level { name: name.to_owned(), fd, names, next: 0 });
        Ok(true)
    }

    /// Its turn comes when the top is gone through again.
    fn move_up(&mut self, at: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        loop {
            self.moved_up += 1;
            let target = OsString::from(format!("deep-{}", self.moved_up));
            match rename((at, name), (self.top, &target)) {
                Err(Errno::EXIST) => {}
                other => {
                    other?;
                    // Progress: only what fills up again counts as a try.
                    self.tries = 0;
                    return self.steps.step();
                }
            }
        }
    }

    fn tried(&mut self) -> Result<(), Errno> {
        self.tries += 1;
        if self.tries > TRIES { Err(Errno::NOTEMPTY) } else { Ok(()) }
    }
}

fn unlink(at: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // A folder that its owner has made read-only.
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(at, Mode::RWXU)?;
            rustix::fs::unlinkat(at, name, AtFlags::empty())
        }
        Err(errno) => Err(errno),
    }
}
