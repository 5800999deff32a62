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
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use url::Url;

use super::location::Bucket;
use super::upload::{UploadHint, UploadJournal};
use super::{Remains, StorageError, StoredObject, name};
use crate::cloud::{ClientConfig, Context, Fault, FaultKind, LockedUntil, Provider, PutSettings};
use crate::cloud::{has_code, in_address, is_no_bucket};
use crate::config::Options;

mod plan;
mod upload;

pub(super) use upload::CloudUpload;

/// What providers sign at most.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) struct Cloud {
    /// For an archive's bytes: retried with patience.
    data: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    /// For questions: retried shortly.
    quick: Arc<dyn ObjectStore>,
    quick_parts: Arc<dyn MultipartStore>,
    /// None: nobody else can reach it.
    signer: Option<Arc<dyn Signer>>,
    config: ClientConfig,
    put: PutSettings,
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
    /// Until when it is locked, as far as that is told.
    locked_until: Option<Timestamp>,
}

impl Cloud {
    /// Checks URL and options; sends nothing. `environment`: whether what the options leave open comes
    /// from there.
    pub(super) fn new(
        bucket: &Bucket,
        options: &Options,
        environment: bool,
        max_parts: u32,
    ) -> Result<Self, StorageError> {
        let config = bucket.client(options, environment);
        let url = bucket.url();
        let wrong = |error| StorageError::Configuration(format!("{url}: {error}"));
        let clients = config.clients().map_err(wrong)?;
        let put = config.put().map_err(wrong)?;
        let prefix = Path::parse(bucket.prefix.join("/"))
            .map_err(|error| StorageError::Invalid(format!("{url}: {error}")))?;
        // What the providers document; Azure would take 50,000 blocks.
        let most = if bucket.provider == Provider::Azure { 50_000 } else { 10_000 };
        Ok(Self {
            data: clients.data,
            parts: clients.parts,
            quick: clients.quick,
            quick_parts: clients.quick_parts,
            signer: Some(clients.signer),
            put,
            prefix,
            url,
            max_parts: u64::from(max_parts).min(most),
            secrets: config.secrets(),
            config,
        })
    }

