//! `ARCHIVE` on the command line: a GUID is an archive id, something with `://` a URL, anything else a path.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, LocalFile, ReadAt};
use url::Url;
use uuid::Uuid;

use super::{CliError, Global};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::archives;
use crate::ops::chain::{self, Near};
use crate::ops::restore::ArchiveChoice;
use crate::storage::Storages;

#[derive(Debug, Clone)]
pub enum ArchiveRef {
    Id(Uuid),
    Url(Url),
    Path(PathBuf),
}

impl std::str::FromStr for ArchiveRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if text.contains("://") {
            return text.parse().map(Self::Url).map_err(|error| format!("{text}: {error}"));
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

/// An archive found: its bytes, and its record where it has one.
pub struct Found {
    pub source: Arc<dyn ReadAt>,
    pub record: Option<(Arc<App>, ArchiveRecord)>,
    pub name: String,
    /// Where what it needs may lie.
    pub near: Near,
}

impl ArchiveRef {
    /// The archive as a restore names it; a path becomes absolute, because another process may run it.
    pub fn choice(&self) -> Result<ArchiveChoice, CliError> {
        Ok(match self {
            Self::Id(id) => ArchiveChoice::Id { id: *id },
            Self::Url(url) => ArchiveChoice::Url { url: url.clone() },
            Self::Path(path) => ArchiveChoice::Path {
                path: std::path::absolute(path)
                    .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?,
            },
        })
    }

    /// Opens the archive. A path needs no configuration at all.
    pub async fn find(&self, global: &Global) -> Result<Found, CliError> {
        match self {
            Self::Path(path) => {
                let file = LocalFile::open(path)
                    .await
                    .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
                let name = path.display().to_string();
                let near = path.parent().map_or(Near::Nowhere, |at| Near::Folder(at.to_owned()));
                Ok(Found { source: Arc::new(file), record: None, name, near })
            }
            Self::Url(url) => {
                let storages =
                    Storages::new(&global.load()?).map_err(|e| CliError::Usage(e.to_string()))?;
                let (storage, name) = storages.by_url(url).map_err(CliError::failed)?;
                let object = storage.open(&name).await.map_err(CliError::failed)?;
                let near = Near::Storage(storage);
                Ok(Found { source: Arc::new(object), record: None, name, near })
            }
            Self::Id(id) => {
                let app = global.app().await?;
                let record = archives::get(&app, None, *id).await?;
                let source = archives::source(&app, &record).await?;
                let name = record.name.clone();
                let near = Near::Storage(archives::storage(&app, &record)?);
                Ok(Found { source, record: Some((app, record)), name, near })
            }
        }
    }

    pub async fn open(&self, global: &Global) -> Result<Archive, CliError> {
        let found = self.find(global).await?;
        let app = found.record.as_ref().map(|(app, _)| &**app);
        chain::open(app, &found.near, found.source)
            .await
            .map_err(|error| CliError::Failed(format!("{}: {error}", found.name)))
    }
}
