//! Where a copy of the index may go: below the local storage's root, or where the configuration lets requests write.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use url::Url;

use crate::app::App;
use crate::config::Options;
use crate::ops::OpError;
use crate::source::files::{Filesystem, Listed, STAGING_FOLDER};
use crate::storage::StorageType;

pub struct Target {
    pub place: Filesystem,
    shown: String,
}

/// What lies in a target.
pub struct Present {
    /// Names of its folders: they stay.
    pub folders: Vec<String>,
}

impl Target {
    /// `text`: a path (a drive or a leading slash is taken as relative to the local storage's root), or a URL.
    /// Refuses what a request may not name, and what holds something else than copies.
    pub fn resolve(app: &App, text: &str) -> Result<Self, OpError> {
        let (url, options) = match text.contains("://") {
            true => by_url(app, text)?,
            false => (by_path(app, text)?, Options::default()),
        };
        let place = Filesystem::open(&url, &options)
            .map_err(|error| OpError::Invalid(format!("target {text:?}: {error}")))?
            .with_max_parts(app.config.storage.max_parts);
        if let Some(what) = app.portal.holds(&app.config, &place) {
            return Err(refused(
                text,
                &format!("{what} lies there, and the files in it are replaced"),
            ));
        }
        let sources = app.portal.indexes().iter().map(|index| (&index.name, &index.folder));
        let none = Options::default();
        for (name, folder) in sources {
            if folder.covers(&url, &none).is_some() {
                return Err(refused(text, &format!("it lies in the index {name:?} itself")));
            }
        }
        Ok(Self { place, shown: text.to_owned() })
    }

    /// Looks at what lies there. Archives are never replaced by a copy of an index.
    pub async fn check(&self) -> Result<Present, OpError> {
        if self.place.is_local() && self.place.stat("").await.is_err() {
            return Ok(Present { folders: Vec::new() });
        }
        let unreadable = |error| OpError::Invalid(format!("target {:?}: {error}", self.shown));
        let mut folders = BTreeSet::new();
        let mut listing = self.place.list("");
        while let Some(listed) = listing.try_next().await.map_err(unreadable)? {
            let Listed::File(file) = listed else { continue };
            match file.path.split_once('/') {
                Some((folder, _)) => drop(folders.insert(folder.to_owned())),
                None if file.is_directory => drop(folders.insert(file.path)),
                None if file.path.ends_with(".tar.gz") || file.path.ends_with(".tar") => {
                    let why = format!("{} lies there: use a folder without archives", file.path);
                    return Err(refused(&self.shown, &why));
                }
                None => {}
            }
        }
        Ok(Present { folders: folders.into_iter().collect() })
    }
}

fn refused(text: &str, why: &str) -> OpError {
    OpError::Invalid(format!("target {text:?}: {why}"))
}

fn by_path(app: &App, text: &str) -> Result<Url, OpError> {
    let path = text.replace('\\', "/");
    let bare = match path.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => &path[2..],
        _ => path.as_str(),
    };
    let folder = |path: &str| {
        let params = BTreeMap::from([("filePath".to_owned(), path.to_owned())]);
        app.storages.resolve(StorageType::Local, &params)
    };
    let relative = bare.trim_matches('/');
    let mut parts = relative.split('/').filter(|part| !matches!(*part, "" | "."));
    if parts.clone().next().is_none() {
        return Err(refused(text, "it names no folder"));
    }
    if parts.any(|part| part == STAGING_FOLDER) {
        return Err(refused(text, "the name is taken for staging"));
    }
    // A path that lies below the root anyway is meant as it is.
    let storage = match folder(bare) {
        Ok(storage) if bare.starts_with('/') => storage,
        _ => folder(relative).map_err(|error| refused(text, &error.to_string()))?,
    };
    let path = storage.local_path().ok_or_else(|| refused(text, "it is no folder"))?;
    if path == app.storages.local_root() {
        return Err(refused(text, "archives lie there: name a folder below it"));
    }
    Url::from_file_path(&path).map_err(|()| refused(text, "it is no path"))
}

fn by_url(app: &App, text: &str) -> Result<(Url, Options), OpError> {
    let url = Url::parse(text).map_err(|error| refused(text, &error.to_string()))?;
    if url.scheme() == "file"
        && let Ok(path) = url.to_file_path()
        && let Some(path) = path.to_str()
        && std::path::Path::new(path).starts_with(app.storages.local_root())
    {
        return Ok((by_path(app, path)?, Options::default()));
    }
    app.storages.allowed_place(&url).map_err(|error| refused(text, &error.to_string()))
}
