//! The folder of a backup: the archive, and the document that is written last, so that who finds it finds a backup
//! that is whole. Increments lie in folders of their own beside them.

use std::sync::Arc;

use archive::ReadAt;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::document;
use super::location::Location;
use crate::app::App;
use crate::catalog::{ArchiveRecord, SourceKind};
use crate::encryption::{ENDING, Keys, Opened, is_encrypted, sealed};
use crate::ops::{OpError, unopened};
use crate::storage::{JournalError, Remains, Storage, UploadHint, UploadJournal};

/// RavenDB's own name for the data of a full backup; by it a folder is known to hold one.
pub const ARCHIVE: &str = "RavenDB.Voron.Backup";
/// Says whose increments lie in a folder.
pub const STATE: &str = "IncrementalBackupState.Document";
/// RavenDB 3.5 leaves it where a backup failed.
pub const FAILURE: &str = "Backup.Failure";
/// What the folders of increments are called.
pub const INCREMENT: &str = "Inc ";
/// Far more than any document.
const LONGEST: u64 = 1 << 20;

/// The name of the configuration document.
pub fn document_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Database => "Database.Document",
        SourceKind::Filesystem => "Filesystem.Document",
    }
}

/// `Inc yyyy-MM-dd HH-mm-ss`, in UTC.
pub fn increment_name(at: Timestamp) -> String {
    format!("{INCREMENT}{}", at.strftime("%Y-%m-%d %H-%M-%S"))
}

/// The name that is not in use, of the two that an archive or a document may have.
pub fn other_name(name: &str) -> String {
    match name.strip_suffix(ENDING) {
        Some(clear) => clear.to_owned(),
        None => format!("{name}{ENDING}"),
    }
}

/// One folder of a backup.
#[derive(Clone)]
pub struct Folder {
    pub location: Location,
    storage: Storage,
    keys: Arc<Keys>,
}

impl Folder {
    pub fn open(app: &App, location: &Location) -> Result<Self, OpError> {
        let keys = Arc::clone(&app.keys);
        Ok(Self { location: location.clone(), storage: location.storage(app)?, keys })
    }

    /// The folder that an archive of one source lies in.
    pub fn of(app: &App, record: &ArchiveRecord) -> Result<Self, OpError> {
        let location = Location {
            shown: record.url.clone(),
            storage_type: record.storage_type,
            storage_params: record.storage_params.clone(),
        };
        Self::open(app, &location)
    }

    pub fn url(&self) -> &url::Url {
        self.storage.url()
    }

    /// The name of its archive; None: it has none.
    pub async fn archive(&self) -> Result<Option<String>, OpError> {
        self.present(ARCHIVE).await
    }

    /// The address of its archive, if it has one.
    pub async fn archive_url(&self) -> Result<Option<String>, OpError> {
        let name = self.archive().await?;
        Ok(name.map(|name| self.storage.object_url(&name).to_string()))
    }

    /// What is called so, or so with `.age` behind it: whoever encrypts anew writes the other and removes the one. While
    /// both are there, the one that opens.
    async fn present(&self, name: &str) -> Result<Option<String>, OpError> {
        let other = other_name(name);
        Ok(match (self.has(name).await?, self.has(&other).await?) {
            (true, true) => match Opened::new(self.object(name).await?, &self.keys).await {
                Ok(_) => Some(name.to_owned()),
                Err(_) => Some(other),
            },
            (true, false) => Some(name.to_owned()),
            (false, true) => Some(other),
            (false, false) => None,
        })
    }

    async fn object(&self, name: &str) -> Result<Arc<dyn ReadAt>, OpError> {
        Ok(Arc::new(self.storage.open(name).await?))
    }

    /// Whether the folder is there; prefixes of buckets always are.
    pub fn exists(&self) -> bool {
        self.storage.local_path().is_none_or(|path| path.is_dir())
    }

    /// Whether it is there and cannot be written.
    pub fn is_read_only(&self) -> bool {
        use rustix::fs::{Access, access};
        self.storage.local_path().is_some_and(|path| {
            path.exists() && access(&path, Access::WRITE_OK | Access::EXEC_OK).is_err()
        })
    }

    pub async fn has(&self, name: &str) -> Result<bool, OpError> {
        Ok(self.storage.size(name).await?.is_some())
    }

    /// A JSON object, encrypted or not; None: there is no such file.
    pub async fn read(&self, name: &str) -> Result<Option<Map<String, Value>>, OpError> {
        let Some(name) = &self.present(name).await? else { return Ok(None) };
        self.read_with(name, &self.keys).await.map(Some)
    }

