//! The configured filesystems, and what of them is left out.

use std::path::Path;

use url::Url;

use super::PortalError;
use super::docspace::layout::LINKED_FOLDERS;
use crate::catalog::sqlite_file;
use crate::config::{Config, LayoutKind, Options};
use crate::source::files::{Filesystem, Listing};

/// A configured filesystem.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub filesystem: Filesystem,
    /// Storages and the catalog, relative to the root.
    pub(super) excluded: Vec<String>,
}

impl Source {
    pub fn list(&self, prefix: &str) -> Listing {
        self.filesystem.list_except(prefix, self.excluded.clone())
    }
}

/// Something of ours that must not be backed up with the portal.
pub(super) struct Own {
    pub what: &'static str,
    pub url: Url,
    pub options: Options,
}

pub fn open(config: &Config, exclude: &[Url]) -> Result<Vec<Source>, PortalError> {
    let mut own = configured(config);
    own.extend(exclude.iter().map(|url| Own {
        what: "a storage",
        url: url.clone(),
        options: Options::default(),
    }));
    own.extend(super::indexes::own(config));
    let filesystems: Vec<_> = filesystems(config).collect();
    let mut sources = Vec::new();
    for (position, source) in config.portal.filesystem.iter().enumerate() {
        let mut filesystem = Filesystem::open(&source.url, &source.options)?
            .with_max_parts(config.storage.max_parts);
        if sources.is_empty() && config.portal.layout == LayoutKind::Docspace {
            filesystem = filesystem.through_links(LINKED_FOLDERS);
        }
        // One filesystem in another is captured by itself, and restored by itself.
        let others = filesystems.iter().enumerate().filter(|(other, _)| *other != position);
        let others = own.iter().chain(others.map(|(_, other)| other));
        let excluded = inside(&filesystem, others).map_err(|what| {
            PortalError::Invalid(format!(
                "filesystem {:?} is itself {what}: each needs a folder of its own",
                source.name
            ))
        })?;
        sources.push(Source { name: source.name.clone(), filesystem, excluded });
    }
    Ok(sources)
}

/// What lies inside a place, relative to its root; an error for what it is itself.
pub(super) fn inside<'a>(
    place: &Filesystem,
    own: impl IntoIterator<Item = &'a Own>,
) -> Result<Vec<String>, &'static str> {
    let found = own.into_iter().filter_map(|own| {
        let path = place.covers(&own.url, &own.options)?;
        Some(if path.is_empty() { Err(own.what) } else { Ok(path) })
    });
    found.collect()
}

/// The filesystems as what is left out of others.
pub(super) fn filesystems(config: &Config) -> impl Iterator<Item = Own> + '_ {
    config.portal.filesystem.iter().map(|source| Own {
        what: "another filesystem",
        url: source.url.clone(),
        options: source.options.clone(),
    })
}

pub(super) fn configured(config: &Config) -> Vec<Own> {
    let mut own = Vec::new();
    let mut folder = |what, path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        if let Ok(url) = Url::from_file_path(path) {
            own.push(Own { what, url, options: Options::default() });
        }
    };
    folder("the local storage", &config.storage.local.root);
    let catalog = sqlite_file(config.catalog.url.expose());
    // Databases are dumped; what their files are while that goes on is none.
    let databases = config.portal.database.iter();
    let databases = databases.filter_map(|database| sqlite_file(database.url.expose()));
    let files = databases.map(|path| ("a database", path));
    for (what, path) in files.chain(catalog.clone().map(|path| ("the catalog", path))) {
        // SQLite keeps files beside the database; a copy of them alone would be worth nothing.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            folder(what, Path::new(&file));
        }
    }
    if let Some(path) = catalog {
        folder("the secret key", &path.with_file_name(crate::seal::KEY_FILE));
    }
    let storages = [config.storage.custom_cloud.clone(), config.storage.data_store.clone()];
    let copies = config.storage.copy.iter().map(|copy| copy.place());
    for storage in storages.into_iter().flatten().chain(copies) {
        own.push(Own { what: "a configured storage", url: storage.url, options: storage.options });
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_sqlite_url() {
        assert_eq!(
            sqlite_file("sqlite:///a/b%20c.db?mode=rwc").as_deref(),
            Some(Path::new("/a/b c.db"))
        );
        assert_eq!(sqlite_file("sqlite://c.db").as_deref(), Some(Path::new("c.db")));
        assert_eq!(sqlite_file("sqlite::memory:"), None);
        assert_eq!(sqlite_file("postgres://h/db"), None);
    }
}
