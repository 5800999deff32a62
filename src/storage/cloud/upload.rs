//! Writing an object: one request when it is small, parts in parallel when not.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::StorageError;
use super::super::location::Provider;
use super::super::upload::{UploadHint, UploadJournal, record};
use super::plan::PartPlan;
use super::{Cloud, MARK, error};

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
    /// The storage's id, once there are parts.
    upload: Option<String>,
    written: u64,
    /// Whether an object may exist already: from when it was asked for.
    visible: bool,
    finished: bool,
}

/// Where the object goes.
struct Target {
    cloud: Arc<Cloud>,
    name: String,
    key: Path,
    attempt: String,
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
        let mut upload = Self {
            target: Arc::new(Target { cloud, name, key, attempt }),
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

    /// Asks for a multipart upload and records its id before the first part exists.
    async fn begin(&mut self) -> Result<String, StorageError> {
        if let Some(id) = &self.upload {
            return Ok(id.clone());
        }
        let target = &self.target;
        // Azure's interface takes no metadata here.
        let attributes = match target.cloud.provider {
            Provider::Azure => Attributes::new(),
            _ => target.attributes(),
        };
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = target
            .cloud
            .parts
            .create_multipart_opts(&target.key, options)
            .await
            .map_err(|error| target.fail(&error))?;
        self.upload = Some(id.clone());
        record(self.journal.as_ref(), &self.target.name, format!("{}:{id}", self.target.attempt))
            .await?;
        Ok(id)
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
        let id = self.begin().await?;
        let index = self.parts.len();
        let payload: PutPayload = std::mem::take(&mut self.buffer).into_iter().collect();
        let length = std::mem::take(&mut self.buffered);
        let target = self.target.clone();
        self.parts.push(None);
        self.flying_bytes += length;
        self.flying.spawn(async move {
            let sent = target.cloud.parts.put_part(&target.key, &id, index, payload).await;
            (index, length, sent)
        });
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
                Err(error) => self.arrived(error).await,
            };
        }
        // A multipart upload needs one part, even an empty one.
        if self.buffered > 0 || self.parts.is_empty() {
            self.send().await?;
        }
        while self.landed().await? {}
        let parts: Option<Vec<_>> = std::mem::take(&mut self.parts).into_iter().collect();
        let (Some(parts), Some(id)) = (parts, &self.upload) else {
            return Err(StorageError::Other(format!("{}: a part is missing", self.target.name)));
        };
        let target = &self.target;
        // No provider's multipart interface here refuses to overwrite: ask as late as possible.
        if target.cloud.size(&target.name).await?.is_some() {
            return Err(target.exists());
        }
        self.visible = true;
        match target.cloud.parts.complete_multipart(&target.key, id, parts).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = target.fail(&error);
                self.arrived(error).await
            }
        }
    }

    /// After an error it may still have worked: an answer that was lost makes the repeated request fail.
    async fn arrived(&self, error: StorageError) -> Result<(), StorageError> {
        let target = &self.target;
        match target.cloud.head(&target.name).await {
            Ok(Some((size, Some(mark)))) if size == self.written && mark == target.attempt => {
                Ok(())
            }
            _ => Err(error),
        }
    }

    pub(in super::super) async fn abort(mut self) -> Result<(), StorageError> {
        self.remove().await
    }

    async fn remove(&mut self) -> Result<(), StorageError> {
        // A part that arrives after the end of its upload would stay for ever.
        self.flying.shutdown().await;
        let result = self.target.remove(self.upload.as_deref(), self.visible).await;
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
        let (target, upload, visible) = (self.target.clone(), self.upload.take(), self.visible);
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
        [(Attribute::Metadata(MARK.into()), self.attempt.clone())].into_iter().collect()
    }

    async fn put(&self, payload: PutPayload) -> Result<(), StorageError> {
        let options =
            |mode| PutOptions { mode, attributes: self.attributes(), ..PutOptions::default() };
        let store = &self.cloud.data;
        match store.put_opts(&self.key, payload.clone(), options(PutMode::Create)).await {
            Ok(_) => Ok(()),
            Err(error) if error::is_not_implemented(&error) => {
                if self.cloud.size(&self.name).await?.is_some() {
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
