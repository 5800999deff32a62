//! Writing an archive: the same steps for folders and clouds.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::cloud::CloudUpload;
use super::documents::DocumentsUpload;
use super::folder::FolderUpload;
use super::{Remains, StorageError};
use crate::limits::Rate;

/// What is known of an upload before it begins.
#[derive(Debug, Clone, Copy)]
pub struct UploadHint {
    /// The expected size in bytes; 0 when unknown. It may be wrong, also by much.
    pub expected_bytes: u64,
    /// How many bytes may be held in memory.
    pub memory: usize,
}

/// Why a journal could not be written.
pub type JournalError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps what an upload may leave behind when the process dies. `record` replaces what it recorded before.
#[async_trait]
pub trait UploadJournal: Send + Sync {
    /// Called before anything is written, and again when the storage's upload id is known; when it
    /// fails, the upload fails.
    async fn record(&self, remains: &Remains) -> Result<(), JournalError>;
}

/// Records or fails as a storage does.
pub(super) async fn record(
    journal: &dyn UploadJournal,
    name: &str,
    upload_id: String,
) -> Result<(), StorageError> {
    journal.record(&Remains { name: name.to_owned(), upload_id: Some(upload_id) }).await.map_err(
        |error| StorageError::Other(format!("cannot record the upload of {name}: {error}")),
    )
}

/// An archive being written. Nothing is visible under its name before `complete` has returned.
/// Dropped or aborted, it leaves nothing; killed, what it left is in the journal.
pub struct Upload(pub(super) Kind);

pub(super) enum Kind {
    Folder(FolderUpload),
    Cloud(Box<CloudUpload>),
    Documents(Box<DocumentsUpload>),
}

impl Upload {
    /// Takes the next bytes; waits while as much as the hint's memory is on its way.
    /// After an error the upload is lost and only `abort` (or dropping it) makes sense.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        match &mut self.0 {
            Kind::Folder(upload) => upload.write(bytes).await,
            Kind::Cloud(upload) => upload.write(bytes).await,
            Kind::Documents(upload) => upload.write(bytes).await,
        }
    }

    /// Whether everything is sent only when the upload is completed: no faster than `rate` then, and `told` hears how many
    /// bytes were.
    pub fn sends_late(&mut self, rate: &Rate, told: impl Fn(u64) + Send + Sync + 'static) -> bool {
        match &mut self.0 {
            Kind::Documents(upload) => upload.tell(rate, told),
            Kind::Folder(_) | Kind::Cloud(_) => return false,
        }
        true
    }

    /// Until when the storage will let nobody delete the archive, where it was asked to.
    pub fn locked_until(&self) -> Option<Timestamp> {
        match &self.0 {
            Kind::Cloud(upload) => upload.locked_until(),
            Kind::Folder(_) | Kind::Documents(_) => None,
        }
    }

    /// Makes the archive durable and visible. On an error nothing is left behind. Returns the archive's id
    /// where the storage gives it one; it is then found by [`super::Storage::of_archive`].
    pub async fn complete(self) -> Result<Option<String>, StorageError> {
        match self.0 {
            Kind::Folder(upload) => upload.complete().await.map(|()| None),
            Kind::Cloud(upload) => upload.complete().await.map(|()| None),
            Kind::Documents(upload) => upload.complete().await.map(Some),
        }
    }

    /// Removes what was written. An error means that something may be left: `Storage::clean` removes it.
    pub async fn abort(self) -> Result<(), StorageError> {
        match self.0 {
            Kind::Folder(upload) => upload.abort().await,
            Kind::Cloud(upload) => upload.abort().await,
            Kind::Documents(upload) => upload.abort().await,
        }
    }
}
