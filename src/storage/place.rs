//! One storage, whatever it is made of.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use url::Url;

use super::cloud::Cloud;
use super::folder::Folder;
use super::upload::{self, Upload, UploadHint, UploadJournal};
use super::{Remains, StorageError, StoredObject, name};

/// A folder or a prefix of a bucket. Cheap to clone; holds no lock and no open file.
#[derive(Clone)]
pub struct Storage(Kind);

#[derive(Clone)]
enum Kind {
    Folder(Arc<Folder>),
    Cloud(Arc<Cloud>),
}

impl Storage {
    pub(super) fn folder(folder: Folder) -> Self {
        Self(Kind::Folder(Arc::new(folder)))
    }

    pub(super) fn cloud(cloud: Cloud) -> Self {
        Self(Kind::Cloud(Arc::new(cloud)))
    }

    /// The address of the folder or prefix, ending in `/`, without credentials.
    pub fn url(&self) -> &Url {
        match &self.0 {
            Kind::Folder(folder) => folder.url(),
            Kind::Cloud(cloud) => cloud.url(),
        }
    }

    /// The address of the archive `name` in it, without credentials.
    pub fn object_url(&self, name: &str) -> Url {
        let mut url = self.url().clone();
        // A URL that ends in `/` has an empty last segment, which the name replaces.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        url
    }

    /// `name`, or when it is taken, `x_2.tar.gz`, `x_3.tar.gz` … Nothing is reserved: `upload` checks again.
    pub async fn unused_name(&self, name: &str) -> Result<String, StorageError> {
        name::check(name)?;
        for n in 1..1000 {
            let candidate = name::numbered(name, n);
            if self.size(&candidate).await?.is_none() {
                return Ok(candidate);
            }
        }
        Err(StorageError::Exists(format!("{name} and its next 1,000 variants exist already")))
    }

    /// Begins to write the archive `name`. `Exists` when there is one; `NotFound` for a missing bucket.
    pub async fn upload(
        &self,
        name: &str,
        hint: UploadHint,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<Upload, StorageError> {
        name::check(name)?;
        if self.size(name).await?.is_some() {
            return Err(StorageError::Exists(format!("{} exists already", self.object_url(name))));
        }
        Ok(Upload(match &self.0 {
            Kind::Folder(folder) => {
                upload::Kind::Folder(folder.upload(name, hint, journal.as_ref()).await?)
            }
            Kind::Cloud(cloud) => {
                upload::Kind::Cloud(Box::new(cloud.clone().upload(name, hint, journal).await?))
            }
        }))
    }

    /// Opens the archive `name` for random access; `NotFound` when it is gone.
    pub async fn open(&self, name: &str) -> Result<StoredObject, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.open(name).await,
            Kind::Cloud(cloud) => cloud.clone().open(name).await,
        }
    }

    /// The archive's size in bytes; None when it is gone. A storage that is itself missing or does not
    /// answer is an error, so that nobody takes its archives for deleted (a folder that was never made
    /// holds none).
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.size(name).await,
            Kind::Cloud(cloud) => cloud.size(name).await,
        }
    }

    /// The bytes of `range` (which must lie within the archive), in pieces of up to 2 MiB.
    pub async fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        self.open(name).await?.stream(range)
    }

    /// Deletes the archive; false when there was none.
    pub async fn delete(&self, name: &str) -> Result<bool, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.delete(name).await,
            Kind::Cloud(cloud) => cloud.delete(name).await,
        }
    }

    /// Names and sizes of the archives (`*.tar.gz`, `*.tar`) directly in this storage.
    pub async fn list(
        &self,
    ) -> Result<BoxStream<'static, Result<(String, u64), StorageError>>, StorageError> {
        match &self.0 {
            Kind::Folder(folder) => folder.list().await,
            Kind::Cloud(cloud) => cloud.list().await,
        }
    }

    /// Removes what a dead attempt left: open parts, a staged file, and an object that this very attempt
    /// wrote and nobody recorded. Fine to repeat, and when nothing is there. The caller makes sure that
    /// no finished archive is of this attempt, and that the attempt runs no longer.
    pub async fn clean(&self, remains: &Remains) -> Result<(), StorageError> {
        name::check(&remains.name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.clean(remains).await,
            Kind::Cloud(cloud) => cloud.clean(remains).await,
        }
    }

    /// An address that anybody can download the archive from until it expires (a cloud's limit is seven
    /// days). None for folders.
    pub async fn presigned_link(
        &self,
        name: &str,
        expires: Duration,
    ) -> Result<Option<Url>, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(_) => Ok(None),
            Kind::Cloud(cloud) => cloud.presigned_link(name, expires).await.map(Some),
        }
    }

    /// The path when this is a folder: sources leave it out of backups.
    pub fn local_path(&self) -> Option<std::path::PathBuf> {
        match &self.0 {
            Kind::Folder(folder) => Some(folder.path()),
            Kind::Cloud(_) => None,
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({})", self.url())
    }
}
