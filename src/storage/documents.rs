//! A folder of the portal's documents as a storage, through DocSpace's own HTTP API.
//!
//! Files there have ids, and that is how a finished archive is found again: people may rename and move it.
//! DocSpace wants a file's size before the first byte of it, so an archive is first collected in an
//! unlinked temporary file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use url::Url;

use super::upload::{UploadHint, UploadJournal};
use super::{Remains, StorageError, StoredObject, name};
use crate::config::DocSpaceConfig;

mod answer;
mod api;
mod object;
mod send;
mod spool;
mod upload;

use api::{Api, Clients, FileInfo};
pub(super) use object::DocumentsObject;
pub(super) use upload::DocumentsUpload;

/// How often and how long it is waited for a file to be really gone: DocSpace deletes in the background.
const DELETE_LOOKS: u32 = 60;
const DELETE_WAIT: Duration = Duration::from_millis(500);

/// What is configured of DocSpace's API.
pub(super) struct Portal {
    base: Url,
    api_key: Option<String>,
    clients: Clients,
    temp_dir: PathBuf,
}

impl Portal {
    /// None where no address is configured.
    pub(super) fn of(
        config: &DocSpaceConfig,
        temp_dir: &Path,
    ) -> Result<Option<Self>, StorageError> {
        let Some(base) = &config.url else { return Ok(None) };
        let wrong =
            |why: &str| StorageError::Configuration(format!("portal.docspace.url must be {why}"));
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(wrong("an http:// or https:// address"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("without credentials: those are portal.docspace.api_key"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("without ? and #"));
        }
        Ok(Some(Self {
            base: base.clone(),
            api_key: Some(config.api_key.expose().trim().to_owned()).filter(|key| !key.is_empty()),
            clients: Clients::new().map_err(StorageError::Configuration)?,
            temp_dir: temp_dir.to_owned(),
        }))
    }
}

/// A folder, or one file.
pub(super) struct Documents {
    api: Api,
    folder: Option<String>,
    file: Option<String>,
    url: Url,
    temp_dir: PathBuf,
}

impl Documents {
    /// `lent`: the credential of the user who asks, and the address of their tenant; without one the configured key
    /// is used, at the configured address.
    pub(super) fn new(
        portal: &Portal,
        folder: Option<&str>,
        file: Option<&str>,
        lent: Option<(&str, Option<&str>)>,
    ) -> Result<Self, StorageError> {
        let origin = lent.and_then(|(_, origin)| origin);
        let credential =
            lent.map(|(token, _)| token).or(portal.api_key.as_deref()).ok_or_else(|| {
                StorageError::NotConfigured(
                "the portal's documents can only be reached with portal.docspace.api_key, or for a \
                 user of DocSpace who asks with a credential of their own"
                    .to_owned(),
            )
            })?;
        let api = Api::new(portal.clients.clone(), portal.base.clone(), credential, origin)?;
        Ok(Self::at(api, folder.map(str::to_owned), file.map(str::to_owned), &portal.temp_dir))
    }

    fn at(api: Api, folder: Option<String>, file: Option<String>, temp_dir: &Path) -> Self {
        let url = match (&file, &folder) {
            (Some(file), _) => api.url(&["file", file]),
            (None, Some(folder)) => api.url(&[folder, ""]),
            (None, None) => api.url(&[""]),
        };
        Self { api, folder, file, url, temp_dir: temp_dir.to_owned() }
    }

    /// One file of this portal.
    pub(super) fn of_file(&self, id: &str) -> Self {
        Self::at(self.api.clone(), self.folder.clone(), Some(id.to_owned()), &self.temp_dir)
    }

    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The folder to write to. A restore names only a file.
    pub(super) fn folder(&self) -> Result<&str, StorageError> {
        self.folder.as_deref().ok_or_else(|| {
            StorageError::Invalid(
                "wrong folder type: storageParams must have folderId, the folder's id".to_owned(),
            )
        })
    }

    /// The file that is meant: by its id, else by its name in the folder.
    async fn find(&self, name: &str) -> Result<Option<FileInfo>, StorageError> {
        match &self.file {
            Some(id) => self.api.file(id).await,
            None => self.api.find(self.folder()?, |file| file.title == name).await,
        }
    }

    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.find(name).await?.map(|file| file.size))
    }

    pub(super) async fn open(self: Arc<Self>, name: &str) -> Result<StoredObject, StorageError> {
        let Some(file) = self.find(name).await? else {
            return Err(StorageError::NotFound(format!(
                "{name} does not exist in the portal's documents ({})",
                self.url
            )));
        };
        let len = file.size;
        Ok(StoredObject::documents(DocumentsObject::new(self.api.clone(), file), len))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<bool, StorageError> {
        let Some(file) = self.find(name).await? else { return Ok(false) };
        self.remove(&file.id).await?;
        Ok(true)
    }

    async fn remove(&self, id: &str) -> Result<(), StorageError> {
        self.api.delete_file(id).await?;
        for _ in 0..DELETE_LOOKS {
            if self.api.file(id).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(DELETE_WAIT).await;
        }
        Err(StorageError::Unavailable(format!("DocSpace has not deleted file {id} yet")))
    }

    pub(super) async fn list(
        &self,
    ) -> Result<BoxStream<'static, Result<(String, u64), StorageError>>, StorageError> {
        let mut archives = Vec::new();
        self.api
            .find(self.folder()?, |file| {
                if name::is_archive(&file.title) {
                    archives.push(Ok((file.title.clone(), file.size)));
                }
                false
            })
            .await?;
        Ok(stream::iter(archives).boxed())
    }

    pub(super) async fn upload(
        self: Arc<Self>,
        name: &str,
        _: UploadHint,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<DocumentsUpload, StorageError> {
        DocumentsUpload::start(self, name.to_owned(), journal).await
    }

    pub(super) async fn clean(&self, remains: &Remains) -> Result<(), StorageError> {
        upload::clean(self, remains).await
    }
}