    /// In this process's memory, and gone with it.
    pub(super) fn in_memory(prefix: &str, max_parts: u32) -> Result<Self, StorageError> {
        let wrong = |error: &dyn std::fmt::Display| StorageError::Invalid(error.to_string());
        let root = Url::parse("memory://memory/").map_err(|error| wrong(&error))?;
        let mut url = root.clone();
        url.set_path(&format!("{prefix}/"));
        let store = Arc::new(InMemory::new());
        Ok(Self {
            data: store.clone(),
            parts: store.clone(),
            quick: store.clone(),
            quick_parts: store,
            signer: None,
            config: ClientConfig {
                provider: Provider::S3,
                bucket: "memory".to_owned(),
                root,
                options: Options::default(),
                environment: false,
            },
            put: PutSettings::default(),
            prefix: Path::parse(prefix).map_err(|error| wrong(&error))?,
            url,
            max_parts: u64::from(max_parts),
            secrets: Vec::new(),
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
        let bucket = &self.config.bucket;
        Context { bucket, what: &what, secrets: &self.secrets }.explain(error).into()
    }

    fn mark(&self) -> Attribute {
        self.config.provider.mark()
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
                let mark = result.attributes.get(&self.mark());
                let mark = mark.map(|mark| mark.to_string());
                let locked_until = result.extensions.get().map(|LockedUntil(until)| *until);
                Ok(Some(Found { size: result.meta.size, mark, locked_until }))
            }
            // The answer to HEAD has no body, so it cannot tell a missing bucket from a missing object.
            // A listing can, and of what lies below the object's name it is empty.
            Err(object_store::Error::NotFound { .. }) => {
                match store.list(Some(&key)).next().await {
                    Some(Err(error)) if is_no_bucket(&error) => {
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
            // Without a body it cannot say why either: of a bucket in another region, of a wrong key or clock.
            Err(error) => match self.fail("read", name, &error) {
                known @ (StorageError::Other(_) | StorageError::Denied(_)) => {
                    match store.list(Some(&key)).next().await {
                        Some(Err(error)) => Err(self.fail("read", name, &error)),
                        None | Some(Ok(_)) => Err(known),
                    }
                }
                known => Err(known),
            },
        }
    }

    /// Until when an archive that was written at `created` is locked: as the storage tells, or else as the options ask
    /// for it.
    pub(super) async fn locked_until(
        &self,
        name: &str,
        created: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let told = self.head(&self.data, name).await?.and_then(|found| found.locked_until);
        Ok(told.or_else(|| self.put.lock.map(|lock| lock.until(created))))
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

    pub(super) async fn folders(&self) -> Result<Vec<String>, StorageError> {
        let prefix = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let listed = self.quick.list_with_delimiter(prefix).await;
        let listed = listed.map_err(|error| self.fail("list", "", &error))?;
        let name = |folder: &Path| folder.filename().map(str::to_owned);
        let mut names: Vec<_> = listed.common_prefixes.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
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
        if self.config.provider == Provider::Azure {
            return self.drop_blocks(name).await;
        }
        match self.quick_parts.abort_multipart(&self.key(name)?, &upload.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) if has_code(&error, "NoSuchUpload") => Ok(()),
            // Memory has no other reason.
            Err(_) if self.signer.is_none() => Ok(()),
            // Some servers answer so when the upload is gone. Where the right to abort is really
            // missing, asking again at every start would not help either.
            Err(error) if has_code(&error, "AccessDenied") => {
                tracing::warn!(
                    bucket = self.config.bucket,
                    name,
                    "the storage refused to end an upload: it is gone, or the right to \
                     AbortMultipartUpload is missing"
                );
                Ok(())
            }
            Err(error) => Err(self.fail("end the upload of", name, &error)),
        }
    }

    /// Azure has no end of an upload: blocks that belong to no object stay for a week, unless an object of
    /// the name is written, which drops them. So an empty one is, and deleted again, where there is none.
    async fn drop_blocks(&self, name: &str) -> Result<(), StorageError> {
        let attempt = uuid::Uuid::new_v4().simple().to_string();
        let attributes = [(self.mark(), attempt.clone())].into_iter().collect();
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        match self.quick.put_opts(&self.key(name)?, PutPayload::new(), options).await {
            Ok(_) => self.delete_own(name, &attempt).await,
            // Whoever wrote that one dropped them, or does so next time.
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) if is_no_bucket(&error) => Ok(()),
            Err(error) => Err(self.fail("end the upload of", name, &error)),
        }
    }

    /// Deletes the object if this attempt wrote it.
    async fn delete_own(&self, name: &str, attempt: &str) -> Result<(), StorageError> {
        let Some(Found { mark, .. }) = self.head(&self.quick, name).await? else { return Ok(()) };
        if mark.as_deref() == Some(attempt) {
            self.delete(name).await?;
        }
        Ok(())
    }

    pub(super) async fn presigned_link(
        &self,
        name: &str,
        expires: Duration,
    ) -> Result<Option<Url>, StorageError> {
        let Some(signer) = self.signer.as_ref().filter(|_| !self.config.has_customer_key()) else {
            // Only who sends the key can read it, and a link sends none.
            return Ok(None);
        };
        let get = object_store::signer::Method::GET;
        let key = self.key(name)?;
        let encoded = in_address(key.as_ref());
        let key = match self.config.provider {
            // There object_store puts the path into the address as it is.
            Provider::Google => {
                Path::parse(encoded).map_err(|error| StorageError::Invalid(error.to_string()))?
            }
            // There it signs the encoded name, and Azure compares with the decoded one.
            Provider::Azure if encoded != key.as_ref() => return Ok(None),
            Provider::S3 | Provider::Azure => key,
        };
        let signed = signer.signed_url(get, &key, expires.min(LONGEST_LINK)).await;
        signed.map(Some).map_err(|error| self.fail("make a link to", name, &error))
    }
}

impl From<Fault> for StorageError {
    fn from(Fault { kind, text }: Fault) -> Self {
        match kind {
            FaultKind::NotFound => Self::NotFound(text),
            FaultKind::Exists => Self::Exists(text),
            FaultKind::Denied => Self::Denied(text),
            FaultKind::Full => Self::Full(text),
            FaultKind::Unavailable => Self::Unavailable(text),
            FaultKind::Other => Self::Other(text),
        }
    }
}

/// An object to read from.
pub(super) struct CloudObject {
    cloud: Arc<Cloud>,
    name: String,
    key: Path,
}

impl CloudObject {
    /// As they come from the network.
    pub(super) async fn pieces(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let failed = |error| self.cloud.fail("read", &self.name, &error);
        let pieces = self.cloud.data.get_opts(&self.key, options).await.map_err(failed)?;
        let failed = move |error| self.cloud.fail("read", &self.name, &error);
        Ok(pieces.into_stream().map_err(failed).boxed())
    }

    pub(super) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.cloud
            .data
            .get_range(&self.key, range)
            .await
            .map_err(|error| self.cloud.fail("read", &self.name, &error))
    }
}
