//! Where an archive is read from.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// A file, or an object in a store, whose parts can be read in any order.
#[async_trait]
pub trait ReadAt: Send + Sync {
    /// Bytes of the whole.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly the bytes of `range`, which lies within the length; anything else is an error.
    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes>;
}

/// A file on this machine.
pub struct LocalFile {
    file: Arc<File>,
    len: u64,
}

impl LocalFile {
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            Ok(Self { file: Arc::new(file), len })
        })
        .await
    }
}

#[async_trait]
impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        })
        .await
    }
}

/// An archive in memory.
#[async_trait]
impl ReadAt for Bytes {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end))
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if start > end || end > self.as_ref().len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.slice(start..end))
    }
}

/// Runs something that may block on a thread made for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
