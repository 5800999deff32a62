//! Filesystems: a folder or a bucket, listed and read.
//!
//! Folders are read with the system's own calls, because names there may hold what an object store's
//! path cannot, and because links, pipes and devices must be told apart; buckets through `object_store`.

pub(in crate::source) mod beneath;
mod local;
mod mounts;
mod names;
mod staging;
mod store;
mod text;
mod walk;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use url::Url;

use crate::config::Options;

pub use staging::{FilesStaging, Replaced};

/// The folder that a restore stages in; it is never part of a backup.
pub const STAGING_FOLDER: &str = ".portal-backup";
/// The largest piece that a read yields.
pub const PIECE: usize = 1 << 20;
/// How many files one [`Filesystem::read_small`] should be asked for at most.
pub const SMALL_BATCH: usize = 64;

/// One file of a filesystem, or an empty directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Relative to the filesystem's root, `/` between parts, exactly as stored; of a folder's names that are no UTF-8
    /// each such byte is a character for private use.
    pub path: String,
    pub size: u64,
    /// Unix seconds.
    pub modified: i64,
    pub is_directory: bool,
    /// What differs when its content does though size and time do not: the fractions of its times, or a store's ETag.
    pub version: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The URL, its options or the root itself is wrong.
    #[error("filesystem {url}: {message}")]
    Configuration { url: String, message: String },
    /// The file is gone.
    #[error("{path} no longer exists")]
    NotFound { path: String },
    /// It is there, but not for us: no permission, or no longer a regular file. Trying again would not help.
    #[error("cannot read {path}: {message}")]
    Denied { path: String, message: String },
    /// A failing disc or network, credentials that have expired: other files may fail the same way.
    #[error("cannot read {path}: {message}")]
    Read { path: String, message: String },
    /// A restore could not write, rename or remove it.
    #[error("cannot write {path}: {message}")]
    Write { path: String, message: String },
    /// A restore must not or cannot put it in its place. Trying again would not help.
    #[error("{path} cannot be restored: {message}")]
    Refused { path: String, message: String },
}

/// What a listing yields beside files: something that cannot be backed up and must be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    File(FileMeta),
    /// A sentence for the job's warnings (a socket, a dangling link …).
    Skipped(String),
    /// A folder or file that we may not look into, and the system's word for it.
    Denied(FileMeta, String),
}

pub type Listing = BoxStream<'static, Result<Listed, FilesError>>;
pub type Content = BoxStream<'static, Result<Bytes, FilesError>>;
/// What a file was when it was opened, which may not be what was listed, and its content.
pub type Opened<T> = (FileMeta, T);

/// A folder or a bucket with a prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Filesystem(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Local(Arc<local::LocalFolder>),
    Store(Arc<store::Bucket>),
}

impl Filesystem {
    /// `url`: `file://`, `s3://`, `gs://` or `az://`; `options`: object_store's own keys. Reads nothing yet.
    pub fn open(url: &Url, options: &Options) -> Result<Self, FilesError> {
        Ok(Self(match url.scheme() {
            "file" => Backend::Local(Arc::new(local::LocalFolder::open(url, options)?)),
            _ => Backend::Store(Arc::new(store::Bucket::open(url, options)?)),
        }))
    }

    /// A store that is already made; `url` names it in messages and for [`Filesystem::covers`].
    pub fn from_store(store: Arc<dyn ObjectStore>, url: &Url) -> Result<Self, FilesError> {
        Ok(Self(Backend::Store(Arc::new(store::Bucket::new(store, url, &Options::default())?))))
    }

    /// The same, whose first so many folders on the way to anything may be links that root or our own user made.
    #[must_use]
    pub fn through_links(self, depth: usize) -> Self {
        match self.0 {
            Backend::Local(folder) => Self(Backend::Local(Arc::new(folder.through_links(depth)))),
            store => Self(store),
        }
    }

    /// The same; a bucket's server takes no more parts of one upload.
    #[must_use]
    pub fn with_max_parts(self, max_parts: u32) -> Self {
        match self.0 {
            Backend::Store(bucket) => Self(Backend::Store(match Arc::try_unwrap(bucket) {
                Ok(bucket) => Arc::new(bucket.with_max_parts(max_parts)),
                // Others use it already as it is.
                Err(shared) => shared,
            })),
            folder => Self(folder),
        }
    }

    /// Whether it is a folder of this machine; else it is a bucket.
    pub fn is_local(&self) -> bool {
        matches!(self.0, Backend::Local(_))
    }

    /// Tries whether the root is there and can be listed.
    pub async fn check(&self) -> Result<(), FilesError> {
        match &self.0 {
            Backend::Local(folder) => folder.clone().check().await,
            Backend::Store(bucket) => bucket.check().await,
        }
    }

    /// Where the place that `url` names lies in here, relative to the root (`""`: it is the root);
    /// None when it lies elsewhere. `options` are that place's, because two buckets may share a name
    /// on different servers.
    pub fn covers(&self, url: &Url, options: &Options) -> Option<String> {
        match &self.0 {
            Backend::Local(folder) => folder.covers(url),
            Backend::Store(bucket) => bucket.covers(url, options),
        }
    }

