//! Writing an object: one request when it is small, parts in parallel when not.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::StorageError;
use super::super::upload::{UploadHint, UploadJournal, record};
use super::Cloud;
use super::plan::PartPlan;
use crate::cloud::{Provider, is_not_implemented};

/// What a part's task returns: its index, its length, and the storage's receipt.
type Sent = (usize, u64, Result<PartId, object_store::Error>);

pub(in super::super) struct CloudUpload {
    target: Arc<Target>,
    journal: Arc<dyn UploadJournal>,
    plan: PartPlan,
    /// What is being collected for the next part.
    buffer: Vec<Bytes>,
    buffered: u64,
    flying: JoinSet<Sent>,
    flying_bytes: u64,
    /// The receipts, by index; None while the part is on its way.
    parts: Vec<Option<PartId>>,
    /// Once there are parts.
    upload: Option<Begun>,
    written: u64,
    /// Whether an object may exist already: from when it was asked for.
    visible: bool,
    finished: bool,
}

/// A multipart upload that was begun.
enum Begun {
    /// The storage's id for it.
    Id(String),
    /// What is to be said of the object comes with the last request.
    Azure(Box<dyn MultipartUpload>),
}

impl Begun {
    fn id(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Azure(_) => "",
        }
    }
}

/// Where the object goes.
struct Target {
    cloud: Arc<Cloud>,
    name: String,
    key: Path,
    attempt: String,
    /// Until when it is to be locked, and the clients that ask for that.
    lock: Option<Locking>,
}

struct Locking {
    until: Timestamp,
    store: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
}

impl CloudUpload {
    pub(super) async fn start(
        cloud: Arc<Cloud>,
        name: String,
        key: Path,
        hint: UploadHint,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<Self, StorageError> {
        let plan = PartPlan::new(hint.expected_bytes, hint.memory, cloud.max_parts);
        let attempt = Uuid::new_v4().simple().to_string();
        record(journal.as_ref(), &name, attempt.clone()).await?;
        let lock = match &cloud.put.lock {
            None => None,
            Some(lock) => {
                let until = lock.until(Timestamp::now());
                let client = cloud.config.locking(lock, until);
                let client = client.map_err(StorageError::Configuration)?;
                Some(Locking { until, store: client.clone(), parts: client })
            }
        };
        let mut upload = Self {
            target: Arc::new(Target { cloud, name, key, attempt, lock }),
            journal,
            plan,
            buffer: Vec::new(),
            buffered: 0,
            flying: JoinSet::new(),
            flying_bytes: 0,
            parts: Vec::new(),
            upload: None,
            written: 0,
            visible: false,
            finished: false,
        };
        if plan.size(0).is_some_and(|size| hint.expected_bytes > size) {
            // Now rather than later: what is wrong with the rights shows before any work is done.
            upload.begin().await?;
        }
        Ok(upload)
    }

    /// Until when the object will be locked.
    pub(in super::super) fn locked_until(&self) -> Option<Timestamp> {
        self.target.lock.as_ref().map(|lock| lock.until)
    }

    /// Asks for a multipart upload and records its id before the first part exists.
    async fn begin(&mut self) -> Result<(), StorageError> {
        if self.upload.is_some() {
            return Ok(());
        }
        let target = &self.target;
        let options = PutMultipartOptions {
            attributes: target.attributes(),
            tags: target.cloud.put.tags.clone(),
            ..PutMultipartOptions::default()
        };
        let begun = match target.cloud.config.provider {
            Provider::Azure => {
                let upload = target.cloud.data.put_multipart_opts(&target.key, options).await;
                upload.map(Begun::Azure)
            }
            Provider::S3 | Provider::Google => {
                let parts = target.lock.as_ref().map_or(&target.cloud.parts, |lock| &lock.parts);
                parts.create_multipart_opts(&target.key, options).await.map(Begun::Id)
            }
        };
        let begun = begun.map_err(|error| target.fail(&error))?;
        let id = format!("{}:{}", self.target.attempt, begun.id());
        self.upload = Some(begun);
        record(self.journal.as_ref(), &self.target.name, id).await
    }

    pub(in super::super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let size = self.next_size()?;
            // A part is sent only when more follows: a single one goes by a simpler request.
            if self.buffered >= size {
                self.send().await?;
                continue;
            }
            let take = bytes.len().min(usize::try_from(size - self.buffered).unwrap_or(usize::MAX));
            self.buffer.push(bytes.split_to(take));
            self.buffered += take as u64;
            self.written += take as u64;
        }
        Ok(())
    }

    fn next_size(&self) -> Result<u64, StorageError> {
        self.plan.size(self.parts.len()).ok_or_else(|| {
            StorageError::Other(format!(
                "{} has more parts than storage.max_parts allows",
                self.target.name
            ))
        })
    }

