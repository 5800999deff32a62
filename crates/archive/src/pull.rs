//! Bridges between async sources and code that reads or produces as a stream on a thread of its own.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::{Digest, Error, ReadAt, Result};

/// What is fetched in one request.
const CHUNK: u64 = 2 << 20;
/// Requests made at once: one after the other, a distant store would be slow.
const AT_ONCE: usize = 3;

/// A range of a source, read by a thread while a task fetches ahead.
pub(crate) struct Pull {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    left: u64,
    digest: Option<Sha256>,
}

impl Pull {
    /// Starts fetching; needs a Tokio runtime. `digest`: whether the SHA-256 of what was read is wanted.
    pub(crate) fn new(source: Arc<dyn ReadAt>, range: Range<u64>, digest: bool) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let left = range.end - range.start;
        tokio::spawn(async move {
            let starts = (range.start..range.end).step_by(CHUNK as usize);
            let fetched =
                starts.map(|start| read_exact(&*source, start..range.end.min(start + CHUNK)));
            let mut fetched = stream::iter(fetched).buffered(AT_ONCE);
            loop {
                let chunk = tokio::select! {
                    chunk = fetched.next() => chunk,
                    () = sender.closed() => return,
                };
                let Some(chunk) = chunk else { return };
                let failed = chunk.is_err();
                if sender.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { chunks, current: Bytes::new(), left, digest: digest.then(Sha256::new) }
    }

    /// The digest of all that was fetched so far.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest.as_ref().map(|digest| Digest(digest.clone().finalize().into()))
    }

    /// Bytes of the range that were not consumed.
    pub(crate) fn remaining(&self) -> u64 {
        self.left + self.current.len() as u64
    }
}

/// As [`ReadAt::read_at`], but does not rely on the answer's length.
pub(crate) async fn read_exact(source: &dyn ReadAt, range: Range<u64>) -> io::Result<Bytes> {
    let length = range.end - range.start;
    let bytes = source.read_at(range).await?;
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{length} bytes were asked for, {} came", bytes.len()),
    ))
}

impl BufRead for Pull {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && self.left > 0 {
            let chunk = self.chunks.blocking_recv();
            self.current = chunk.unwrap_or_else(|| Err(io::Error::other("reading was stopped")))?;
            self.left = self.left.saturating_sub(self.current.len() as u64);
            if let Some(digest) = &mut self.digest {
                digest.update(&self.current);
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount.min(self.current.len()));
    }
}

impl Read for Pull {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

enum Message<T> {
    Item(T),
    End(Result<()>),
}

/// Where a producing thread puts its items.
pub(crate) struct Outlet<T>(mpsc::Sender<Message<T>>);

impl<T> Outlet<T> {
    /// Waits while the consumer is behind. Errors when it is gone.
    pub(crate) fn put(&self, item: T) -> Result<()> {
        self.0.blocking_send(Message::Item(item)).map_err(|_| Error::Closed)
    }
}

/// The items of a producer that runs on a thread of its own from the stream's first poll on. The stream ends after the
/// producer's error, if it returns one.
pub(crate) fn produce<T: Send + 'static>(
    ahead: usize,
    start: impl FnOnce() -> Result<Producer<T>> + Send + 'static,
) -> impl Stream<Item = Result<T>> + Send + 'static {
    let started = stream::once(async move {
        let producer = start();
        let (sender, receiver) = mpsc::channel(ahead);
        tokio::task::spawn_blocking(move || {
            let outlet = Outlet(sender);
            let result = producer.and_then(|producer| producer(&outlet));
            // A consumer that is gone wants no error either.
            drop(outlet.0.blocking_send(Message::End(result)));
        });
        stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Message::Item(item)) => Some((Ok(item), Some(receiver))),
                Some(Message::End(Ok(()))) => None,
                Some(Message::End(Err(error))) => Some((Err(error), None)),
                // The thread panicked, or the runtime is shutting down: not the end of the content.
                None => Some((Err(Error::Closed), None)),
            }
        })
    });
    started.flatten()
}

pub(crate) type Producer<T> = Box<dyn FnOnce(&Outlet<T>) -> Result<()> + Send>;
