//! Finding the archive of a restore.

use std::sync::Arc;

use archive::{LocalFile, ReadAt};
use uuid::Uuid;

use super::{ArchiveChoice, RestoreRequest};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::Opened;
use crate::ops::{OpError, archives, unopened, uploads};
use crate::storage::Storage;

/// An archive, ready to be read.
pub struct Chosen {
    pub opened: Opened,
    /// Bytes of the file as it is stored.
    pub size: u64,
    pub name: String,
    /// What the catalog says of it, where it was found through the catalog or lies where a record says.
    pub record: Option<ArchiveRecord>,
}

/// An archive that was found, and was not opened yet.
struct Found {
    stored: Arc<dyn ReadAt>,
    name: String,
    record: Option<ArchiveRecord>,
}

/// Opens the archive. `tenant_id`: None for an administrator of the installation.
pub async fn find(
    app: &App,
    tenant_id: Option<i64>,
    request: &RestoreRequest,
) -> Result<Chosen, OpError> {
    let keys = app.keys_with(request.identity_file.as_deref())?;
    let Found { stored, name, record } = locate(app, tenant_id, request).await?;
    let size = stored.len();
    let opened = Opened::new(stored, &keys).await.map_err(|error| unopened(&name, &error))?;
    Ok(Chosen { opened, size, name, record })
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
    let stored = archives::stored(app, &record).await?;
    Ok(Found { stored, name: record.name.clone(), record: Some(record) })
}

async fn in_storage(app: &App, storage: &Storage, name: String) -> Result<Found, OpError> {
    let url = storage.object_url(&name).to_string();
    let stored = Arc::new(storage.open(&name).await?);
    let record = app.catalog.archives().by_url(url).await?;
    Ok(Found { stored, name, record })
}

async fn local(path: &std::path::Path) -> Result<Found, OpError> {
    let stored = LocalFile::open(path)
        .await
        .map_err(|error| OpError::NotFound(format!("{}: {error}", path.display())))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Found { stored: Arc::new(stored), name, record: None })
}
