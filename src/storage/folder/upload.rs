//! Writing a file: staged beside its place, made durable, then renamed without replacing anything.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::super::StorageError;
use super::{Folder, blocking};

/// How many written bytes the disk is told of at once, so that the last sync finds little to do.
const WRITE_BACK: u64 = 8 << 20;
/// How many pieces go to the system in one call.
const GATHER: usize = 64;

pub(super) fn staged_name(name: &str, attempt: &str) -> String {
    format!(".{name}.{attempt}.part")
}

/// The half-written file. Dropped before it is published, it removes itself.
pub(super) struct Staged {
    folder: Arc<Folder>,
    directory: OwnedFd,
    file: File,
    number: u64,
    name: String,
    staged: String,
    published: bool,
}

impl Staged {
    pub(super) async fn create(
        folder: Arc<Folder>,
        name: &str,
        attempt: &str,
    ) -> Result<Self, StorageError> {
        let (name, staged) = (name.to_owned(), staged_name(name, attempt));
        blocking(move || {
            let directory = folder.directory(true)?.ok_or_else(|| {
                StorageError::NotFound(format!("{} does not exist", folder.path().display()))
            })?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            // An archive holds every secret of the portal: nobody else may read it.
            let mode = Mode::RUSR | Mode::WUSR;
            let file = rustix::fs::openat(&directory, staged.as_str(), flags, mode)
                .map_err(|error| folder.fail("write", &name, error))?;
            let file = File::from(file);
            let mut staged =
                Self { folder, directory, file, number: 0, name, staged, published: false };
            staged.number = rustix::fs::fstat(&staged.file).map_err(|e| staged.fail(e))?.st_ino;
            Ok(staged)
        })
        .await
    }

    /// The file's number in its file system; it stays when the file is renamed.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn fail(&self, error: Errno) -> StorageError {
        self.folder.fail("write", &self.name, error)
    }

    fn publish(&mut self) -> Result<(), StorageError> {
        rustix::fs::fsync(&self.file).map_err(|e| self.fail(e))?;
        self.rename().map_err(|e| self.fail(e))?;
        self.published = true;
        if let Err(error) = rustix::fs::fsync(&self.directory) {
            // Nobody could say whether it is there after a power cut: better not at all.
            let _ = rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
            return Err(self.fail(error));
        }
        Ok(())
    }

    fn rename(&self) -> Result<(), Errno> {
        let (at, from, to) = (&self.directory, self.staged.as_str(), self.name.as_str());
        match rustix::fs::renameat_with(at, from, at, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other,
        }
        // Some network file systems cannot rename so: a link does not replace either.
        match rustix::fs::linkat(at, from, at, to, AtFlags::empty()) {
            Ok(()) => return rustix::fs::unlinkat(at, from, AtFlags::empty()),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            Err(_) => {}
        }
        match rustix::fs::statat(at, to, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => rustix::fs::renameat(at, from, at, to),
            Ok(_) => Err(Errno::EXIST),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            let _ = rustix::fs::unlinkat(&self.directory, self.staged.as_str(), AtFlags::empty());
        }
    }
}

enum Message {
    Data(Bytes, OwnedSemaphorePermit),
    Complete(oneshot::Sender<Result<(), StorageError>>),
}

/// The sending end; a thread of its own writes, so that a slow disk holds up no other work.
pub(in super::super) struct FolderUpload {
    /// Closing it without `Complete` tells the thread to remove the file.
    messages: mpsc::UnboundedSender<Message>,
    memory: Arc<Semaphore>,
    capacity: u32,
    failure: Failure,
    ended: oneshot::Receiver<()>,
}

/// Why the thread gave up.
type Failure = Arc<Mutex<Option<StorageError>>>;

