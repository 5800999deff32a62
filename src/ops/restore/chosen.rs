//! Finding the archive of a restore.

use std::sync::Arc;

use archive::{LocalFile, ReadAt};
use uuid::Uuid;

use super::{ArchiveChoice, RestoreRequest};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::{OpError, archives, copies, uploads};
use crate::storage::Storage;

/// An archive, ready to be read.
pub struct Chosen {
    pub source: Arc<dyn ReadAt>,
    pub name: String,
    /// What the catalog says of it, where it was found through the catalog or lies where a record says.
    pub record: Option<ArchiveRecord>,
    /// Why it is read from elsewhere than where it was stored.
    pub notice: Option<String>,
}

/// Opens the archive. `tenant_id`: None for an administrator of the installation.
pub async fn find(
    app: &App,
    tenant_id: Option<i64>,
    request: &RestoreRequest,
) -> Result<Chosen, OpError> {
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

async fn by_id(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<Chosen, OpError> {
    let record = archives::get(app, tenant_id, id).await?;
    let (source, notice) = copies::open(app, &record).await?;
    Ok(Chosen { source: Arc::new(source), name: record.name.clone(), record: Some(record), notice })
}

async fn in_storage(app: &App, storage: &Storage, name: String) -> Result<Chosen, OpError> {
    let url = storage.object_url(&name).to_string();
    let source = Arc::new(storage.open(&name).await?);
    let record = app.catalog.archives().by_url(url).await?;
    Ok(Chosen { source, name, record, notice: None })
}

async fn local(path: &std::path::Path) -> Result<Chosen, OpError> {
    let source = LocalFile::open(path)
        .await
        .map_err(|error| OpError::NotFound(format!("{}: {error}", path.display())))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Chosen { source: Arc::new(source), name, record: None, notice: None })
}
