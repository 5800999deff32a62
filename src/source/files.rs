//! Filesystems: a folder or a bucket, listed and read.

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::config::Options;

/// One file of a filesystem, or an empty directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Relative to the filesystem's root, `/` between parts, exactly as stored.
    pub path: String,
    pub size: u64,
    /// Unix seconds.
    pub modified: i64,
    pub is_directory: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("filesystem {url}: {message}")]
    Configuration { url: String, message: String },
    /// The file is gone.
    #[error("{path} no longer exists")]
    NotFound { path: String },
    #[error("cannot read {path}: {message}")]
    Read { path: String, message: String },
}

/// What a listing yields beside files: something that cannot be backed up and must be named.
#[derive(Debug, Clone)]
pub enum Listed {
    File(FileMeta),
    /// A sentence for the job's warnings (a socket, a dangling link, a name that is no text …).
    Skipped(String),
}

pub struct Filesystem;

impl Filesystem {
    /// `url`: `file://`, `s3://`, `gs://` or `az://`; `options`: object_store's own keys. Reads nothing yet.
    pub fn open(_url: &url::Url, _options: &Options) -> Result<Self, FilesError> {
        todo!()
    }

    /// Everything below `prefix` (`""`: everything), recursively, in the order of the names within a folder.
    /// A missing prefix is an empty listing.
    pub fn list(&self, _prefix: &str) -> BoxStream<'static, Result<Listed, FilesError>> {
        todo!()
    }

    /// The content, in pieces of up to 1 MiB, as long as the file is now: the caller compares with `size`.
    pub async fn read(
        &self,
        _file: &FileMeta,
    ) -> Result<BoxStream<'static, Result<Bytes, FilesError>>, FilesError> {
        todo!()
    }
}