impl FolderUpload {
    pub(super) fn start(staged: Staged, memory: usize) -> Result<Self, StorageError> {
        let capacity = u32::try_from(memory).unwrap_or(u32::MAX).clamp(1 << 20, 1 << 30);
        let memory = Arc::new(Semaphore::new(capacity as usize));
        let failure = Failure::default();
        let (messages, mut receiver) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let (of_thread, on_failure) = (memory.clone(), failure.clone());
        std::thread::Builder::new()
            .name("archive-writer".to_owned())
            .spawn(move || {
                if let Err(error) = run(staged, &mut receiver) {
                    *on_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                // Only now that the reason is known, writers may find that nobody listens.
                of_thread.close();
                drop(receiver);
                let _ = end.send(());
            })
            .map_err(|error| StorageError::Other(format!("cannot start a thread: {error}")))?;
        Ok(Self { messages, memory, capacity, failure, ended })
    }

    pub(in super::super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.capacity as usize));
            let room = piece.len() as u32;
            let Ok(permit) = self.memory.clone().acquire_many_owned(room).await else {
                return Err(self.failure());
            };
            if self.messages.send(Message::Data(piece, permit)).is_err() {
                return Err(self.failure());
            }
        }
        Ok(())
    }

    pub(in super::super) async fn complete(self) -> Result<(), StorageError> {
        let (reply, answer) = oneshot::channel();
        if self.messages.send(Message::Complete(reply)).is_err() {
            return Err(self.failure());
        }
        match answer.await {
            Ok(result) => result,
            Err(_) => {
                // The thread gave up on a write before it came to the request.
                let _ = self.ended.await;
                Err(taken(&self.failure))
            }
        }
    }

    pub(in super::super) async fn abort(self) -> Result<(), StorageError> {
        drop(self.messages);
        let _ = self.ended.await;
        Ok(())
    }

    fn failure(&self) -> StorageError {
        taken(&self.failure)
    }
}

fn taken(failure: &Failure) -> StorageError {
    failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
        .unwrap_or_else(|| StorageError::Other("the archive is no longer being written".to_owned()))
}

/// The thread: writes until told to complete, or until the sender is gone.
fn run(
    mut staged: Staged,
    messages: &mut mpsc::UnboundedReceiver<Message>,
) -> Result<(), StorageError> {
    let mut written = 0;
    let mut told = 0;
    while let Some(message) = messages.blocking_recv() {
        let mut pieces = Vec::new();
        let mut complete = None;
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                Message::Data(bytes, permit) => pieces.push((bytes, permit)),
                Message::Complete(reply) => complete = Some(reply),
            }
            if complete.is_none() && pieces.len() < GATHER {
                next = messages.try_recv().ok();
            }
        }
        let what = || staged.folder.describe("write", &staged.name);
        written += write_all(&mut &staged.file, &mut pieces)
            .map_err(|error| StorageError::from_io(&what(), &error))?;
        if written - told >= WRITE_BACK {
            // Of pages that were only just written, this begins to write them to the disk but keeps
            // them in memory: they are read back soon.
            let length = std::num::NonZeroU64::new(written - told);
            let _ = rustix::fs::fadvise(&staged.file, told, length, Advice::DontNeed);
            told = written;
        }
        if let Some(reply) = complete {
            let result = staged.publish();
            drop(staged);
            let _ = reply.send(result);
            return Ok(());
        }
    }
    Ok(())
}

/// Writes and drops all pieces; returns how many bytes that was.
fn write_all(
    file: &mut &File,
    pieces: &mut Vec<(Bytes, OwnedSemaphorePermit)>,
) -> std::io::Result<u64> {
    let total = pieces.iter().map(|(bytes, _)| bytes.len() as u64).sum();
    let mut first = 0;
    while first < pieces.len() {
        let slices: Vec<_> = pieces[first..].iter().map(|(bytes, _)| IoSlice::new(bytes)).collect();
        let mut count = match file.write_vectored(&slices) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        while let Some((bytes, _)) = pieces.get_mut(first) {
            let step = count.min(bytes.len());
            bytes.advance(step);
            count -= step;
            if !bytes.is_empty() {
                break;
            }
            first += 1;
        }
    }
    pieces.clear();
    Ok(total)
}
