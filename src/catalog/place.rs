//! Where the catalog lies: its URL, and the file of an SQLite catalog.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::CatalogError;
use super::db::Dialect;
use crate::config::Secret;

/// What a path in a URL must not hold as it is.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

/// A catalog's URL, understood.
pub(crate) struct Place {
    pub(crate) dialect: Dialect,
    pub(crate) url: Url,
    /// The same without a password, for messages.
    pub(crate) shown: String,
    /// SQLite only; absolute.
    pub(crate) file: Option<PathBuf>,
}

impl Place {
    pub(crate) fn parse(url: &Secret) -> Result<Self, CatalogError> {
        let text = url.expose();
        let scheme = text.split(':').next().unwrap_or_default();
        let dialect = match scheme {
            "sqlite" => Dialect::Sqlite,
            "postgres" | "postgresql" => Dialect::Postgres,
            "mysql" | "mariadb" => Dialect::MySql,
            _ => {
                return Err(CatalogError::Url(
                    "it must begin with sqlite://, postgres:// or mysql://".to_owned(),
                ));
            }
        };
        if dialect == Dialect::Sqlite {
            return Self::sqlite(text);
        }
        let url = Url::parse(text).map_err(|error| CatalogError::Url(error.to_string()))?;
        if url.path().trim_matches('/').is_empty() {
            return Err(CatalogError::Url("it names no database".to_owned()));
        }
        let mut shown = url.clone();
        // Refused only by URLs without a host, which have no password either.
        let _ = shown.set_password(None);
        shown.set_query(None);
        Ok(Self { dialect, url, shown: shown.to_string(), file: None })
    }

    /// A file by its absolute path, because `sqlite://name.db` would else read the name as a host.
    fn sqlite(text: &str) -> Result<Self, CatalogError> {
        let file = sqlite_file(text).ok_or_else(|| {
            CatalogError::Url(
                "an SQLite catalog needs a file: sqlite://portal-backup.db or sqlite:///var/lib/…"
                    .to_owned(),
            )
        })?;
        let file = std::path::absolute(&file)
            .map_err(|source| CatalogError::File { path: file.clone(), source: source.into() })?;
        let path = file.to_str().ok_or_else(|| {
            CatalogError::Url(format!("the path {} is not UTF-8", file.display()))
        })?;
        let url = format!("sqlite://{}", utf8_percent_encode(path, PATH));
        let url = Url::parse(&url).map_err(|error| CatalogError::Url(error.to_string()))?;
        Ok(Self {
            dialect: Dialect::Sqlite,
            url,
            shown: file.display().to_string(),
            file: Some(file),
        })
    }
}

/// The file that an SQLite URL names; None for other URLs, and for one in memory, which cannot be shared.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8().ok()?;
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path.as_ref()))
}

/// Makes the file, readable by its owner alone; SQLite gives its companions the same mode.
pub(crate) fn create_file(path: &Path) -> Result<(), CatalogError> {
    let failed = |source: std::io::Error| CatalogError::File {
        path: path.to_path_buf(),
        source: source.into(),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_urls_name_files() {
        let file = |url| sqlite_file(url).map(|path| path.display().to_string());
        assert_eq!(file("sqlite://portal-backup.db").as_deref(), Some("portal-backup.db"));
        assert_eq!(file("sqlite:///var/lib/a%20b.db?x=1").as_deref(), Some("/var/lib/a b.db"));
        assert_eq!(file("sqlite:c.db").as_deref(), Some("c.db"));
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("mysql://localhost/x"), None);
        let place = Place::parse(&Secret::new("sqlite:///tmp/My Files/50%25.db")).unwrap();
        assert_eq!(place.url.as_str(), "sqlite:///tmp/My%20Files/50%25.db");
    }

    #[test]
    fn messages_have_no_password() {
        let place = Place::parse(&Secret::new("mysql://u:hunter2@db/portal?x=hunter2")).unwrap();
        assert_eq!(place.shown, "mysql://u@db/portal");
        assert!(Place::parse(&Secret::new("mysql://db")).is_err());
        assert!(Place::parse(&Secret::new("mongodb://db/x")).is_err());
    }
}
