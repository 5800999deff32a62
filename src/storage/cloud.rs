//! A prefix of a bucket as a storage: S3, Google Cloud Storage or Azure.
//!
//! Every object carries the mark of the attempt that wrote it, so that cleaning up after a dead attempt
//! cannot delete an archive of the same name that another installation wrote.
//!
//! On S3 the credentials need GetObject, PutObject, DeleteObject, AbortMultipartUpload and ListBucket:
//! without the last, S3 answers "denied" where an object is missing.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Attribute, GetOptions, ObjectStore, ObjectStoreExt};
use url::Url;

use super::location::Provider;
use super::upload::{UploadHint, UploadJournal};
use super::{Remains, StorageError, StoredObject, name};

mod client;
mod error;
mod plan;
mod upload;

pub(super) use client::{ClientConfig, is_own};
pub(super) use upload::CloudUpload;

/// The name of the mark among an object's metadata.
const MARK: &str = "portal-backup-attempt";
/// What providers sign at most.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) struct Cloud {
    /// For an archive's bytes: retried with patience.
    data: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    /// For questions: retried shortly.
    quick: Arc<dyn ObjectStore>,
    quick_parts: Arc<dyn MultipartStore>,
    signer: Arc<dyn Signer>,
    provider: Provider,
    bucket: String,
    prefix: Path,
    url: Url,
    max_parts: u64,
    secrets: Vec<String>,
}

/// An object that exists.
struct Found {
    size: u64,
    /// The attempt that wrote it, if it is of ours.
    mark: Option<String>,
}

impl Cloud {
    /// Checks URL and options; sends nothing.
    pub(super) fn new(config: &ClientConfig<'_>, max_parts: u32) -> Result<Self, StorageError> {
        let clients = config.build()?;
        let bucket = config.bucket;
        let prefix = Path::parse(bucket.prefix.join("/"))
            .map_err(|error| StorageError::Invalid(format!("{}: {error}", bucket.url())))?;
        // What the providers document; Azure would take 50,000 blocks.
        let most = if bucket.provider == Provider::Azure { 50_000 } else { 10_000 };
        Ok(Self {
            data: clients.data,
            parts: clients.parts,
            quick: clients.quick,
            quick_parts: clients.quick_parts,
            signer: clients.signer,
            provider: bucket.provider,
            bucket: bucket.name.clone(),
            prefix,
            url: bucket.url(),
            max_parts: u64::from(max_parts).min(most),
            secrets: config.secrets(),
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The key of an archive, exactly as named.
    fn key(&self, name: &str) -> Result<Path, StorageError> {
        let key = match self.prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        Path::parse(key).map_err(|error| StorageError::Invalid(error.to_string()))
    }

    fn fail(&self, doing: &str, name: &str, error: &object_store::Error) -> StorageError {
        let what = format!("cannot {doing} {}{name}", self.url);
        error::Context { bucket: &self.bucket, what: &what, secrets: &self.secrets }.error(error)
    }

    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.head(&self.quick, name).await?.map(|found| found.size))
    }

    /// What is known of an archive; None when there is none. `store`: `quick`, or `data` where a
    /// short interruption must not spoil long work.
    async fn head(
        &self,
        store: &Arc<dyn ObjectStore>,
        name: &str,
    ) -> Result<Option<Found>, StorageError> {
        let key = self.key(name)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match store.get_opts(&key, options).await {
            Ok(result) => {
                let mark = result.attributes.get(&Attribute::Metadata(MARK.into()));
                let mark = mark.map(|mark| mark.to_string());
                Ok(Some(Found { size: result.meta.size, mark }))
            }
            // The answer to HEAD has no body, so it cannot tell a missing bucket from a missing object.
            // A listing can, and of what lies below the object's name it is empty.
            Err(object_store::Error::NotFound { .. }) => {
                match store.list(Some(&key)).next().await {
                    Some(Err(error)) if error::is_no_bucket(&error) => {
                        Err(self.fail("read", name, &error))
                    }
                    None | Some(Ok(_)) => Ok(None),
                    // Not everybody may list; then HEAD has the last word.
                    Some(Err(error)) => match self.fail("read", name, &error) {
                        StorageError::Denied(_) => Ok(None),
                        other => Err(other),
                    },
                }
            }
            Err(error) => Err(self.fail("read", name, &error)),
        }
    }

    pub(super) async fn open(self: Arc<Self>, name: &str) -> Result<StoredObject, StorageError> {
        let Some(Found { size, .. }) = self.head(&self.data, name).await? else {
            return Err(StorageError::NotFound(format!("{}{name} does not exist", self.url)));
        };
        let key = self.key(name)?;
        let object = CloudObject { name: name.to_owned(), key, cloud: self };
        Ok(StoredObject::cloud(object, size))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<bool, StorageError> {
        // Clouds do not say whether there was anything to delete.
        if self.size(name).await?.is_none() {
            return Ok(false);
        }
        match self.quick.delete(&self.key(name)?).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.fail("delete", name, &error)),
        }
    }

