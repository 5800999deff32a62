//! A folder of this machine. All system calls run on blocking threads, many of them in one trip.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use rustix::fs::{Advice, FileType, Stat};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use url::Url;

use super::beneath::{self, NotAFile};
use super::mounts;
use super::text;
use super::walk::{Walk, meta};
use super::{
    Content, Excluded, FileMeta, FilesError, GROWTH, Listed, Listing, Opened, PIECE, parts,
};
use crate::config::Options;

/// How many entries of a listing cross threads together.
const BATCH: usize = 256;

#[derive(Debug, Clone)]
pub struct LocalFolder {
    root: PathBuf,
    url: String,
    /// So many folders from the root on may be links, see [`beneath::linked_folder`].
    linked: usize,
}

impl LocalFolder {
    pub fn open(url: &Url, options: &Options) -> Result<Self, FilesError> {
        let invalid = |message: String| FilesError::Configuration { url: url.to_string(), message };
        let root = url
            .to_file_path()
            .map_err(|()| invalid("write a path of this machine, as file:///path".to_owned()))?;
        if let Some((name, _)) = options.iter().next() {
            return Err(invalid(format!("a folder has no option {name:?}")));
        }
        Ok(Self { root, url: url.to_string(), linked: 0 })
    }

    pub fn through_links(&self, depth: usize) -> Self {
        Self { linked: depth, ..self.clone() }
    }

    /// Whether the folder at this place on the way from the root may be a link.
    pub fn may_be_link(&self, position: usize) -> bool {
        position < self.linked
    }

    /// Opens a folder by the names on the way from the root to it.
    pub fn folder(&self, root: BorrowedFd<'_>, names: &[OsString]) -> Result<OwnedFd, Errno> {
        let (linked, below) = names.split_at(names.len().min(self.linked));
        let mut current = None::<OwnedFd>;
        for name in linked {
            let at = current.as_ref().map_or(root, |fd| fd.as_fd());
            current = Some(beneath::linked_folder(at, name)?);
        }
        match current {
            Some(fd) if below.is_empty() => Ok(fd),
            current => beneath::folders(current.as_ref().map_or(root, |fd| fd.as_fd()), below),
        }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The root, or else the folder above it that is there.
    pub fn nearest_existing(&self) -> &Path {
        self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
    }

    pub fn open_root(&self) -> Result<OwnedFd, FilesError> {
        beneath::root(&self.root).map_err(|errno| FilesError::Configuration {
            url: self.url.clone(),
            message: match errno {
                Errno::NOENT => "the folder does not exist".to_owned(),
                Errno::NOTDIR => "it is not a folder".to_owned(),
                other => other.to_string(),
            },
        })
    }

    pub async fn check(self: Arc<Self>) -> Result<(), FilesError> {
        let url = self.url.clone();
        blocking(url, move || self.open_root().map(drop)).await
    }

    pub fn covers(&self, url: &Url) -> Option<String> {
        if url.scheme() != "file" {
            return None;
        }
        let relative = mounts::below(&self.root, &url.to_file_path().ok()?)?;
        Some(text::of_bytes(relative.as_os_str().as_bytes()))
    }

    pub fn list(self: Arc<Self>, prefix: &str, excluded: Excluded) -> Listing {
        let prefix = prefix.to_owned();
        let (sender, receiver) = mpsc::channel::<Vec<Result<Listed, FilesError>>>(2);
        let work = move || {
            let mut batch = Vec::with_capacity(BATCH);
            Walk::run(&self, &prefix, &excluded, &mut |found| {
                batch.push(found);
                batch.len() < BATCH || sender.blocking_send(std::mem::take(&mut batch)).is_ok()
            });
            // Nobody may be left to take it; then nobody misses it.
            let _ = sender.blocking_send(batch);
        };
        // The walk begins with the first poll, so that a listing nobody reads costs nothing.
        let started = stream::once(async move {
            let task = spawn_blocking(work);
            stream::unfold((receiver, Some(task)), |(mut receiver, task)| async move {
                if let Some(batch) = receiver.recv().await {
                    return Some((batch, (receiver, task)));
                }
                // A walk that broke off must not look like the end of the files.
                let error = task?.await.err()?;
                Some((vec![Err(stopped("the folder", &error))], (receiver, None)))
            })
        });
        started.flatten().flat_map(stream::iter).boxed()
    }

    /// Where a link leads, as metadata of the target under the target's own path; the error ends
    /// "is a link …". Only regular files inside the root are read through links.
    pub fn through_link(&self, path: &str) -> Result<FileMeta, &'static str> {
        let root = self.root.canonicalize().map_err(|_| "in a root that is gone")?;
        let link = root.join(text::to_name(path));
        let target = link.canonicalize().map_err(|_| "that leads nowhere")?;
        let inside = target.strip_prefix(&root).map_err(|_| "to a place outside the root")?;
        match self.stat_now(&text::of_bytes(inside.as_os_str().as_bytes())) {
            Ok(meta) if meta.is_directory => Err("to a folder"),
            Ok(meta) => Ok(meta),
            Err(_) => Err("to no regular file"),
        }
    }

