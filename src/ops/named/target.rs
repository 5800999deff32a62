//! Where a restored source comes to lie: beside the configured one, or where the request says.

use futures::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::location::Location;
use super::sources::{SourcePlace, configured};
use crate::app::App;
use crate::catalog::SourceKind;
use crate::config::{DatabaseConfig, Options, Secret};
use crate::ops::OpError;
use crate::source::database::{self, Database};
use crate::source::files::Filesystem;
use crate::storage::StorageType;

/// Everything of a path that a URL could take for something else.
const PATH: AsciiSet =
    NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b' ');
/// Longest name: a staging schema's adds the attempt to it, and servers take 63 or 64 bytes.
const LONGEST_NAME: usize = 48;
const INDEX_NOT_EMPTY: &str =
    "IndexesLocation is not empty. Point to non-existing or empty directory.";
/// Servers' own.
const RESERVED: [&str; 8] = [
    "mysql",
    "information_schema",
    "performance_schema",
    "sys",
    "postgres",
    "template0",
    "template1",
    "sysdb",
];

/// Letters, digits, `-`, `_` and `.`, as in the configuration; such a name is safe in every place.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!(
            "the name {name:?} has more in it than letters, digits, '-', '_' and '.'"
        ));
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("the name {name:?} is longer than {LONGEST_NAME} bytes"));
    }
    Ok(())
}

/// What an archive's manifest says of the source in it.
pub enum Archived {
    Database {
        engine: String,
    },
    /// Its name then.
    Filesystem {
        name: String,
    },
}

/// Chooses the place. Errors are sentences; nothing is made.
pub fn choose(
    app: &App,
    name: &str,
    location: Option<&Location>,
    archived: &Archived,
) -> Result<SourcePlace, OpError> {
    let place = match archived {
        Archived::Database { engine } if engine == "sqlite" => sqlite(app, name, location)?,
        Archived::Database { engine } => server(app, name, location, engine)?,
        Archived::Filesystem { name: old } => filesystem(app, name, location, old)?,
    };
    let taken = configured(app, place.kind()).iter().any(|known| known.place.url() == place.url());
    if taken {
        return Err(OpError::Conflict(not_empty(place.kind()).to_owned()));
    }
    Ok(place)
}

/// RavenDB's words for a place that holds something already.
pub fn not_empty(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Database => {
            "Database location directory is not empty. Point to non-existing or empty directory."
        }
        SourceKind::Filesystem => {
            "Filesystem already exists, cannot restore to an existing filesystem."
        }
    }
}

fn path_url(scheme: &str, path: &std::path::Path) -> String {
    format!("{scheme}://{}", utf8_percent_encode(&path.to_string_lossy(), &PATH))
}

fn sqlite(app: &App, name: &str, location: Option<&Location>) -> Result<SourcePlace, OpError> {
    let file = format!("{name}.db");
    let folder = match location {
        Some(location) => {
            let folder = local_folder(app, location)?;
            let used = std::fs::read_dir(&folder).is_ok_and(|mut found| found.next().is_some());
            if used {
                return Err(OpError::Conflict(not_empty(SourceKind::Database).to_owned()));
            }
            folder
        }
        None => {
            let databases = app.config.portal.database.iter();
            let mut beside =
                databases.filter_map(|known| crate::catalog::sqlite_file(known.url.expose()));
            match beside.next() {
                Some(file) => std::path::absolute(file.parent().unwrap_or(&file))
                    .map_err(OpError::internal)?,
                None => local_folder(app, &Location::parse(app, &format!("Databases/{name}"))?)?,
            }
        }
    };
    Ok(SourcePlace::Database { url: Secret::new(path_url("sqlite", &folder.join(file))) })
}

fn local_folder(app: &App, location: &Location) -> Result<std::path::PathBuf, OpError> {
    location.storage(app)?.local_path().ok_or_else(|| {
        OpError::Invalid(format!("{}: a database cannot lie in an object store", location.shown))
    })
}

