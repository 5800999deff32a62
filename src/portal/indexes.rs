//! The configured indexes, and what of them is left out. Restored, an index is one more folder of files: its positions
//! begin at [`INDEXES`].

use url::Url;

use super::sources::{Own, configured, filesystems, inside};
use super::{Portal, PortalError};
use crate::config::{Config, Options};
use crate::source::files::{FilesError, Filesystem};
use crate::source::index::{Index, IndexError};

/// The position of the first index, as a restore counts filesystems: beyond all of those.
pub const INDEXES: usize = 1 << 32;
/// Where the members of indexes lie: then come the index's name and the file's path.
pub const EXTRA_INDEX: &str = "extra/index/";

/// A configured index.
#[derive(Debug, Clone)]
pub struct IndexSource {
    pub name: String,
    pub index: Index,
    /// The same folder, to restore into.
    pub folder: Filesystem,
    /// Storages, the catalog and filesystems, relative to the root.
    pub kept: Vec<String>,
}

pub fn open(config: &Config, exclude: &[Url]) -> Result<Vec<IndexSource>, PortalError> {
    let mut others = configured(config);
    others.extend(exclude.iter().map(|url| Own {
        what: "a storage",
        url: url.clone(),
        options: Options::default(),
    }));
    others.extend(filesystems(config));
    let mut indexes: Vec<IndexSource> = Vec::new();
    for source in &config.portal.index {
        let invalid = |error: IndexError| PortalError::Invalid(error.to_string());
        let temp = &config.backup.temp_dir;
        // First without exceptions: it says what is wrong with the URL.
        Index::open(&source.url, &source.options, Vec::new(), temp).map_err(invalid)?;
        let folder = Filesystem::open(&source.url, &source.options)?;
        let kept = inside(&folder, &others).map_err(|what| {
            PortalError::Invalid(format!(
                "index {:?} is itself {what}: it needs a folder of its own",
                source.name
            ))
        })?;
        let index =
            Index::open(&source.url, &source.options, kept.clone(), temp).map_err(invalid)?;
        indexes.push(IndexSource { name: source.name.clone(), index, folder, kept });
    }
    Ok(indexes)
}

/// The indexes as what is left out of filesystems: they are captured by themselves.
pub(super) fn own(config: &Config) -> impl Iterator<Item = Own> + '_ {
    config.portal.index.iter().map(|source| Own {
        what: "an index",
        url: source.url.clone(),
        options: source.options.clone(),
    })
}

impl Portal {
    /// The configured indexes, in their order.
    pub fn indexes(&self) -> &[IndexSource] {
        &self.indexes
    }

    /// Whether a place holds something that must not be replaced: the catalog, a source. Says what.
    pub fn holds(&self, config: &Config, place: &Filesystem) -> Option<String> {
        let names = |what: &str, name: &str| format!("{what} {name:?}");
        let sources =
            config
                .portal
                .filesystem
                .iter()
                .map(|source| (names("the filesystem", &source.name), &source.url, &source.options))
                .chain(config.portal.index.iter().map(|source| {
                    (names("the index", &source.name), &source.url, &source.options)
                }));
        for (what, url, options) in sources {
            if place.covers(url, options).is_some() {
                return Some(what);
            }
        }
        let own = configured(config);
        let found = own.iter().find(|own| place.covers(&own.url, &own.options).is_some());
        found.map(|own| own.what.to_owned())
    }

    /// What a restore into a place must not touch, relative to it: storages, the catalog, sources. An error says which
    /// storage (or the catalog) it is itself; a source it may be.
    pub fn kept_at(config: &Config, place: &Filesystem) -> Result<Vec<String>, &'static str> {
        let mut kept = inside(place, &configured(config))?;
        let sources = filesystems(config).chain(own(config));
        let sources = sources.filter_map(|source| place.covers(&source.url, &source.options));
        kept.extend(sources.filter(|path| !path.is_empty()));
        Ok(kept)
    }

    /// Removes what killed processes left of captured indexes.
    pub fn sweep_indexes(&self) {
        for source in &self.indexes {
            source.index.sweep();
        }
    }

    /// Tries whether an index is there and can be written to by a restore.
    pub async fn check_index(&self, position: usize) -> Result<(), String> {
        let Some(source) = self.indexes.get(position) else { return Ok(()) };
        source.index.check().await.map_err(|error| error.to_string())?;
        let writable: Result<(), FilesError> = source.folder.check_writable().await;
        writable.map_err(|error| error.to_string())
    }
}
