//! The walk through a folder tree: one folder after another, names sorted. What it keeps in memory
//! is the chain of folders it is in, each with its names packed, never the tree.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::beneath;
use super::local::LocalFolder;
use super::{Excluded, FileMeta, FilesError, Listed, parts, quoted};

/// Folders deeper than this are opened anew when the walk comes back to them: descriptors are few.
const HELD_OPEN: usize = 64;

/// Takes what the walk finds; false ends it.
pub type Emit<'a> = &'a mut dyn FnMut(Result<Listed, FilesError>) -> bool;

pub struct Walk<'a> {
    folder: &'a LocalFolder,
    root: OwnedFd,
    excluded: &'a Excluded,
    emit: Emit<'a>,
    chain: Vec<Frame>,
}

/// A folder of the chain.
struct Frame {
    path: String,
    /// None below `HELD_OPEN`.
    fd: Option<OwnedFd>,
    modified: i64,
    names: Names,
    next: usize,
    /// Whether anything below was listed; if not, the folder is listed itself.
    listed: bool,
}

/// The names of a folder, sorted, in one buffer: some 8 bytes a name beside the name.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    items: Vec<(u32, u16, FileType)>,
}

impl Names {
    fn read(fd: &OwnedFd) -> Result<Self, Errno> {
        let mut names = Self::default();
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let at = u32::try_from(names.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
            let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
            names.bytes.extend_from_slice(name);
            names.items.push((at, length, entry.file_type()));
        }
        let Self { bytes, items } = &mut names;
        items.sort_unstable_by_key(|&(at, length, _)| name_at(bytes, at, length));
        Ok(names)
    }

    fn get(&self, position: usize) -> Option<(&[u8], FileType)> {
        let &(at, length, file_type) = self.items.get(position)?;
        Some((name_at(&self.bytes, at, length), file_type))
    }
}

fn name_at(bytes: &[u8], at: u32, length: u16) -> &[u8] {
    &bytes[at as usize..at as usize + length as usize]
}

/// The walk has no one left to tell.
struct Ended;

impl<'a> Walk<'a> {
    /// Walks what is below `prefix`. A missing prefix yields nothing.
    pub fn run(folder: &'a LocalFolder, prefix: &str, excluded: &'a Excluded, emit: Emit<'a>) {
        let root = match folder.open_root() {
            Ok(root) => root,
            Err(error) => {
                emit(Err(error));
                return;
            }
        };
        let mut walk = Self { folder, root, excluded, emit, chain: Vec::new() };
        let _ = walk.all(prefix);
    }