    async fn read_with(&self, name: &str, keys: &Arc<Keys>) -> Result<Map<String, Value>, OpError> {
        let object = self.object(name).await?;
        let opened = Opened::new(object, keys).await.map_err(|error| unopened(name, &error))?;
        let clear = opened.clear();
        let unreadable = |why: &str| OpError::Invalid(format!("{name}: {why}"));
        if clear.len() > LONGEST {
            return Err(unreadable("it is too long"));
        }
        let bytes = clear.read_at(0..clear.len()).await;
        let bytes = bytes.map_err(|error| OpError::Unavailable(format!("{name}: {error}")))?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        serde_json::from_slice(bytes).map_err(|error| unreadable(&error.to_string()))
    }

    /// Encrypts its documents for the recipients that are configured now, where they are encrypted or hold secrets.
    /// `keys`: what opens them.
    pub async fn rekey_documents(&self, keys: &Arc<Keys>) -> Result<(), OpError> {
        for kind in [SourceKind::Database, SourceKind::Filesystem] {
            let name = document_name(kind);
            let Some(present) = self.present(name).await? else { continue };
            let encrypted = is_encrypted(&*self.object(&present).await?).await;
            let encrypted = encrypted.map_err(|error| OpError::Unavailable(error.to_string()))?;
            let document = self.read_with(&present, keys).await?;
            if !encrypted && !document::stored(kind, document.clone(), false).1 {
                continue;
            }
            let other = if present == name { other_name(name) } else { name.to_owned() };
            let text = serde_json::to_string_pretty(&document).map_err(OpError::internal)?;
            self.write_sealed(&other, text).await?;
            self.remove(&present).await?;
        }
        Ok(())
    }

    /// Writes a small file, in the place of one of that name.
    pub async fn write(&self, name: &str, content: impl Into<Bytes>) -> Result<(), OpError> {
        let content = content.into();
        self.storage.delete(name).await?;
        let hint = UploadHint { expected_bytes: content.len() as u64, memory: 8 << 20 };
        let mut upload = self.storage.upload(name, hint, Arc::new(NoJournal)).await?;
        upload.write(content).await?;
        upload.complete().await?;
        Ok(())
    }

    /// Writes a small file that only those who can open archives can read.
    pub async fn write_sealed(&self, name: &str, content: String) -> Result<(), OpError> {
        let content = sealed(&self.keys, content.into()).await.map_err(OpError::internal)?;
        self.write(name, content).await
    }

    pub async fn remove(&self, name: &str) -> Result<(), OpError> {
        self.storage.delete(name).await?;
        Ok(())
    }

    /// The folders of increments, the oldest first.
    pub async fn increments(&self) -> Result<Vec<Location>, OpError> {
        let names = self.storage.folders().await?;
        names
            .iter()
            .filter(|name| name.starts_with(INCREMENT))
            .map(|name| self.location.child(name))
            .collect()
    }

    /// Where the newest backup lies that is whole: an increment, or else this folder.
    pub async fn newest(&self, app: &App, kind: SourceKind) -> Result<Option<Self>, OpError> {
        Ok(self.whole(app, kind, 1).await?.pop())
    }

    /// The newest that are whole, the newest first. One that was interrupted has no document, and nothing is built on
    /// it or restored from it.
    pub async fn whole(
        &self,
        app: &App,
        kind: SourceKind,
        limit: usize,
    ) -> Result<Vec<Self>, OpError> {
        let mut whole = Vec::new();
        let increments = self.increments().await?.into_iter().rev();
        for location in increments.chain([self.location.clone()]) {
            if whole.len() == limit {
                break;
            }
            let folder = Self::open(app, &location)?;
            if folder.is_whole(kind).await? {
                whole.push(folder);
            }
        }
        Ok(whole)
    }

    /// Where its archive lies as seen from an increment of `root`, whatever keys it is encrypted with.
    pub fn place_in(&self, root: &Self) -> String {
        let name =
            self.location.shown.rsplit('/').next().filter(|_| self.location != root.location);
        match name {
            Some(name) => format!("../{name}/{ARCHIVE}"),
            None => format!("../{ARCHIVE}"),
        }
    }

    async fn is_whole(&self, kind: SourceKind) -> Result<bool, OpError> {
        let document = self.present(document_name(kind)).await?;
        Ok(document.is_some() && self.archive().await?.is_some())
    }

    /// Whether it lies anywhere in here.
    pub async fn has_document(&self, app: &App, kind: SourceKind) -> Result<bool, OpError> {
        for location in self.increments().await? {
            if Self::open(app, &location)?.present(document_name(kind)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(self.present(document_name(kind)).await?.is_some())
    }
}

/// A document that is lost with the process is written anew by the job's next run.
struct NoJournal;

#[async_trait::async_trait]
impl UploadJournal for NoJournal {
    async fn record(&self, _: &Remains) -> Result<(), JournalError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_are_named_by_their_moment() {
        let at: Timestamp = "2026-03-01T02:05:09.7Z".parse().unwrap();
        assert_eq!(increment_name(at), "Inc 2026-03-01 02-05-09");
    }
}