    /// The same where nobody knows the place's options any more: of buckets the names are enough.
    pub fn may_cover(&self, url: &Url) -> Option<String> {
        match &self.0 {
            Backend::Local(folder) => folder.covers(url),
            Backend::Store(bucket) => bucket.may_cover(url),
        }
    }

    /// Everything below `prefix` (`""`: everything), recursively, in the order of the names within a
    /// folder. A missing prefix is an empty listing; a missing root is an error. An error that names a
    /// single file or folder does not end the listing: what follows is still listed.
    pub fn list(&self, prefix: &str) -> Listing {
        self.list_except(prefix, Vec::new())
    }

    /// As [`Filesystem::list`], without the `excluded` files and folders (relative to the root).
    pub fn list_except(&self, prefix: &str, mut excluded: Vec<String>) -> Listing {
        excluded.push(STAGING_FOLDER.to_owned());
        let excluded = Excluded(excluded);
        match &self.0 {
            Backend::Local(folder) => folder.clone().list(prefix, excluded),
            Backend::Store(bucket) => bucket.list(prefix, excluded),
        }
    }

    /// What is at a path now. A folder is one with `is_directory`.
    pub async fn stat(&self, path: &str) -> Result<FileMeta, FilesError> {
        match &self.0 {
            Backend::Local(folder) => folder.clone().stat(path).await,
            Backend::Store(bucket) => bucket.stat(path).await,
        }
    }

    /// The content, in pieces of up to 1 MiB, as long as the file is by then: if it changes while it is read, that
    /// is not the size it was opened with.
    pub async fn read(&self, file: &FileMeta) -> Result<Opened<Content>, FilesError> {
        match &self.0 {
            Backend::Local(folder) => folder.clone().read(&file.path).await,
            Backend::Store(bucket) => bucket.read(file).await,
        }
    }

    /// Whole contents of small files, in the order of `files`: one trip to a blocking thread for all of
    /// them, or one round of concurrent requests. Memory stays bounded: of a file that grew by 64 KiB or more since
    /// it was listed there is no content, and [`Filesystem::read`] is the way to it.
    pub async fn read_small(
        &self,
        files: &[FileMeta],
    ) -> Vec<Result<Opened<Option<Bytes>>, FilesError>> {
        match &self.0 {
            Backend::Local(folder) => folder.clone().read_small(files).await,
            Backend::Store(bucket) => bucket.read_small(files).await,
        }
    }
}

/// A file that grew by as much is no small file any more, as far as [`Filesystem::read_small`] goes.
const GROWTH: u64 = 64 << 10;

/// Paths that a listing leaves out, with everything below them.
#[derive(Debug, Clone)]
struct Excluded(Vec<String>);

impl Excluded {
    fn contains(&self, path: &str) -> bool {
        is_staged_database(path)
            || self.0.iter().any(|excluded| archive::is_at_or_in(path, excluded))
    }
}

/// Whether a file is what a restore or a proof stages beside a SQLite database: `.{file}.portal-backup-{attempt}`,
/// `-old` perhaps, and what SQLite puts beside it. No other name may match: it would be in no backup.
fn is_staged_database(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((file, rest)) = name.rsplit_once(".portal-backup-") else { return false };
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    let (attempt, kind) = rest.split_at(end);
    let companion = kind.strip_prefix("-old").unwrap_or(kind);
    file.len() > 1
        && file.starts_with('.')
        && !attempt.is_empty()
        && matches!(companion, "" | "-journal" | "-wal" | "-shm")
}

/// Splits a path into parts that can be opened one after another. None if one would lead elsewhere.
fn parts(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().all(|part| !matches!(*part, "." | "..")).then_some(parts)
}

/// A name for a sentence: names may hold line breaks and control characters.
fn quoted(path: &str) -> String {
    format!("{path:?}")
}

fn once(error: FilesError) -> Listing {
    futures::stream::once(async move { Err(error) }).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_is_by_whole_names() {
        let excluded = Excluded(vec!["a/b".to_owned()]);
        assert!(excluded.contains("a/b"));
        assert!(excluded.contains("a/b/c"));
        assert!(!excluded.contains("a/bc"));
        assert!(!excluded.contains("a"));
        assert!(excluded.contains("x/.portal.db.portal-backup-3f2a-old"));
        assert!(excluded.contains("x/.portal.db.portal-backup-3f2a"));
        assert!(excluded.contains("x/.portal.db.portal-backup-3f2a-old-wal"));
        for own in [
            "x/portal.db",
            ".portal-backup-keys/a/%/b",
            "x/.portal-backup-keys",
            "x/.portal-backup-3f2a",
            "x/.a.portal-backup-notes",
            "x/.a.portal-backup-3f2a.txt",
            "x/a.portal-backup-3f2a",
        ] {
            assert!(!excluded.contains(own), "{own}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_have_no_parts() {
        assert_eq!(parts("a//b/"), Some(vec!["a", "b"]));
        assert_eq!(parts("a/../b"), None);
        assert_eq!(parts(""), Some(vec![]));
    }

    #[test]
    fn only_known_schemes_open() {
        for url in ["http://example.org/x", "ftp://example.org/x", "memory:///"] {
            let error = Filesystem::open(&url.parse().unwrap(), &Options::default()).unwrap_err();
            assert!(matches!(error, FilesError::Configuration { .. }), "{error}");
        }
    }
}
