//! Databases and filesystems by their names: those of the configuration, and those that restores made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{SourceKind, SourceRecord};
use crate::config::{
    DatabaseConfig, FilesystemConfig, IndexConfig, LayoutKind, Options, PortalConfig, Secret,
};
use crate::ops::OpError;

/// One source, and where it is.
#[derive(Debug, Clone)]
pub struct NamedSource {
    /// As the configuration, or the restore that made it, spells it.
    pub name: String,
    pub place: SourcePlace,
    /// The document that was restored with it; None for those of the configuration.
    pub document: Option<Map<String, Value>>,
    /// Of one of the configuration: the index of its name; else the one that was restored with it.
    pub index: Option<IndexConfig>,
}

/// An index as a restored source's record has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RestoredIndex {
    /// As the backup calls it.
    pub name: String,
    pub url: Url,
    /// Whether the restore made its folder.
    pub made: bool,
}

#[derive(Debug, Clone)]
pub enum SourcePlace {
    Database { url: Secret },
    Filesystem { url: Url, options: Options },
}

impl SourcePlace {
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Database { .. } => SourceKind::Database,
            Self::Filesystem { .. } => SourceKind::Filesystem,
        }
    }

    pub fn url(&self) -> &str {
        match self {
            Self::Database { url } => url.expose(),
            Self::Filesystem { url, .. } => url.as_str(),
        }
    }
}

impl NamedSource {
    pub fn is_configured(&self) -> bool {
        self.document.is_none()
    }

    /// The application for this source and its index alone. `exclude`: storages that may lie in it.
    pub fn single(&self, app: &App, exclude: &[Url]) -> Result<Arc<App>, OpError> {
        let own = self.index.as_ref().map(|index| &index.url);
        // Other indexes may lie in it, too: files that their writers change all the time.
        let others = app.config.portal.index.iter().map(|index| &index.url);
        let others = others.filter(|url| Some(*url) != own);
        // And other filesystems, which have archives of their own.
        let filesystems = app.config.portal.filesystem.iter().map(|filesystem| &filesystem.url);
        let others = others.chain(filesystems.filter(|url| url.as_str() != self.place.url()));
        let exclude: Vec<Url> = exclude.iter().chain(others).cloned().collect();
        app.with_portal(self.resource_id(app)?, self.portal(), &exclude).map_err(OpError::internal)
    }

    fn portal(&self) -> PortalConfig {
        let mut portal = PortalConfig {
            layout: LayoutKind::Plain,
            name: self.name.clone(),
            index: self.index.iter().cloned().collect(),
            ..PortalConfig::default()
        };
        let name = self.name.clone();
        match &self.place {
            SourcePlace::Database { url } => {
                portal.database.push(DatabaseConfig { name, url: url.clone() });
            }
            SourcePlace::Filesystem { url, options } => {
                let (url, options) = (url.clone(), options.clone());
                portal.filesystem.push(FilesystemConfig { name, url, options });
            }
        }
        portal
    }

    /// Tells the source from all others of the same name.
    pub fn resource_id(&self, app: &App) -> Result<Uuid, OpError> {
        let kind = self.place.kind();
        app.own_id(&format!("{kind:?} {} {}", self.name.to_lowercase(), self.place.url()))
    }
}

/// The source of that name, in any case of its letters.
pub async fn find(app: &App, kind: SourceKind, name: &str) -> Result<Option<NamedSource>, OpError> {
    let same = |known: &str| known.to_lowercase() == name.to_lowercase();
    if let Some(known) = configured(app, kind).into_iter().find(|known| same(&known.name)) {
        return Ok(Some(known));
    }
    match app.catalog.sources().get(kind, name).await? {
        Some(record) if record.ready => restored(app, &record).map(Some),
        _ => Ok(None),
    }
}

/// All names of a kind.
pub async fn names(app: &App, kind: SourceKind) -> Result<Vec<String>, OpError> {
    let mut names: Vec<_> = configured(app, kind).into_iter().map(|source| source.name).collect();
    let restored = app.catalog.sources().ready().await?;
    names.extend(restored.into_iter().filter(|known| known.kind == kind).map(|known| known.name));
    names.sort();
    Ok(names)
}

pub(super) fn configured(app: &App, kind: SourceKind) -> Vec<NamedSource> {
    let portal = &app.config.portal;
    let of = |name: &String, place| NamedSource {
        name: name.clone(),
        place,
        document: None,
        index: portal.index.iter().find(|index| index.name == *name).cloned(),
    };
    match kind {
        SourceKind::Database => {
            let databases = portal.database.iter();
            databases.map(|d| of(&d.name, SourcePlace::Database { url: d.url.clone() })).collect()
        }
        SourceKind::Filesystem => portal
            .filesystem
            .iter()
            .map(|f| {
                let (url, options) = (f.url.clone(), f.options.clone());
                of(&f.name, SourcePlace::Filesystem { url, options })
            })
            .collect(),
    }
}

/// What a restore made, or is making.
pub(super) fn restored(app: &App, record: &SourceRecord) -> Result<NamedSource, OpError> {
    let url = app.unseal_text(&record.url)?;
    let place = match record.kind {
        SourceKind::Database => SourcePlace::Database { url: Secret::new(url) },
        SourceKind::Filesystem => {
            let options = serde_json::from_str(&app.unseal_text(&record.options)?);
            let options = Options(options.map_err(OpError::internal)?);
            SourcePlace::Filesystem { url: Url::parse(&url).map_err(OpError::internal)?, options }
        }
    };
    let document =
        serde_json::from_str(&app.unseal_text(&record.document)?).map_err(OpError::internal)?;
    let index = restored_index(app, record)?.map(|index| IndexConfig {
        name: index.name,
        url: index.url,
        options: Options::default(),
    });
    Ok(NamedSource { name: record.name.clone(), place, document: Some(document), index })
}

/// The index that a restore made, or is making, with a source.
pub(super) fn restored_index(
    app: &App,
    record: &SourceRecord,
) -> Result<Option<RestoredIndex>, OpError> {
    let Some(sealed) = &record.restored_index else { return Ok(None) };
    serde_json::from_str(&app.unseal_text(sealed)?).map(Some).map_err(OpError::internal)
}