    /// Sends what was collected as the next part, as soon as there is room for the one after it.
    async fn send(&mut self) -> Result<(), StorageError> {
        self.begin().await?;
        let index = self.parts.len();
        let payload: PutPayload = std::mem::take(&mut self.buffer).into_iter().collect();
        let length = std::mem::take(&mut self.buffered);
        let sending: BoxFuture<'static, _> = match &mut self.upload {
            Some(Begun::Azure(upload)) => {
                // Its receipts stay within.
                let receipt = |()| PartId { content_id: String::new() };
                let sent = upload.put_part(payload);
                async move { sent.await.map(receipt) }.boxed()
            }
            Some(Begun::Id(id)) => {
                let (target, id) = (self.target.clone(), id.clone());
                let parts = target.cloud.parts.clone();
                async move { parts.put_part(&target.key, &id, index, payload).await }.boxed()
            }
            None => return Err(StorageError::Other("the upload was not begun".to_owned())),
        };
        self.parts.push(None);
        self.flying_bytes += length;
        self.flying.spawn(async move { (index, length, sending.await) });
        let next = self.plan.size(self.parts.len()).unwrap_or(length);
        while !self.plan.has_room(self.flying.len(), self.flying_bytes, next) {
            self.landed().await?;
        }
        Ok(())
    }

    /// Waits for one part to arrive; false when none is on its way.
    async fn landed(&mut self) -> Result<bool, StorageError> {
        let (index, length, sent) = match self.flying.join_next().await {
            None => return Ok(false),
            Some(Ok(sent)) => sent,
            Some(Err(error)) => {
                return Err(StorageError::Other(format!("a part was interrupted: {error}")));
            }
        };
        self.flying_bytes -= length;
        let part = sent.map_err(|error| self.target.fail(&error))?;
        if let Some(slot) = self.parts.get_mut(index) {
            *slot = Some(part);
        }
        Ok(true)
    }

    pub(in super::super) async fn complete(mut self) -> Result<(), StorageError> {
        let result = self.finish().await;
        match result {
            Ok(()) => self.finished = true,
            Err(_) => {
                if let Err(error) = self.remove().await {
                    // The caller hears of the first error; what is left is in the journal.
                    self.target.warn(&error);
                }
            }
        }
        result
    }

    async fn finish(&mut self) -> Result<(), StorageError> {
        if self.upload.is_none() {
            let payload: PutPayload = std::mem::take(&mut self.buffer).into_iter().collect();
            self.visible = true;
            return match self.target.put(payload).await {
                Ok(()) => Ok(()),
                Err(error) => self.target.arrived(self.written, error).await,
            };
        }
        // A multipart upload needs one part, even an empty one.
        if self.buffered > 0 || self.parts.is_empty() {
            self.send().await?;
        }
        while self.landed().await? {}
        let parts: Option<Vec<_>> = std::mem::take(&mut self.parts).into_iter().collect();
        let (Some(parts), Some(begun)) = (parts, &mut self.upload) else {
            return Err(StorageError::Other(format!("{}: a part is missing", self.target.name)));
        };
        let target = &self.target;
        // No provider's multipart interface here refuses to overwrite: ask as late as possible.
        if target.cloud.head(&target.cloud.data, &target.name).await?.is_some() {
            return Err(target.exists());
        }
        self.visible = true;
        let completed = match begun {
            Begun::Id(id) => target.cloud.parts.complete_multipart(&target.key, id, parts).await,
            Begun::Azure(upload) => upload.complete().await,
        };
        match completed {
            Ok(_) => Ok(()),
            Err(error) => target.arrived(self.written, target.fail(&error)).await,
        }
    }

    pub(in super::super) async fn abort(mut self) -> Result<(), StorageError> {
        self.remove().await
    }

    async fn remove(&mut self) -> Result<(), StorageError> {
        // A part that arrives after the end of its upload would stay for ever.
        self.flying.shutdown().await;
        let upload = self.upload.as_ref().map(|upload| upload.id().to_owned());
        let result = self.target.remove(upload.as_deref(), self.visible).await;
        // Once was enough, also when it failed: what is left is in the journal.
        self.finished = true;
        result
    }
}

impl Drop for CloudUpload {
    fn drop(&mut self) {
        if self.finished || (self.upload.is_none() && !self.visible) {
            return;
        }
        // Without a runtime, as at the end of the process, the next start cleans.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (target, visible) = (self.target.clone(), self.visible);
        let upload = self.upload.take().map(|upload| upload.id().to_owned());
        let mut flying = std::mem::take(&mut self.flying);
        runtime.spawn(async move {
            flying.shutdown().await;
            if let Err(error) = target.remove(upload.as_deref(), visible).await {
                target.warn(&error);
            }
        });
    }
}

impl Target {
    fn fail(&self, error: &object_store::Error) -> StorageError {
        self.cloud.fail("write", &self.name, error)
    }

    fn warn(&self, error: &StorageError) {
        let name = self.name.as_str();
        tracing::warn!(%error, name, "an upload was given up, and its parts may remain");
    }

    fn exists(&self) -> StorageError {
        StorageError::Exists(format!("{}{} exists already", self.cloud.url, self.name))
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.cloud.put.attributes();
        attributes.insert(self.cloud.mark(), self.attempt.clone().into());
        attributes
    }

    /// After an error it may still have worked: an answer that was lost makes the repeated request fail.
    async fn arrived(&self, written: u64, error: StorageError) -> Result<(), StorageError> {
        let found = self.cloud.head(&self.cloud.quick, &self.name).await.ok().flatten();
        let ours = found.is_some_and(|found| {
            found.size == written && found.mark.as_ref() == Some(&self.attempt)
        });
        if ours { Ok(()) } else { Err(error) }
    }

    async fn put(&self, payload: PutPayload) -> Result<(), StorageError> {
        let options = |mode| PutOptions {
            mode,
            attributes: self.attributes(),
            tags: self.cloud.put.tags.clone(),
            ..PutOptions::default()
        };
        let store = self.lock.as_ref().map_or(&self.cloud.data, |lock| &lock.store);
        match store.put_opts(&self.key, payload.clone(), options(PutMode::Create)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_implemented(&error) => {
                if self.cloud.head(&self.cloud.data, &self.name).await?.is_some() {
                    return Err(self.exists());
                }
                match store.put_opts(&self.key, payload, options(PutMode::Overwrite)).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(self.fail(&error)),
                }
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    async fn remove(&self, upload: Option<&str>, visible: bool) -> Result<(), StorageError> {
        if let Some(upload) = upload {
            self.cloud.abort(&self.name, upload).await?;
        }
        if visible {
            self.cloud.delete_own(&self.name, &self.attempt).await?;
        }
        Ok(())
    }
}
