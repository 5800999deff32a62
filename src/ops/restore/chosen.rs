//! Finding the archive of a restore.

use std::sync::Arc;

use archive::{LocalFile, ReadAt};
use url::Url;
use uuid::Uuid;

use super::{ArchiveChoice, RestoreRequest};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::{OpError, archives, uploads};
use crate::storage::{Storage, StorageParams, StorageType};

/// An archive, ready to be read.
pub struct Chosen {
    pub source: Arc<dyn ReadAt>,
    pub name: String,
    /// What the catalog says of it, where it was found through the catalog or lies where a record says.
    pub record: Option<ArchiveRecord>,
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
            let (storage, name) = stored(app, *storage_type, params, path)?;
            in_storage(app, &storage, name).await
        }
        ArchiveChoice::Url { url } => {
            let (storage, name) = match request.by_operator {
                true => app.storages.by_url(url)?,
                false => allowed(app, url)?,
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
    let source = archives::source(app, &record).await?;
    Ok(Chosen { source, name: record.name.clone(), record: Some(record) })
}

/// The storage and the name that a request means by its `path`, which for folders may hold folders itself.
fn stored(
    app: &App,
    storage_type: StorageType,
    mut params: StorageParams,
    path: &str,
) -> Result<(Storage, String), OpError> {
    let (folder, name) = match path.rsplit_once('/') {
        Some((folder, name)) => (Some(folder), name),
        None => (None, path),
    };
    if name.is_empty() {
        return Err(OpError::Invalid(format!("filePath {path:?} names no archive")));
    }
    match (storage_type, folder) {
        (StorageType::Local, _) => {
            params.retain(|key, _| !key.eq_ignore_ascii_case("filePath"));
            let folder = match folder {
                Some("") => "/",
                Some(folder) => folder,
                None => "",
            };
            params.insert("filePath".to_owned(), folder.to_owned());
        }
        (_, Some(_)) => {
            return Err(OpError::Invalid(format!(
                "filePath {path:?}: write the archive's name, without folders"
            )));
        }
        _ => {}
    }
    Ok((app.storages.resolve(storage_type, &params)?, name.to_owned()))
}

/// A URL from a request: in a configured storage, or where the configuration allows.
fn allowed(app: &App, url: &Url) -> Result<(Storage, String), OpError> {
    let (storage, name) = app.storages.by_url(url)?;
    let here = |other: &Storage| other.object_url(&name) == *url;
    if app.storages.all_configured().iter().any(|(_, configured)| here(configured)) {
        return Ok((storage, name));
    }
    let mut folder = url.clone();
    if let Ok(mut segments) = folder.path_segments_mut() {
        segments.pop();
    }
    let params = StorageParams::from([("url".to_owned(), folder.to_string())]);
    Ok((app.storages.resolve(StorageType::CustomCloud, &params)?, name))
}

async fn in_storage(app: &App, storage: &Storage, name: String) -> Result<Chosen, OpError> {
    let url = storage.object_url(&name).to_string();
    let source = Arc::new(storage.open(&name).await?);
    let record = app.catalog.archives().by_url(url).await?;
    Ok(Chosen { source, name, record })
}

async fn local(path: &std::path::Path) -> Result<Chosen, OpError> {
    let source = LocalFile::open(path)
        .await
        .map_err(|error| OpError::NotFound(format!("{}: {error}", path.display())))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Chosen { source: Arc::new(source), name, record: None })
}