    pub async fn stat(self: Arc<Self>, path: &str) -> Result<FileMeta, FilesError> {
        let path = path.to_owned();
        blocking(path.clone(), move || match self.stat_now(&path) {
            Err(NotAFile::Link) => match self.through_link(&path) {
                Ok(target) => Ok(FileMeta { path, ..target }),
                Err(why) => Err(read_error(&path, format!("it is a link {why}"))),
            },
            other => other.map_err(|error| files_error(&path, error)),
        })
        .await
    }

    fn stat_now(&self, path: &str) -> Result<FileMeta, NotAFile> {
        let names = named(path)?;
        let root = beneath::root(&self.root)?;
        let Some((name, folders)) = names.split_last() else {
            let stat = rustix::fs::fstat(&root)?;
            return Ok(FileMeta { size: 0, is_directory: true, ..meta(String::new(), &stat) });
        };
        let parent = self.folder(root.as_fd(), folders)?;
        let stat = beneath::stat(parent.as_fd(), name)?;
        let found = meta(path.to_owned(), &stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(found),
            FileType::Directory => Ok(FileMeta { size: 0, is_directory: true, ..found }),
            FileType::Symlink => Err(NotAFile::Link),
            other => Err(NotAFile::Other(other)),
        }
    }

    pub async fn read(self: Arc<Self>, path: &str) -> Result<Opened<Content>, FilesError> {
        let owned = path.to_owned();
        let (now, file, first) = blocking(path.to_owned(), move || {
            let (mut file, now) = Opener::new(&self).open(&owned)?;
            if now.size > PIECE as u64 {
                // Only speed depends on it.
                let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
            }
            let first = piece(&mut file).map_err(|error| read_error(&owned, error))?;
            Ok((now, file, first))
        })
        .await?;
        if first.len() < PIECE {
            let whole = (!first.is_empty()).then_some(Ok(first));
            return Ok((now, stream::iter(whole).boxed()));
        }
        let path = path.to_owned();
        // The next piece is read while the caller works on this one.
        let following = spawn_blocking(move || next_piece(file));
        let rest = stream::unfold(Some(following), move |following| {
            let path = path.clone();
            async move {
                match following?.await {
                    Ok((_, Ok(piece))) if piece.is_empty() => None,
                    Ok((file, Ok(piece))) => {
                        Some((Ok(piece), Some(spawn_blocking(move || next_piece(file)))))
                    }
                    Ok((_, Err(error))) => Some((Err(read_error(&path, error)), None)),
                    Err(error) => Some((Err(stopped(&path, &error)), None)),
                }
            }
        });
        Ok((now, stream::once(async move { Ok(first) }).chain(rest).boxed()))
    }

    pub async fn read_small(
        self: Arc<Self>,
        files: &[FileMeta],
    ) -> Vec<Result<Opened<Option<Bytes>>, FilesError>> {
        let wanted: Vec<_> = files.iter().map(|file| (file.path.clone(), file.size)).collect();
        let read = spawn_blocking(move || {
            let mut opener = Opener::new(&self);
            wanted.iter().map(|(path, size)| opener.read_whole(path, *size)).collect()
        });
        match read.await {
            Ok(contents) => contents,
            Err(error) => files.iter().map(|file| Err(stopped(&file.path, &error))).collect(),
        }
    }
}

