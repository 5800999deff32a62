//! One storage, whatever it is made of.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use url::Url;

use super::cloud::Cloud;
use super::consumer::Consumer;
use super::documents::Documents;
use super::folder::Folder;
use super::upload::{self, Upload, UploadHint, UploadJournal};
use super::{Remains, StorageError, StoredObject, name};

/// A folder, a prefix of a bucket, or a folder of the portal's documents. Cheap to clone; holds no lock and no open file.
#[derive(Clone)]
pub struct Storage(Kind);

#[derive(Clone)]
enum Kind {
    Folder(Arc<Folder>),
    Cloud(Arc<Cloud>),
    Consumer(Arc<Consumer>),
    Documents(Arc<Documents>),
}

impl Storage {
    pub(super) fn folder(folder: Folder) -> Self {
        Self(Kind::Folder(Arc::new(folder)))
    }

    pub(super) fn cloud(cloud: Cloud) -> Self {
        Self(Kind::Cloud(Arc::new(cloud)))
    }

    /// One in this process's memory, which is gone with it: for trying what uses storages.
    pub fn in_memory(prefix: &str, max_parts: u32) -> Result<Self, StorageError> {
        Ok(Self::cloud(Cloud::in_memory(prefix, max_parts)?))
    }

    pub(super) fn consumer(consumer: Consumer) -> Self {
        Self(Kind::Consumer(Arc::new(consumer)))
    }

    pub(super) fn documents(documents: Documents) -> Self {
        Self(Kind::Documents(Arc::new(documents)))
    }

    /// Whether it is reached through the portal itself, which must be open then.
    pub fn is_documents(&self) -> bool {
        matches!(self.0, Kind::Documents(_))
    }

    /// Makes sure that a backup can begin here: `NotConfigured` when credentials are missing that are not in
    /// the configuration, `Invalid` when the request names no place to write to.
    pub async fn ready(&self) -> Result<(), StorageError> {
        match &self.0 {
            Kind::Consumer(consumer) => consumer.cloud().await.map(drop),
            Kind::Documents(documents) => documents.folder().map(drop),
            Kind::Folder(_) | Kind::Cloud(_) => Ok(()),
        }
    }

    /// The storage as it knows a finished archive; `id`: what [`Upload::complete`] returned.
    #[must_use]
    pub fn of_archive(&self, id: Option<&str>) -> Self {
        match (&self.0, id) {
            (Kind::Documents(documents), Some(id)) => Self::documents(documents.of_file(id)),
            _ => self.clone(),
        }
    }

    /// The address of the folder or prefix, ending in `/`, without credentials.
    pub fn url(&self) -> &Url {
        match &self.0 {
            Kind::Folder(folder) => folder.url(),
            Kind::Cloud(cloud) => cloud.url(),
            Kind::Consumer(consumer) => consumer.url(),
            Kind::Documents(documents) => documents.url(),
        }
    }

    /// The address of the archive `name` in it, without credentials.
    pub fn object_url(&self, name: &str) -> Url {
        let mut url = self.url().clone();
        let name = match &self.0 {
            // There every archive has an address of its own.
            Kind::Documents(documents) if documents.is_file() => return url,
            Kind::Consumer(consumer) => consumer.key(name),
            _ => name.into(),
        };
        // A URL that ends in `/` has an empty last segment, which the name replaces.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(&name);
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
            Kind::Consumer(consumer) => {
                let cloud = consumer.cloud().await?;
                let upload = cloud.upload(&consumer.key(name), hint, journal).await?;
                upload::Kind::Cloud(Box::new(upload))
            }
            Kind::Documents(documents) => {
                let upload = documents.clone().upload(name, hint, journal).await?;
                upload::Kind::Documents(Box::new(upload))
            }
        }))
    }

    /// Opens the archive `name` for random access; `NotFound` when it is gone.
    pub async fn open(&self, name: &str) -> Result<StoredObject, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.open(name).await,
            Kind::Cloud(cloud) => cloud.clone().open(name).await,
            Kind::Consumer(consumer) => consumer.cloud().await?.open(&consumer.key(name)).await,
            Kind::Documents(documents) => documents.clone().open(name).await,
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
            Kind::Consumer(consumer) => consumer.cloud().await?.size(&consumer.key(name)).await,
            Kind::Documents(documents) => documents.size(name).await,
        }
    }

    /// Until when the storage will let nobody delete the archive that was written at `created`.
    pub async fn locked_until(
        &self,
        name: &str,
        created: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        name::check(name)?;
        match &self.0 {
            Kind::Folder(_) | Kind::Documents(_) => Ok(None),
            Kind::Cloud(cloud) => cloud.locked_until(name, created).await,
            Kind::Consumer(consumer) => {
                let cloud = consumer.cloud().await?;
                cloud.locked_until(&consumer.key(name), created).await
            }
        }
    }

    /// The bytes of `range` (which must lie within the archive), in pieces of up to 1 MiB.
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
            Kind::Consumer(consumer) => consumer.cloud().await?.delete(&consumer.key(name)).await,
            Kind::Documents(documents) => documents.delete(name).await,
        }
    }

    /// Names and sizes of the archives (`*.tar.gz`, `*.tar`, or encrypted with `.age` behind it) directly in this storage.
    pub async fn list(
        &self,
    ) -> Result<BoxStream<'static, Result<(String, u64), StorageError>>, StorageError> {
        match &self.0 {
            Kind::Folder(folder) => folder.list().await,
            Kind::Cloud(cloud) => cloud.list().await,
            Kind::Consumer(consumer) => consumer.cloud().await?.list().await,
            Kind::Documents(documents) => documents.list().await,
        }
    }

    /// Names of the folders directly in this storage, in their order; none where storages have no folders.
    pub async fn folders(&self) -> Result<Vec<String>, StorageError> {
        match &self.0 {
            Kind::Folder(folder) => folder.folders().await,
            Kind::Cloud(cloud) => cloud.folders().await,
            Kind::Consumer(_) | Kind::Documents(_) => Ok(Vec::new()),
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
            Kind::Consumer(consumer) => consumer.cloud().await?.clean(remains).await,
            Kind::Documents(documents) => documents.clean(remains).await,
        }
    }

    /// An address that anybody can download the archive from until it expires (a cloud's limit is seven
    /// days). None for folders and documents, and where whoever reads must send a key, or the
    /// provider's signature cannot be made.
    pub async fn presigned_link(
        &self,
        name: &str,
        expires: Duration,
    ) -> Result<Option<Url>, StorageError> {
        name::check(name)?;
        match &self.0 {
            // DocSpace asks whoever opens a document who they are.
            Kind::Folder(_) | Kind::Documents(_) => Ok(None),
            Kind::Cloud(cloud) => cloud.presigned_link(name, expires).await,
            Kind::Consumer(consumer) => {
                let cloud = consumer.cloud().await?;
                cloud.presigned_link(&consumer.key(name), expires).await
            }
        }
    }

    /// The path when this is a folder: sources leave it out of backups.
    pub fn local_path(&self) -> Option<std::path::PathBuf> {
        match &self.0 {
            Kind::Folder(folder) => Some(folder.path()),
            Kind::Cloud(_) | Kind::Consumer(_) | Kind::Documents(_) => None,
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({})", self.url())
    }
}
