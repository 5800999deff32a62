//! Finding the archive of a restore.

use std::sync::Arc;

use archive::{Archive, LocalFile, ReadAt};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{ArchiveChoice, RestoreRequest};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{Keys, Opened};
use crate::ops::chain::{self, Near};
use crate::ops::copies::Readable;
use crate::ops::{OpError, archives, copies, unopened, uploads};
use crate::storage::Storage;

/// An archive, ready to be read.
pub struct Chosen {
    pub opened: Opened,
    /// What opens it and what it needs.
    pub keys: Arc<Keys>,
    /// Where what it needs may lie.
    pub near: Near,
    pub name: String,
    /// What the catalog says of it, where it was found through the catalog or lies where a record says.
    pub record: Option<ArchiveRecord>,
    /// Why it is read from elsewhere than where it was stored.
    pub notice: Option<String>,
}

/// An archive that was found, and was not opened yet.
struct Found {
    stored: Arc<dyn ReadAt>,
    near: Near,
    name: String,
    record: Option<ArchiveRecord>,
    notice: Option<String>,
}

/// Opens the archive. `tenant_id`: None for an administrator of the installation.
pub async fn find(
    app: &App,
    tenant_id: Option<i64>,
    request: &RestoreRequest,
) -> Result<Chosen, OpError> {
    let keys = app.keys_with(request.identity_file.as_deref())?;
    let Found { stored, near, name, record, notice } = locate(app, tenant_id, request).await?;
    let opened = Opened::new(stored, &keys).await.map_err(|error| unopened(&name, &error))?;
    Ok(Chosen { opened, keys, near, name, record, notice })
}

async fn locate(
    app: &App,
    tenant_id: Option<i64>,
    request: &RestoreRequest,
) -> Result<Found, OpError> {
    match &request.archive {
        ArchiveChoice::Id { id } => by_id(app, tenant_id, *id).await,
        ArchiveChoice::Stored { storage_type, storage_params, path } => {
            let params = app.unseal_params(storage_params)?;
            let (storage, name) = app.storages.archive_at(*storage_type, &params, path)?;
            in_storage(app, &storage, name).await
        }
        ArchiveChoice::Url { url } => {
            let (storage, name) = match request.by_operator {
                true => app.storages.by_url(url)?,
                false => app.storages.by_allowed_url(url)?,
            };
            in_storage(app, &storage, name).await
        }
        ArchiveChoice::Uploaded { tenant } => {
            let path = uploads::uploaded(app, *tenant).await.ok_or_else(|| {
                OpError::NotFound("no archive was uploaded: upload one first".to_owned())
            })?;
            local(&path).await
        }
        ArchiveChoice::Path { path } => local(path).await,
    }
}

async fn by_id(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<Found, OpError> {
    let record = archives::get(app, tenant_id, id).await?;
    let Readable { object, storage, notice } = copies::open(app, &record).await?;
    let (stored, near) = (Arc::new(object), Near::Storage(storage));
    Ok(Found { stored, near, name: record.name.clone(), record: Some(record), notice })
}

async fn in_storage(app: &App, storage: &Storage, name: String) -> Result<Found, OpError> {
    let url = storage.object_url(&name).to_string();
    let stored = Arc::new(storage.open(&name).await?.limited(&app.limits.read));
    let record = app.catalog.archives().by_url(url).await?;
    Ok(Found { stored, near: Near::Storage(storage.clone()), name, record, notice: None })
}

async fn local(path: &std::path::Path) -> Result<Found, OpError> {
    let stored = LocalFile::open(path)
        .await
        .map_err(|error| OpError::NotFound(format!("{}: {error}", path.display())))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let near = path.parent().map_or(Near::Nowhere, |folder| Near::Folder(folder.to_owned()));
    Ok(Found { stored: Arc::new(stored), near, name, record: None, notice: None })
}

impl Chosen {
    /// Opens it, with all that it needs.
    pub async fn open(&self, app: &App) -> Result<Archive, archive::Error> {
        let archive = chain::open(Some(app), &self.keys, &self.near, &self.opened).await?;
        archive.check_links().await?;
        Ok(archive)
    }

    /// About how many bytes its contents have, before it is verified. Ours say so; others are taken to be compressed as
    /// office portals are, to two thirds.
    pub async fn contents_bytes(&self, app: &App) -> u64 {
        let guess = self.size() / 2 * 3;
        match chain::open(Some(app), &self.keys, &self.near, &self.opened).await {
            Ok(archive) if archive.links().is_empty() => archive.tar_bytes().unwrap_or(guess),
            Ok(archive) => {
                let sum = async |sum, entry: archive::EntryRecord| Ok(sum + entry.size);
                archive.entries().try_fold(0, sum).await.unwrap_or(guess)
            }
            // Verification says what is wrong with it.
            Err(_) => guess,
        }
    }

    /// Whether reading it may need the portal's own API: an increment's parents may lie anywhere.
    pub fn is_read_through_portal(&self, archive: &Archive) -> bool {
        let documents = matches!(&self.near, Near::Storage(storage) if storage.is_documents());
        documents || !archive.links().is_empty()
    }

    /// Bytes of the file as it is stored.
    pub fn size(&self) -> u64 {
        self.opened.stored().len()
    }
}
