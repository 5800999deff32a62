//! A stored archive opened for reading.

use std::ops::Range;
use std::sync::Arc;

use archive::ReadAt;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::StorageError;
use super::cloud::CloudObject;
use super::documents::DocumentsObject;
use super::folder::FolderObject;
use crate::limits::Rate;

/// What one request of a stream reads of a folder, and of a cloud: large enough for its latency, small enough for as
/// many downloads as there may be that have stalled.
const PIECE: u64 = 256 << 10;
const CLOUD_PIECE: u64 = 1 << 20;
/// The same where there is one reader, and a fast one.
const LARGE_PIECE: u64 = 2 << 20;
/// How many are read ahead of a stream's reader.
const AHEAD: usize = 2;

/// An archive in a storage, for random access. A clone reads the same archive.
#[derive(Clone)]
pub struct StoredObject {
    kind: Kind,
    len: u64,
    /// How fast it may be read.
    rate: Rate,
}

#[derive(Clone)]
enum Kind {
    Folder(Arc<FolderObject>),
    Cloud(Arc<CloudObject>),
    Documents(Arc<DocumentsObject>),
}

impl StoredObject {
    pub(super) fn folder(object: FolderObject, len: u64) -> Self {
        Self { kind: Kind::Folder(Arc::new(object)), len, rate: Rate::default() }
    }

    pub(super) fn cloud(object: CloudObject, len: u64) -> Self {
        Self { kind: Kind::Cloud(Arc::new(object)), len, rate: Rate::default() }
    }

    pub(super) fn documents(object: DocumentsObject, len: u64) -> Self {
        Self { kind: Kind::Documents(Arc::new(object)), len, rate: Rate::default() }
    }

    /// The same, read no faster than that.
    pub fn limited(self, rate: &Rate) -> Self {
        Self { rate: rate.clone(), ..self }
    }

    /// Exactly the bytes of `range`.
    pub async fn fetch(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.check(&range)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        self.rate.take(wanted as usize).await;
        let bytes = match &self.kind {
            Kind::Folder(object) => object.clone().fetch(range).await?,
            Kind::Cloud(object) => object.fetch(range).await?,
            Kind::Documents(object) => object.fetch(range).await?,
        };
        if bytes.len() as u64 != wanted {
            return Err(StorageError::Other(format!(
                "the storage returned {} bytes where {wanted} were asked for",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// The bytes of `range` in pieces. A slow reader holds no connection open.
    pub fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let piece = match &self.kind {
            Kind::Folder(_) => PIECE,
            Kind::Cloud(_) | Kind::Documents(_) => CLOUD_PIECE,
        };
        self.stream_by(piece, range)
    }

    fn stream_by(
        &self,
        piece: u64,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        self.check(&range)?;
        let object = self.clone();
        let pieces = (range.start..range.end)
            .step_by(piece as usize)
            .map(move |start| start..(start + piece).min(range.end));
        Ok(stream::iter(pieces)
            .map(move |piece| {
                let object = object.clone();
                async move { object.fetch(piece).await }
            })
            .buffered(AHEAD)
            .boxed())
    }

    /// The bytes of `range` as the storage sends them, with as few copies as can be: for readers that keep up.
    pub async fn pieces(
        &self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        match &self.kind {
            Kind::Cloud(object) if !range.is_empty() => {
                self.check(&range)?;
                Ok(self.rate.slow(object.clone().pieces(range).await?))
            }
            _ => self.stream_by(LARGE_PIECE, range),
        }
    }

    fn check(&self, range: &Range<u64>) -> Result<(), StorageError> {
        if range.start > range.end || range.end > self.len {
            return Err(StorageError::Invalid(format!(
                "bytes {} to {} do not lie within the archive's {}",
                range.start, range.end, self.len
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl ReadAt for StoredObject {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        self.fetch(range).await.map_err(StorageError::into_io)
    }
}