/// A new schema of the server that the first configured database of this engine is on. A server keeps its data where
/// it does, so of a location only the last part counts.
fn server(
    app: &App,
    name: &str,
    location: Option<&Location>,
    engine: &str,
) -> Result<SourcePlace, OpError> {
    let schemes: &[&str] = match engine {
        "postgres" => &["postgres", "postgresql"],
        _ => &["mysql", "mariadb"],
    };
    let databases = app.config.portal.database.iter();
    let mut servers = databases.filter_map(|known| Url::parse(known.url.expose()).ok());
    let Some(mut url) = servers.find(|url| schemes.contains(&url.scheme())) else {
        return Err(OpError::Invalid(format!(
            "the backup is of a {engine} database, and none on such a server is configured"
        )));
    };
    let schema = match location {
        Some(location) => location.last(app)?.unwrap_or_default(),
        None => name.to_owned(),
    };
    check_name(&schema).map_err(OpError::Invalid)?;
    if RESERVED.contains(&schema.to_ascii_lowercase().as_str()) {
        return Err(OpError::Conflict(not_empty(SourceKind::Database).to_owned()));
    }
    url.set_path(&schema);
    if url.query_pairs().any(|(key, _)| key == "dbname") {
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| key != "dbname").collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    Ok(SourcePlace::Database { url: Secret::new(url.to_string()) })
}

fn filesystem(
    app: &App,
    name: &str,
    location: Option<&Location>,
    old: &str,
) -> Result<SourcePlace, OpError> {
    let (url, options) = match location {
        Some(location) => (location.storage(app)?.url().clone(), at(app, location)?),
        None => {
            let known = &app.config.portal.filesystem;
            let beside = known.iter().find(|known| known.name == old).or_else(|| known.first());
            match beside {
                Some(beside) => (sibling(&beside.url, name)?, beside.options.clone()),
                None => {
                    let location = Location::parse(app, &format!("FileSystems/{name}"))?;
                    (location.storage(app)?.url().clone(), Options::default())
                }
            }
        }
    };
    for known in &app.config.portal.filesystem {
        let filesystem = Filesystem::open(&known.url, &known.options).map_err(OpError::internal)?;
        if filesystem.covers(&url, &options).is_some() {
            return Err(OpError::Conflict(not_empty(SourceKind::Filesystem).to_owned()));
        }
    }
    Ok(SourcePlace::Filesystem { url, options })
}

/// The options by which the place of an object store is reached: those of the configured source or storage there.
fn at(app: &App, location: &Location) -> Result<Options, OpError> {
    if location.storage_type == StorageType::Local {
        return Ok(Options::default());
    }
    let url = location.storage(app)?.url().clone();
    if url.scheme() == "file" {
        return Ok(Options::default());
    }
    let same = |known: &Url| known.scheme() == url.scheme() && known.host_str() == url.host_str();
    let filesystems = app.config.portal.filesystem.iter().map(|known| (&known.url, &known.options));
    let storages = app.config.storage.custom_cloud.iter().map(|known| (&known.url, &known.options));
    let found = filesystems.chain(storages).find(|(known, _)| same(known));
    Ok(found.map(|(_, options)| options.clone()).unwrap_or_default())
}

/// The folder of a restored index: where the request says, or else beside the data.
pub fn choose_index(
    app: &App,
    name: &str,
    location: Option<&Location>,
    place: &SourcePlace,
) -> Result<Url, OpError> {
    let file = match place {
        SourcePlace::Database { url } => crate::catalog::sqlite_file(url.expose()),
        SourcePlace::Filesystem { url, .. } => url.to_file_path().ok(),
    };
    let folder = match (location, file) {
        (Some(location), _) => location.storage(app)?.local_path().ok_or_else(|| {
            let text = format!("{}: an index cannot lie in an object store", location.shown);
            OpError::Invalid(text)
        })?,
        (None, Some(file)) => file.with_file_name(format!("{name}.Indexes")),
        (None, None) => local_folder(app, &Location::parse(app, &format!("Indexes/{name}"))?)?,
    };
    let url = Url::parse(&path_url("file", &folder)).map_err(OpError::internal)?;
    let own = Filesystem::open(&url, &Options::default()).map_err(OpError::internal)?;
    match app.portal.holds(&app.config, &own) {
        Some(_) => Err(OpError::Conflict(INDEX_NOT_EMPTY.to_owned())),
        None => Ok(url),
    }
}

/// Makes the folder of an index. `Conflict`: it holds something.
pub fn make_index(url: &Url) -> Result<(), OpError> {
    let (_, empty) = make_folder(url)?;
    if empty { Ok(()) } else { Err(OpError::Conflict(INDEX_NOT_EMPTY.to_owned())) }
}

