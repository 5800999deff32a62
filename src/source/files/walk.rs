//! The walk through a folder tree: one folder after another, names sorted. What it keeps in memory
//! is the chain of folders it is in, each with its names packed, never the tree.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::beneath;
use super::local::LocalFolder;
use super::names::Names;
use super::text;
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
    /// The first path whose last name is no text, and how many more there are.
    no_text: Option<String>,
    more_no_text: u64,
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
        let chain = Vec::new();
        let mut walk = Self { folder, root, excluded, emit, chain, no_text: None, more_no_text: 0 };
        let _ = walk.all(prefix);
    }

    fn all(&mut self, prefix: &str) -> Result<(), Ended> {
        let Some(parts) = parts(prefix) else {
            return self.read_error(prefix, "it leads out of the root");
        };
        let path = parts.join("/");
        let names: Vec<_> = parts.iter().map(|part| text::to_name(part)).collect();
        if self.excluded.contains(&path) {
            return Ok(());
        }
        match self.folder.folder(self.root.as_fd(), &names) {
            Ok(fd) => self.enter(path, fd)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR) => return self.no_folder(&parts, &names),
            Err(errno) => return self.read_error(&path, &errno.to_string()),
        }
        while !self.chain.is_empty() {
            self.step()?;
        }
        self.tell_of_bytes()
    }

    /// Whoever unpacks the archive by other means should know what he sees.
    fn tell_of_bytes(&mut self) -> Result<(), Ended> {
        let Some(first) = self.no_text.take() else { return Ok(()) };
        let more = match self.more_no_text {
            0 => " has".to_owned(),
            more => format!(" and {more} more have"),
        };
        self.skip(format!(
            "{}{more} a name that is not UTF-8: in the archive each byte of it that is none is a character from \
             U+10FE80 to U+10FEFF, and a restore writes the bytes again",
            quoted(&first)
        ))
    }

    /// One part of a prefix is no folder. An error, not a warning: a whole branch would be missing.
    fn no_folder(&mut self, parts: &[&str], names: &[OsString]) -> Result<(), Ended> {
        for (count, name) in names.iter().enumerate() {
            if self.folder.folder(self.root.as_fd(), &names[..=count]).is_ok() {
                continue;
            }
            let parent = self.folder.folder(self.root.as_fd(), &names[..count]);
            let Ok(stat) = parent.and_then(|parent| beneath::stat(parent.as_fd(), name)) else {
                break;
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let why = match kind {
                FileType::Directory => break,
                FileType::Symlink if self.folder.may_be_link(count) => {
                    "it is a link that leads to no folder, or that belongs to neither root nor the user of this \
                     program"
                        .to_owned()
                }
                kind => {
                    format!("it is {}, and only folders are walked through", beneath::kind(kind))
                }
            };
            return self.read_error(&parts[..=count].join("/"), &why);
        }
        self.read_error(&parts.join("/"), "it was replaced while it was opened")
    }

    /// Handles the next name of the deepest folder, or leaves the folder.
    fn step(&mut self) -> Result<(), Ended> {
        let depth = self.chain.len() - 1;
        let frame = &mut self.chain[depth];
        let Some((name, file_type)) = frame.names.get(frame.next) else {
            return self.leave();
        };
        frame.next += 1;
        let text = text::of_bytes(name);
        let is_text = text.as_bytes() == name;
        let path = join(&frame.path, &text);
        let name = OsStr::from_bytes(name).to_owned();
        if self.excluded.contains(&path) {
            return Ok(());
        }
        if !is_text {
            self.more_no_text += u64::from(self.no_text.is_some());
            self.no_text.get_or_insert_with(|| path.clone());
        }
        if file_type == FileType::Directory {
            return self.descend(depth, path, &name);
        }
        let stat = match self.within(depth, |at| beneath::stat(at, &name)) {
            Ok(stat) => stat,
            Err(errno) => return self.failed(&path, errno),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.list(meta(path, &stat)),
            // Only where the system does not tell kinds apart while listing, or it just became one.
            FileType::Directory => self.descend(depth, path, &name),
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
                let modified = stat.st_mtime;
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
            version: None,
        })
    }

    fn descend(&mut self, depth: usize, path: String, name: &OsStr) -> Result<(), Ended> {
        match self.within(depth, |at| beneath::folder(at, name)) {
            Ok(fd) => self.enter(path, fd),
            Err(errno) => self.failed(&path, errno),
        }
    }

    /// Does something in a folder of the chain, which may have to be opened for the moment.
    fn within<T>(
        &self,
        depth: usize,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let frame = &self.chain[depth];
        match &frame.fd {
            Some(fd) => work(fd.as_fd()),
            None => {
                let parts = parts(&frame.path).unwrap_or_default();
                let names: Vec<_> = parts.into_iter().map(text::to_name).collect();
                work(self.folder.folder(self.root.as_fd(), &names)?.as_fd())
            }
        }
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

    /// What lies deeper and is closed to us is named; of the prefix itself nothing would be left.
    fn failed(&mut self, path: &str, errno: Errno) -> Result<(), Ended> {
        match errno {
            Errno::ACCESS | Errno::PERM if !self.chain.is_empty() => {
                let is_directory = true;
                let path = path.to_owned();
                let file = FileMeta { path, size: 0, modified: 0, is_directory, version: None };
                self.send(Ok(Listed::Denied(file, errno.to_string())))
            }
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
        modified: stat.st_mtime,
        is_directory: false,
        // The time of change also moves when somebody sets the time of modification back.
        version: Some(format!("{}.{}.{}", stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)),
    }
}