/// Opens files one after another and keeps the last folder open: neighbours usually share it.
struct Opener<'a> {
    folder: &'a LocalFolder,
    last: Option<(String, OwnedFd)>,
}

impl<'a> Opener<'a> {
    fn new(folder: &'a LocalFolder) -> Self {
        Self { folder, last: None }
    }

    fn open(&mut self, path: &str) -> Result<(File, FileMeta), FilesError> {
        let opened = match self.open_directly(path) {
            Err(NotAFile::Link) => match self.folder.through_link(path) {
                Ok(target) => self.open_directly(&target.path),
                Err(why) => return Err(denied(path, format!("it is a link {why}"))),
            },
            other => other,
        };
        let (file, stat) = opened.map_err(|error| files_error(path, error))?;
        Ok((file, meta(path.to_owned(), &stat)))
    }

    fn open_directly(&mut self, path: &str) -> Result<(File, Stat), NotAFile> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let root = beneath::root(&self.folder.root)?;
            let opened = self.folder.folder(root.as_fd(), &named(parent)?)?;
            self.last = Some((parent.to_owned(), opened));
        }
        let Some((_, fd)) = &self.last else { return Err(Errno::NOENT.into()) };
        let (fd, stat) = beneath::file(fd.as_fd(), &text::to_name(name))?;
        Ok((File::from(fd), stat))
    }

    /// `size`: what the listing saw.
    fn read_whole(&mut self, path: &str, size: u64) -> Result<Opened<Option<Bytes>>, FilesError> {
        let (file, mut now) = self.open(path)?;
        let limit = size + GROWTH;
        if now.size >= limit {
            return Ok((now, None));
        }
        // One more than there should be, so that the end of the file is seen without growing.
        let mut content = Vec::with_capacity(now.size as usize + 1);
        file.take(limit).read_to_end(&mut content).map_err(|error| read_error(path, error))?;
        if content.len() as u64 == limit {
            return Ok((now, None));
        }
        now.size = content.len() as u64;
        Ok((now, Some(Bytes::from(content))))
    }
}

/// The names of a path.
fn named(path: &str) -> Result<Vec<OsString>, Errno> {
    let parts = parts(path).ok_or(Errno::NOENT)?;
    Ok(parts.into_iter().map(text::to_name).collect())
}

fn next_piece(mut file: File) -> (File, std::io::Result<Bytes>) {
    let read = piece(&mut file);
    (file, read)
}

/// Up to 1 MiB; less only at the end of the file.
fn piece(file: &mut File) -> std::io::Result<Bytes> {
    let left = file.metadata()?.len().saturating_sub(std::io::Seek::stream_position(file)?);
    let mut buffer = Vec::with_capacity(left.min(PIECE as u64) as usize + 1);
    file.take(PIECE as u64).read_to_end(&mut buffer)?;
    Ok(Bytes::from(buffer))
}

/// Runs on a thread that may wait; `path` is for the message should it break off.
pub async fn blocking<T: Send + 'static>(
    path: String,
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(stopped(&path, &error)),
    }
}

fn stopped(path: &str, error: &tokio::task::JoinError) -> FilesError {
    read_error(path, error)
}

fn denied(path: &str, message: impl ToString) -> FilesError {
    FilesError::Denied { path: path.to_owned(), message: message.to_string() }
}

fn read_error(path: &str, message: impl ToString) -> FilesError {
    FilesError::Read { path: path.to_owned(), message: message.to_string() }
}

fn files_error(path: &str, error: NotAFile) -> FilesError {
    match error {
        // A folder on the way that is no folder any more: the file is gone all the same.
        NotAFile::System(Errno::NOENT | Errno::NOTDIR) => {
            FilesError::NotFound { path: path.to_owned() }
        }
        NotAFile::System(Errno::LOOP) => denied(path, "a folder on its way is a link"),
        NotAFile::System(errno @ (Errno::ACCESS | Errno::PERM)) => denied(path, errno),
        NotAFile::System(errno) => read_error(path, errno),
        NotAFile::Link => denied(path, "it is a link"),
        NotAFile::Other(kind) => denied(path, format!("it is {}", beneath::kind(kind))),
    }
}