/// Whether the folder was made, and whether it is empty.
fn make_folder(url: &Url) -> Result<(bool, bool), OpError> {
    let path = url.to_file_path().map_err(|()| OpError::internal("it is no path"))?;
    let failed = |error: std::io::Error| OpError::Unavailable(error.to_string());
    let made = !path.exists();
    std::fs::create_dir_all(&path).map_err(failed)?;
    Ok((made, std::fs::read_dir(&path).map_err(failed)?.next().is_none()))
}

/// Removes an empty folder.
pub fn discard_folder(url: &Url) {
    if let Ok(path) = url.to_file_path() {
        // What is not empty stays, and what is gone is gone.
        let _ = std::fs::remove_dir(path);
    }
}

/// Removes a folder and all that is in it.
pub async fn remove_folder(url: &Url) -> Result<(), OpError> {
    let path = url.to_file_path().map_err(|()| OpError::internal("it is no path"))?;
    match tokio::fs::remove_dir_all(&path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OpError::Unavailable(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn sibling(url: &Url, name: &str) -> Result<Url, OpError> {
    let mut sibling = url.clone();
    let top = url.path_segments().is_none_or(|mut parts| parts.all(str::is_empty));
    if top {
        return Err(OpError::Invalid(
            "beside a whole bucket there is no place: name a FilesystemLocation".to_owned(),
        ));
    }
    if let Ok(mut segments) = sibling.path_segments_mut() {
        segments.pop_if_empty().pop().push(name);
    }
    Ok(sibling)
}

/// The database at a place.
pub fn database(app: &App, name: &str, url: &Secret) -> Result<Box<dyn Database>, OpError> {
    let config = DatabaseConfig { name: name.to_owned(), url: url.clone() };
    database::open(&config, &app.config.backup.temp_dir)
        .map_err(|error| OpError::Invalid(error.to_string()))
}

/// Whether there is nothing at a place yet, as far as that can be told without asking a server.
pub fn is_new(place: &SourcePlace) -> bool {
    let path = match place {
        SourcePlace::Database { url } => crate::catalog::sqlite_file(url.expose()),
        SourcePlace::Filesystem { url, .. } => url.to_file_path().ok(),
    };
    path.is_some_and(|path| !path.exists())
}

/// Makes the place. True: there was none. `Conflict`: it holds something.
pub async fn make(app: &App, name: &str, place: &SourcePlace) -> Result<bool, OpError> {
    let failed = |error: String| OpError::Unavailable(error);
    let (made, empty) = match place {
        SourcePlace::Database { url } => {
            let database = database(app, name, url)?;
            let made = database.create().await.map_err(|error| failed(error.to_string()))?;
            let live = database.live().await.map_err(|error| failed(error.to_string()))?;
            (made, live.tables.is_empty() && live.objects.is_empty())
        }
        SourcePlace::Filesystem { url, options } => match url.to_file_path() {
            Ok(_) if url.scheme() == "file" => make_folder(url)?,
            _ => {
                let bucket =
                    Filesystem::open(url, options).map_err(|error| failed(error.to_string()))?;
                let mut listing = bucket.list("");
                let used = match listing.next().await {
                    None => false,
                    Some(Ok(_)) => true,
                    Some(Err(error)) => return Err(failed(error.to_string())),
                };
                (false, !used)
            }
        },
    };
    if !empty {
        return Err(OpError::Conflict(not_empty(place.kind()).to_owned()));
    }
    Ok(made)
}

/// Removes the place that [`make`] made, if there is nothing in it.
pub async fn discard(app: &App, name: &str, place: &SourcePlace) -> Result<(), String> {
    match place {
        SourcePlace::Database { url } => {
            let database = database(app, name, url).map_err(|error| error.to_string())?;
            database.discard(false).await.map_err(|error| error.to_string())
        }
        SourcePlace::Filesystem { url, .. } => {
            discard_folder(url);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["Northwind", "New-North_wind.2"] {
            check_name(good).unwrap();
        }
        for bad in ["", ".x", "a/b", "a b", "a`b", "ä", "..", &"x".repeat(49)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn siblings_lie_beside() {
        let of = |url: &str| sibling(&url.parse().unwrap(), "new").map(String::from).ok();
        assert_eq!(of("file:///a/b").as_deref(), Some("file:///a/new"));
        assert_eq!(of("file:///a/b/").as_deref(), Some("file:///a/new"));
        assert_eq!(of("s3://bucket/x/y").as_deref(), Some("s3://bucket/x/new"));
        assert_eq!(of("s3://bucket/"), None);
        assert_eq!(of("s3://bucket"), None);
    }
}
