//! Reading an encrypted archive at any place, as if it were in clear.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use archive::{Error, ReadAt, Report};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::payload::{CHUNK, PayloadKey, SEALED, TAG};
use super::tap::Tap;
use super::{Damaged, EncryptionError, Keys, damage};

/// What every age file begins with.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// The longest header: some hundred recipients.
const HEAD: u64 = 64 << 10;
/// More than this is decrypted where it holds up nobody.
const LARGE: usize = 4 * CHUNK;

/// Whether it is an age file, whatever its name.
pub async fn is_encrypted(source: &dyn ReadAt) -> io::Result<bool> {
    let length = MAGIC.len() as u64;
    Ok(source.len() >= length && source.read_at(0..length).await?.as_ref() == MAGIC)
}

/// What opens an archive that this process has encrypted, without an identity. It is never written down.
#[derive(Clone)]
pub struct OwnKey {
    pub(super) key: Arc<PayloadKey>,
    /// Where the first chunk lies.
    pub(super) payload: u64,
}

/// An archive ready to be read.
#[derive(Clone)]
pub struct Opened {
    stored: Arc<dyn ReadAt>,
    /// None: it is stored in clear.
    decrypted: Option<Decrypted>,
}

impl Opened {
    /// Opens an archive as it is stored. When it is encrypted, its header and its end are checked.
    pub async fn new(stored: Arc<dyn ReadAt>, keys: &Arc<Keys>) -> Result<Self, EncryptionError> {
        if !is_encrypted(&*stored).await? {
            return Ok(Self { stored, decrypted: None });
        }
        let decrypted = Some(Decrypted::new(Arc::clone(&stored), keys).await?);
        Ok(Self { stored, decrypted })
    }

    /// Opens an archive that this process has just encrypted. Its end is checked.
    pub async fn own(stored: Arc<dyn ReadAt>, key: &OwnKey) -> Result<Self, EncryptionError> {
        let decrypted = Some(Decrypted::with(Arc::clone(&stored), key.clone()).await?);
        Ok(Self { stored, decrypted })
    }

    /// The bytes as they are stored.
    pub fn stored(&self) -> &Arc<dyn ReadAt> {
        &self.stored
    }

    /// The archive in clear.
    pub fn clear(&self) -> Arc<dyn ReadAt> {
        match &self.decrypted {
            Some(decrypted) => Arc::new(decrypted.clone()),
            None => Arc::clone(&self.stored),
        }
    }

    /// The archive in clear, while `tap` sees what is read of the stored one.
    pub fn tapped(&self) -> (Arc<dyn ReadAt>, Arc<Tap>) {
        let tap = Arc::new(Tap::new(Arc::clone(&self.stored)));
        let source = Arc::clone(&tap) as Arc<dyn ReadAt>;
        match &self.decrypted {
            Some(decrypted) => (Arc::new(Decrypted { source, ..decrypted.clone() }), tap),
            None => (source, tap),
        }
    }

    /// As [`archive::verify`]; the report's size and SHA-256 are those of the stored bytes. Everything is read once.
    pub async fn verify(
        &self,
        workers: usize,
        progress: impl Fn(u64) + Send + Sync,
    ) -> archive::Result<Report> {
        if self.decrypted.is_none() {
            return archive::verify(Arc::clone(&self.stored), workers, progress).await;
        }
        let (clear, tap) = self.tapped();
        let mut report = match archive::verify(clear, workers, progress).await {
            Ok(report) => report,
            Err(Error::Io(error)) if damage(&error).is_some() => Report {
                problems: damage(&error).map(ToString::to_string).into_iter().collect(),
                problem_count: 1,
                ..Report::default()
            },
            Err(error) => return Err(error),
        };
        report.sha256 = tap.finish().await?;
        report.bytes = self.stored.len();
        Ok(report)
    }
}

/// The clear bytes of an age file.
#[derive(Clone)]
struct Decrypted {
    source: Arc<dyn ReadAt>,
    key: Arc<PayloadKey>,
    /// Where the first chunk lies.
    payload: u64,
    chunks: u64,
    /// Of the clear bytes.
    len: u64,
    /// The last chunk in clear: it was opened to see that nothing is missing, and readers begin there.
    tail: Bytes,
}

impl Decrypted {
    async fn new(source: Arc<dyn ReadAt>, keys: &Arc<Keys>) -> Result<Self, EncryptionError> {
        let head = source.read_at(0..source.len().min(HEAD)).await?;
        let keys = Arc::clone(keys);
        let (payload, key) = tokio::task::spawn_blocking(move || keys.unlock(&head))
            .await
            .map_err(|_| EncryptionError::Failed)??;
        Self::with(source, OwnKey { key: Arc::new(key), payload: payload as u64 }).await
    }

    async fn with(source: Arc<dyn ReadAt>, key: OwnKey) -> Result<Self, EncryptionError> {
        let OwnKey { key, payload } = key;
        let sealed = source.len().saturating_sub(payload);
        let chunks = sealed.div_ceil(SEALED as u64);
        let last = sealed - chunks.saturating_sub(1) * SEALED as u64;
        // Only an empty file has an empty chunk.
        if last < TAG as u64 || (last == TAG as u64 && chunks > 1) {
            return Err(Damaged("its end is missing".to_owned()).into());
        }
        let len = sealed - chunks * TAG as u64;
        let mut this = Self { source, key, payload, chunks, len, tail: Bytes::new() };
        this.tail = this.open(chunks - 1..chunks).await?;
        Ok(this)
    }

    /// The clear bytes of chunks.
    async fn open(&self, chunks: Range<u64>) -> io::Result<Bytes> {
        let start = self.payload + chunks.start * SEALED as u64;
        let end = (self.payload + chunks.end * SEALED as u64).min(self.source.len());
        let bytes = self.source.read_at(start..end).await?;
        if bytes.len() as u64 != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (key, first, count) = (Arc::clone(&self.key), chunks.start, self.chunks);
        if bytes.len() <= LARGE {
            return open(&key, first, count, bytes);
        }
        tokio::task::spawn_blocking(move || open(&key, first, count, bytes))
            .await
            .map_err(io::Error::other)?
    }
}

/// Opens chunks that lie one after the other, the first of this number, of so many in all.
fn open(key: &PayloadKey, first: u64, count: u64, sealed: Bytes) -> io::Result<Bytes> {
    let mut bytes = sealed.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
    let (mut from, mut to, mut number) = (0, 0, first);
    while from < bytes.len() {
        let end = bytes.len().min(from + SEALED);
        let length = key.open(number, number + 1 == count, &mut bytes[from..end])?.len();
        // Close up the gap of the tags before.
        bytes.copy_within(from..from + length, to);
        (from, to, number) = (end, to + length, number + 1);
    }
    bytes.truncate(to);
    Ok(bytes.freeze())
}

#[async_trait]
impl ReadAt for Decrypted {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let chunk = CHUNK as u64;
        let (first, after) = (range.start / chunk, range.end.div_ceil(chunk));
        let bytes = match first + 1 == self.chunks {
            true => self.tail.clone(),
            false => self.open(first..after).await?,
        };
        let start = (range.start - first * chunk) as usize;
        let end = (range.end - first * chunk) as usize;
        if end > bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.slice(start..end))
    }
}
