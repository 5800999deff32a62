//! An archive on its way: encrypted and sent as it is written, completed, and read back.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::run::RunError;
use crate::app::App;
use crate::encryption::{OwnKey, Sealing, Stored};
use crate::jobs::{Cancel, CancelReason, JobContext};
use crate::limits::Rate;
use crate::ops::fingerprint::{Fingerprint, read_back};
use crate::storage::{JournalError, Remains, Storage, Upload, UploadHint, UploadJournal};

/// Notes what an upload may leave behind with the job that makes it.
pub(in crate::ops) struct RemainsJournal(pub JobContext);

#[async_trait::async_trait]
impl UploadJournal for RemainsJournal {
    async fn record(&self, remains: &Remains) -> Result<(), JournalError> {
        Ok(self.0.save_remains(serde_json::to_value(remains)?).await?)
    }
}

/// An archive being sent while it is written. Once it is begun, `end` must be awaited: only then is nothing under way.
pub(in crate::ops) struct Sending {
    name: String,
    /// How often its bytes are moved after it is written.
    later: u64,
    sealing: Sealing,
    uploading: JoinHandle<Result<(Upload, Fingerprint), RunError>>,
}

impl Sending {
    /// What is to be sent is written into the channel that is returned.
    pub async fn start(
        app: &App,
        ctx: &JobContext,
        storage: &Storage,
        name: String,
        expected_bytes: u64,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<(Self, mpsc::Sender<Bytes>), RunError> {
        // Sending has a fifth of a job's memory.
        let hint = UploadHint { expected_bytes, memory: app.config.backup.memory.0 as usize / 5 };
        let mut upload = storage.upload(&name, hint, journal).await?;
        let progress = Arc::clone(&ctx.progress);
        let limit = &app.limits.upload;
        let sends_late = upload.sends_late(limit, move |bytes| progress.add(bytes));
        // What is only collected now keeps to the limit when it is sent.
        let limit = if sends_late { Rate::default() } else { limit.clone() };
        let (sink, chunks) = mpsc::channel(1);
        let (chunks, sealing) = Sealing::start(&app.keys, chunks);
        let uploading = tokio::spawn(send(chunks, upload, limit, ctx.cancel.clone()));
        Ok((Self { name, later: 1 + u64::from(sends_late), sealing, uploading }, sink))
    }

    /// How often the archive's bytes are moved after it is written: they are read back, and some storages are sent them
    /// only then.
    pub fn later(&self) -> u64 {
        self.later
    }

    /// Waits until the last byte is sent, or nothing is left of them. `written`: how writing has ended, and what was
    /// written, where that is known; the channel must be closed.
    pub async fn end(self, written: Result<Option<Stored>, RunError>) -> Result<Sent, RunError> {
        let uploaded = self.uploading.await;
        let uploaded = uploaded.map_err(|error| RunError::Internal(error.to_string()));
        // An encryption that failed says more than the writer, whose bytes it no longer took.
        let (stored, own) = match self.sealing.finish().await {
            Ok(Some(sealed)) => (written.map(|_| Some(sealed.stored)), Some(sealed.key)),
            Ok(None) => (written, None),
            Err(error) => (Err(error.into()), None),
        };
        match (stored, uploaded.flatten()) {
            (Ok(Some(stored)), Ok((upload, sent))) => {
                Ok(Sent { name: self.name, upload, sent, stored, own })
            }
            // The storage's own error says more than that the stream was closed.
            (_, Err(error)) => Err(error),
            (stored, Ok((upload, _))) => {
                upload.abort().await?;
                stored?;
                Err(RunError::Failed("the archive was not encrypted".to_owned()))
            }
        }
    }
}

/// Hands the archive's bytes to the storage as they come.
async fn send(
    mut chunks: mpsc::Receiver<Bytes>,
    mut upload: Upload,
    limit: Rate,
    cancel: Cancel,
) -> Result<(Upload, Fingerprint), RunError> {
    let mut sent = Fingerprint::default();
    let pumped = async {
        while let Some(chunk) = chunks.recv().await {
            sent.update(&chunk);
            limit.take(chunk.len()).await;
            upload.write(chunk).await?;
        }
        Ok::<_, RunError>(())
    };
    let pumped = tokio::select! {
        pumped = pumped => pumped,
        () = cancel.cancelled() => Err(RunError::Cancelled),
    };
    if let Err(error) = pumped {
        if let Err(left) = upload.abort().await {
            tracing::warn!(%left, "a failed upload could not be removed; it will be tried again");
        }
        return Err(error);
    }
    Ok((upload, sent))
}

/// An archive whose every byte was sent, and which its storage does not show yet.
pub(in crate::ops) struct Sent {
    name: String,
    upload: Upload,
    sent: Fingerprint,
    pub stored: Stored,
    own: Option<OwnKey>,
}

/// An archive that its storage shows, and gave back as it was sent.
pub(in crate::ops) struct Kept {
    pub name: String,
    pub url: String,
    /// Where the storage gives archives one.
    pub id: Option<String>,
    pub locked_until: Option<Timestamp>,
    pub stored: Stored,
    /// What opens it, when it was encrypted.
    pub own: Option<OwnKey>,
}

impl Sent {
    /// Makes the archive appear, reads it back, and does what else is to be checked. Not to be dropped: a storage that
    /// was told to complete an upload may do so after we have stopped waiting, and nobody would know of the archive.
    pub async fn store(
        self,
        app: &App,
        ctx: &JobContext,
        storage: &Storage,
        check: impl Future<Output = Result<(), RunError>>,
    ) -> Result<Kept, RunError> {
        let Self { name, upload, sent, stored, own } = self;
        ctx.progress.phase("storing");
        let locked_until = upload.locked_until();
        let id = upload.complete().await?;
        let storage = storage.of_archive(id.as_deref());
        ctx.progress.phase("verifying");
        let read_back = async {
            read_back(&storage, &name, &sent, &ctx.progress, &app.limits.read)
                .await
                .map_err(RunError::Failed)?;
            check.await
        };
        let read_back = tokio::select! {
            result = read_back => result,
            () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        };
        if let Err(error) = read_back {
            // Nothing that is not whole, or not wanted, may look like an archive. After a lost lease it is
            // another worker's to clean.
            if ctx.cancel.reason() != Some(CancelReason::Lost) {
                storage.delete(&name).await?;
            }
            return Err(error);
        }
        let url = storage.object_url(&name).to_string();
        Ok(Kept { name, url, id, locked_until, stored, own })
    }
}
