//! An archive on its way, in a temporary file that has no name: nothing is left of it when we die.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, Stream};

use super::super::StorageError;
use crate::limits::Rate;

/// What is read from the file at once.
const PIECE: u64 = 256 << 10;

pub(super) struct Spool {
    file: Arc<File>,
    len: u64,
    reading: Arc<Reading>,
}

/// How fast it may be sent; tells how much was read, what is read again only once.
struct Reading {
    rate: Rate,
    furthest: AtomicU64,
    told: Box<dyn Fn(u64) + Send + Sync>,
}

impl Reading {
    fn new(rate: Rate, told: impl Fn(u64) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rate, furthest: AtomicU64::new(0), told: Box::new(told) })
    }

    fn reached(&self, end: u64) {
        let before = self.furthest.fetch_max(end, Ordering::Relaxed);
        (self.told)(end.saturating_sub(before));
    }
}

impl Spool {
    pub(super) async fn new(dir: &Path) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let made = blocking(move || {
            tempfile::tempfile_in(&dir).map_err(|error| {
                StorageError::from_io(
                    &format!("a file in {} (backup.temp_dir)", dir.display()),
                    &error,
                )
            })
        });
        Ok(Self {
            file: Arc::new(made.await?),
            len: 0,
            reading: Reading::new(Rate::default(), |_| ()),
        })
    }

    /// From now on it is sent no faster than that, and `told` hears how many bytes were.
    pub(super) fn tell(&mut self, rate: &Rate, told: impl Fn(u64) + Send + Sync + 'static) {
        self.reading = Reading::new(rate.clone(), told);
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        let (file, at) = (Arc::clone(&self.file), self.len);
        self.len += bytes.len() as u64;
        blocking(move || {
            file.write_all_at(&bytes, at).map_err(|error| {
                StorageError::from_io("writing a temporary file (backup.temp_dir)", &error)
            })
        })
        .await
    }

    /// Waits until so many bytes may be sent: before a request, whose time is limited.
    pub(super) async fn allow(&self, length: u64) {
        self.reading.rate.take(usize::try_from(length).unwrap_or(usize::MAX)).await;
    }

    /// The bytes from `start`, `length` of them, in small pieces.
    pub(super) fn read(
        &self,
        start: u64,
        length: u64,
    ) -> impl Stream<Item = Result<Bytes, StorageError>> + Send + use<> {
        let (file, end) = (Arc::clone(&self.file), start + length);
        let reading = Arc::clone(&self.reading);
        stream::try_unfold(start, move |at| {
            let (file, reading) = (Arc::clone(&file), Arc::clone(&reading));
            async move {
                if at >= end {
                    return Ok(None);
                }
                let size = PIECE.min(end - at);
                let piece = blocking(move || {
                    let mut piece = vec![0; size as usize];
                    file.read_exact_at(&mut piece, at).map_err(|error| {
                        StorageError::from_io("reading a temporary file", &error)
                    })?;
                    Ok(Bytes::from(piece))
                });
                let piece = piece.await?;
                reading.reached(at + size);
                Ok(Some((piece, at + size)))
            }
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StorageError::Other(format!("a temporary file: {error}")))?
}
