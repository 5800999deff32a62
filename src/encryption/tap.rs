//! The digest of a whole file, from reads that come in almost any order.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use archive::ReadAt;
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// How much of what was read too early is kept.
const AHEAD: usize = 16 << 20;
const PIECE: u64 = 2 << 20;

/// Reads from another source, and takes the digest of all of it on the way.
pub struct Tap {
    source: Arc<dyn ReadAt>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    digest: Sha256,
    /// How many bytes from the start are in the digest.
    at: u64,
    /// What was read from beyond that, by where it begins.
    ahead: BTreeMap<u64, Bytes>,
    held: usize,
}

impl Tap {
    pub fn new(source: Arc<dyn ReadAt>) -> Self {
        Self { source, seen: Mutex::default() }
    }

    /// The SHA-256 of the whole file; reads what nobody has read.
    pub async fn finish(&self) -> io::Result<[u8; 32]> {
        self.rest(|_| {}).await
    }

    async fn rest(&self, progress: impl Fn(u64)) -> io::Result<[u8; 32]> {
        loop {
            let at = self.seen(|seen| seen.at);
            if at >= self.source.len() {
                return Ok(self.seen(|seen| seen.digest.clone().finalize().into()));
            }
            let end = self.source.len().min(at + PIECE);
            self.read_at(at..end).await?;
            progress(end - at);
        }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The SHA-256 of a whole file. `progress` gets the number of bytes read since it was last called.
pub async fn digest(source: Arc<dyn ReadAt>, progress: impl Fn(u64)) -> io::Result<[u8; 32]> {
    Tap::new(source).rest(progress).await
}

impl Seen {
    fn add(&mut self, start: u64, bytes: &Bytes) {
        if start + bytes.len() as u64 <= self.at {
            return;
        }
        if start > self.at {
            self.keep(start, bytes.clone());
            return;
        }
        self.take(start, bytes);
        while let Some(entry) = self.ahead.first_entry()
            && *entry.key() <= self.at
        {
            let (start, bytes) = entry.remove_entry();
            self.held -= bytes.len();
            self.take(start, &bytes);
        }
    }

    /// The part of it that is not in the digest yet; it reaches as far back as that.
    fn take(&mut self, start: u64, bytes: &Bytes) {
        let known = (self.at - start) as usize;
        if let Some(new) = bytes.get(known..) {
            self.digest.update(new);
            self.at += new.len() as u64;
        }
    }

    /// What lies farthest ahead goes first when there is too much: it is read again at the end.
    fn keep(&mut self, start: u64, bytes: Bytes) {
        self.held += bytes.len();
        if let Some(other) = self.ahead.insert(start, bytes) {
            self.held -= other.len();
        }
        while self.held > AHEAD
            && let Some((_, dropped)) = self.ahead.pop_last()
        {
            self.held -= dropped.len();
        }
    }
}

#[async_trait]
impl ReadAt for Tap {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        let start = range.start;
        let bytes = self.source.read_at(range).await?;
        self.seen(|seen| seen.add(start, &bytes));
        Ok(bytes)
    }
}