    fn all(&mut self, prefix: &str) -> Result<(), Ended> {
        let Some(names) = parts(prefix) else {
            return self.read_error(prefix, "it leads out of the root");
        };
        let path = names.join("/");
        if self.excluded.contains(&path) {
            return Ok(());
        }
        match beneath::folders(self.root.as_fd(), &names) {
            Ok(fd) => self.enter(path, fd)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR) => return self.no_folder(&names),
            Err(errno) => return self.read_error(&path, &errno.to_string()),
        }
        while !self.chain.is_empty() {
            self.step()?;
        }
        Ok(())
    }

    /// One part of a prefix is no folder. An error, not a warning: a whole branch would be missing.
    fn no_folder(&mut self, names: &[&str]) -> Result<(), Ended> {
        for count in 1..=names.len() {
            let Ok(parent) = beneath::folders(self.root.as_fd(), &names[..count - 1]) else {
                break;
            };
            let found = beneath::stat(parent.as_fd(), OsStr::new(names[count - 1]));
            let Ok(stat) = found else { break };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind != FileType::Directory {
                let what = beneath::kind(kind);
                return self.read_error(
                    &names[..count].join("/"),
                    &format!("it is {what}, and only folders are walked through"),
                );
            }
        }
        Ok(())
    }

    /// Handles the next name of the deepest folder, or leaves the folder.
    fn step(&mut self) -> Result<(), Ended> {
        let depth = self.chain.len() - 1;
        let frame = &mut self.chain[depth];
        let Some((name, file_type)) = frame.names.get(frame.next) else {
            return self.leave();
        };
        frame.next += 1;
        let Ok(text) = str::from_utf8(name) else {
            let path = join(&frame.path, &String::from_utf8_lossy(name));
            return self
                .skip(format!("{} was left out: its name is not UTF-8 text", quoted(&path)));
        };
        let path = join(&frame.path, text);
        let name = OsStr::from_bytes(name).to_owned();
        if self.excluded.contains(&path) {
            return Ok(());
        }
        let at = match self.open(depth) {
            Ok(at) => at,
            Err(errno) => return self.failed(&path, errno),
        };
        let at = at.as_ref().unwrap_or_else(|held| held);
        if file_type == FileType::Directory {
            return match beneath::folder(at.as_fd(), &name) {
                Ok(fd) => self.enter(path, fd),
                Err(errno) => self.failed(&path, errno),
            };
        }
        let stat = match beneath::stat(at.as_fd(), &name) {
            Ok(stat) => stat,
            Err(errno) => return self.failed(&path, errno),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.list(meta(path, &stat)),
            // Only where the system does not tell kinds apart while listing, or it just became one.
            FileType::Directory => match beneath::folder(at.as_fd(), &name) {
                Ok(fd) => self.enter(path, fd),
                Err(errno) => self.failed(&path, errno),
            },
            FileType::Symlink => match self.folder.through_link(&path) {
                Ok(target) if self.excluded.contains(&target.path) => self.skip(format!(
                    "{} is a link to {}, which is no part of the backup",
                    quoted(&path),
                    quoted(&target.path)
                )),
                Ok(target) => self.list(FileMeta { path, ..target }),
                Err(why) => {
                    self.skip(format!("{} is a link {why}, and was left out", quoted(&path)))
                }
            },
            other => {
                self.skip(format!("{} is {} and was left out", quoted(&path), beneath::kind(other)))
            }
        }
    }

    fn enter(&mut self, path: String, fd: OwnedFd) -> Result<(), Ended> {
        let read = rustix::fs::fstat(&fd).and_then(|stat| Ok((stat, Names::read(&fd)?)));
        match read {
            Ok((stat, names)) => {
                let fd = (self.chain.len() < HELD_OPEN).then_some(fd);
                let modified = stat.st_mtime as i64;
                self.chain.push(Frame { path, fd, modified, names, next: 0, listed: false });
                Ok(())
            }
            Err(errno) => self.failed(&path, errno),
        }
    }

    fn leave(&mut self) -> Result<(), Ended> {
        let Some(frame) = self.chain.pop() else { return Ok(()) };
        let above = self.chain.last_mut();
        if frame.listed {
            if let Some(above) = above {
                above.listed = true;
            }
            return Ok(());
        }
        if frame.path.is_empty() {
            return Ok(());
        }
        self.list(FileMeta {
            path: frame.path,
            size: 0,
            modified: frame.modified,
            is_directory: true,
        })
    }

    /// The descriptor of a folder of the chain: its own (`Err`), or one opened for the moment (`Ok`).
    #[allow(clippy::type_complexity)]
    fn open(&self, depth: usize) -> Result<Result<OwnedFd, &OwnedFd>, Errno> {
        if let Some(fd) = &self.chain[depth].fd {
            return Ok(Err(fd));
        }
        let names = parts(&self.chain[depth].path).unwrap_or_default();
        beneath::folders(self.root.as_fd(), &names).map(Ok)
    }

    fn list(&mut self, file: FileMeta) -> Result<(), Ended> {
        if let Some(frame) = self.chain.last_mut() {
            frame.listed = true;
        }
        self.send(Ok(Listed::File(file)))
    }

    fn skip(&mut self, sentence: String) -> Result<(), Ended> {
        self.send(Ok(Listed::Skipped(sentence)))
    }

    fn failed(&mut self, path: &str, errno: Errno) -> Result<(), Ended> {
        match errno {
            Errno::NOENT => {
                self.skip(format!("{} vanished while the files were listed", quoted(path)))
            }
            Errno::LOOP | Errno::NOTDIR => self.skip(format!(
                "{} was replaced while the files were listed, and was left out",
                quoted(path)
            )),
            other => self.read_error(path, &other.to_string()),
        }
    }

    fn read_error(&mut self, path: &str, message: &str) -> Result<(), Ended> {
        self.send(Err(FilesError::Read { path: path.to_owned(), message: message.to_owned() }))
    }

    fn send(&mut self, found: Result<Listed, FilesError>) -> Result<(), Ended> {
        if (self.emit)(found) { Ok(()) } else { Err(Ended) }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub fn meta(path: String, stat: &Stat) -> FileMeta {
    FileMeta {
        path,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat.st_mtime as i64,
        is_directory: false,
    }
}