    pub(super) async fn list(
        &self,
    ) -> Result<BoxStream<'static, Result<(String, u64), StorageError>>, StorageError> {
        let prefix = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let listed = self
            .quick
            .list_with_delimiter(prefix)
            .await
            .map_err(|error| self.fail("list", "", &error))?;
        let archives: Vec<_> = listed
            .objects
            .into_iter()
            .filter_map(|object| Some((object.location.filename()?.to_owned(), object.size)))
            .filter(|(name, _)| name::is_archive(name))
            .map(Ok)
            .collect();
        Ok(stream::iter(archives).boxed())
    }

    pub(super) async fn upload(
        self: Arc<Self>,
        name: &str,
        hint: UploadHint,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<CloudUpload, StorageError> {
        let key = self.key(name)?;
        CloudUpload::start(self, name.to_owned(), key, hint, journal).await
    }

    pub(super) async fn clean(&self, remains: &Remains) -> Result<(), StorageError> {
        let Some(id) = &remains.upload_id else { return Ok(()) };
        let (attempt, upload) = match id.split_once(':') {
            Some((attempt, upload)) => (attempt, Some(upload)),
            None => (id.as_str(), None),
        };
        if let Some(upload) = upload {
            self.abort(&remains.name, upload).await?;
        }
        match self.delete_own(&remains.name, attempt).await {
            // The bucket itself is gone.
            Err(StorageError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// Ends an upload and frees its parts; fine when it is gone.
    async fn abort(&self, name: &str, upload: &str) -> Result<(), StorageError> {
        match self.quick_parts.abort_multipart(&self.key(name)?, &upload.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) if error::has_code(&error, "NoSuchUpload") => Ok(()),
            // Some servers answer so when the upload is gone. Where the right to abort is really
            // missing, asking again at every start would not help either.
            Err(error) if error::has_code(&error, "AccessDenied") => {
                tracing::warn!(
                    bucket = self.bucket,
                    name,
                    "the storage refused to end an upload: it is gone, or the right to \
                     AbortMultipartUpload is missing"
                );
                Ok(())
            }
            Err(error) => Err(self.fail("end the upload of", name, &error)),
        }
    }

    /// Deletes the object if this attempt wrote it.
    async fn delete_own(&self, name: &str, attempt: &str) -> Result<(), StorageError> {
        let Some(Found { mark, .. }) = self.head(&self.quick, name).await? else { return Ok(()) };
        // Azure's multipart uploads carry no metadata: there the caller's word must do.
        let ours = match &mark {
            Some(mark) => mark == attempt,
            None => self.provider == Provider::Azure,
        };
        if ours {
            self.delete(name).await?;
        }
        Ok(())
    }

    pub(super) async fn presigned_link(
        &self,
        name: &str,
        expires: Duration,
    ) -> Result<Url, StorageError> {
        self.signer
            .signed_url(
                object_store::signer::Method::GET,
                &self.key(name)?,
                expires.min(LONGEST_LINK),
            )
            .await
            .map_err(|error| self.fail("make a link to", name, &error))
    }
}

/// An object to read from.
pub(super) struct CloudObject {
    cloud: Arc<Cloud>,
    name: String,
    key: Path,
}

impl CloudObject {
    pub(super) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.cloud
            .data
            .get_range(&self.key, range)
            .await
            .map_err(|error| self.cloud.fail("read", &self.name, &error))
    }
}
