//! `ARCHIVE` on the command line: a GUID is an archive id, something with `://` a URL, anything else a path.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, LocalFile, ReadAt};
use clap::Args;
use url::Url;
use uuid::Uuid;

use super::{CliError, Global};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::config::EncryptionConfig;
use crate::encryption::{Keys, Opened, is_encrypted};
use crate::ops::archives::{self, Located};
use crate::ops::chain::{self, Near};
use crate::ops::restore::ArchiveChoice;
use crate::ops::unopened;
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

/// `--identity`, of verbs that open archives.
#[derive(Debug, Args)]
pub struct Identity {
    /// Identities that open encrypted archives, as age-keygen writes them [default: encryption.identity_file]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl Identity {
    /// For a job, which another process may run.
    pub fn absolute(&self) -> Result<Option<PathBuf>, CliError> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path)
                .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
        };
        self.identity.as_ref().map(absolute).transpose()
    }

    /// The application, which opens archives with these identities.
    pub async fn app(&self, global: &Global) -> Result<Arc<App>, CliError> {
        let mut config = global.load()?;
        if let Some(path) = &self.identity {
            config.encryption = config.encryption.with_identity_file(path);
        }
        Ok(App::build(config).await?)
    }

    /// What opens an archive that lies anywhere. Without `--identity` that is the configured, but an archive in
    /// clear needs none, unless it adds to one that is encrypted.
    async fn keys(&self, global: &Global, stored: &dyn ReadAt) -> Result<Arc<Keys>, CliError> {
        let config = match &self.identity {
            Some(path) => EncryptionConfig::default().with_identity_file(path),
            None if is_encrypted(stored).await.map_err(CliError::failed)? => {
                global.load()?.encryption
            }
            None => {
                let configured = global.load().ok().and_then(|c| Keys::new(&c.encryption).ok());
                return Ok(Arc::new(configured.unwrap_or_default()));
            }
        };
        Keys::new(&config).map(Arc::new).map_err(CliError::Usage)
    }
}

/// An archive found: its stored bytes and what opens them, and its record where it has one.
pub struct Found {
    pub stored: Arc<dyn ReadAt>,
    pub keys: Arc<Keys>,
    pub record: Option<(Arc<App>, ArchiveRecord)>,
    pub name: String,
    /// Where what it needs may lie.
    pub near: Near,
    /// Why it is read from elsewhere than where it was stored.
    pub notice: Option<String>,
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

    /// Finds the archive. A path needs no configuration at all.
    pub async fn find(&self, global: &Global, identity: &Identity) -> Result<Found, CliError> {
        match self {
            Self::Path(path) => {
                let file = LocalFile::open(path)
                    .await
                    .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
                let name = path.display().to_string();
                let near = path.parent().map_or(Near::Nowhere, |at| Near::Folder(at.to_owned()));
                let keys = identity.keys(global, &file).await?;
                Ok(Found { stored: Arc::new(file), keys, record: None, name, near, notice: None })
            }
            Self::Url(url) => {
                let storages =
                    Storages::new(&global.load()?).map_err(|e| CliError::Usage(e.to_string()))?;
                let (storage, name) = storages.by_url(url).map_err(CliError::failed)?;
                let object = storage.open(&name).await.map_err(CliError::failed)?;
                let near = Near::Storage(storage);
                let keys = identity.keys(global, &object).await?;
                Ok(Found { stored: Arc::new(object), keys, record: None, name, near, notice: None })
            }
            Self::Id(id) => {
                let app = identity.app(global).await?;
                let record = archives::get(&app, None, *id).await?;
                let Located { stored, near, notice } = archives::located(&app, &record).await?;
                let (keys, name) = (Arc::clone(&app.keys), record.name.clone());
                Ok(Found { stored, keys, record: Some((app, record)), name, near, notice })
            }
        }
    }

    pub async fn open(&self, global: &Global, identity: &Identity) -> Result<Archive, CliError> {
        let found = self.find(global, identity).await?;
        let opened = Opened::new(found.stored, &found.keys)
            .await
            .map_err(|error| unopened(&found.name, &error))?;
        let app = found.record.as_ref().map(|(app, _)| &**app);
        chain::open(app, &found.keys, &found.near, &opened)
            .await
            .map_err(|error| CliError::Failed(format!("{}: {error}", found.name)))
    }
}
