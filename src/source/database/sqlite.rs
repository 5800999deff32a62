//! SQLite, dumped as SQL that the `sqlite3` program loads.

mod copy;
mod making;
mod objects;
mod open;
mod order;
mod render;
mod restore;
mod rows;
mod scheme;
mod snapshot;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

use super::{Database, DatabaseError, Engine, Live, ObjectText, ServerInfo, Snapshot, Staging};
use crate::source::restore::{AttemptId, Staged};

/// A SQLite database file.
pub struct Sqlite {
    source: Source,
}

/// What the work on blocking threads needs to know.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    path: PathBuf,
    temp_dir: PathBuf,
}

impl Sqlite {
    /// `url`: `sqlite://relative.db`, `sqlite:///absolute.db` or `sqlite:path`; special characters may be
    /// percent-encoded, and parameters are ignored. Opens nothing yet.
    pub fn new(name: &str, url: &str, temp_dir: &Path) -> Result<Self, DatabaseError> {
        let path = path(url).map_err(|message| DatabaseError::Configuration {
            name: name.to_owned(),
            message: message.to_owned(),
        })?;
        let source = Source { name: name.to_owned(), path, temp_dir: temp_dir.to_owned() };
        Ok(Self { source })
    }
}

fn path(url: &str) -> Result<PathBuf, &'static str> {
    let rest = url.strip_prefix("sqlite:").ok_or("its url must begin with sqlite://")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let rest = rest.split('?').next().unwrap_or(rest);
    let decoded = percent_decode_str(rest).decode_utf8().map_err(|_| "its url is not UTF-8")?;
    match decoded.as_ref() {
        "" | ":memory:" => Err("its url must name a file: sqlite://portal.db"),
        path => Ok(PathBuf::from(path)),
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn check(&self) -> Result<ServerInfo, DatabaseError> {
        let source = self.source.clone();
        blocking(&self.source, move || open::database(&source)).await??;
        Ok(server())
    }

    async fn snapshot(&self, readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError> {
        let source = self.source.clone();
        Ok(Box::new(blocking(&self.source, move || snapshot::open(source, readers)).await??))
    }

    async fn live(&self) -> Result<Live, DatabaseError> {
        let source = self.source.clone();
        blocking(&self.source, move || restore::live(&source)).await?
    }

    /// Objects of an archive that is not ours are left out, so nothing in them is refused.
    fn judge(&self, schemes: &[(&str, &str)], _: &[ObjectText]) -> Result<(), DatabaseError> {
        restore::judge(&self.source, schemes)
    }

    async fn count(&self, tables: &[String]) -> Result<Vec<Option<u64>>, DatabaseError> {
        let (source, tables) = (self.source.clone(), tables.to_vec());
        blocking(&self.source, move || restore::count(&source, &tables)).await?
    }

    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        let (source, table) = (self.source.clone(), table.to_owned());
        let read = move || restore::digest(&source, &open::database(&source)?, &table);
        blocking(&self.source, read).await?
    }

    async fn stage(&self, attempt: &AttemptId) -> Result<Box<dyn Staging>, DatabaseError> {
        let (source, attempt) = (self.source.clone(), attempt.clone());
        Ok(Box::new(blocking(&self.source, move || restore::stage(source, &attempt)).await??))
    }

    async fn staged(&self, attempt: &AttemptId) -> Result<Box<dyn Staged>, DatabaseError> {
        Ok(Box::new(restore::staged(self.source.clone(), attempt)))
    }

    async fn create(&self) -> Result<bool, DatabaseError> {
        let source = self.source.clone();
        blocking(&self.source, move || making::create(&source)).await?
    }

    async fn discard(&self, with_content: bool) -> Result<(), DatabaseError> {
        let source = self.source.clone();
        blocking(&self.source, move || making::discard(&source, with_content)).await?
    }

    async fn compact(&self) -> Result<(), DatabaseError> {
        let source = self.source.clone();
        blocking(&self.source, move || making::compact(&source)).await?
    }
}

fn server() -> ServerInfo {
    let version = rusqlite::version().to_owned();
    ServerInfo { engine: Engine::Sqlite, version, position: None }
}

/// Runs something on a thread that may block.
async fn blocking<T: Send + 'static>(
    source: &Source,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DatabaseError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| DatabaseError::Query {
        name: source.name.clone(),
        what: "working on it".to_owned(),
        message: error.to_string(),
    })
}

impl Source {
    fn failed(&self, what: &str, error: impl std::fmt::Display) -> DatabaseError {
        DatabaseError::Query {
            name: self.name.clone(),
            what: what.to_owned(),
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        let read = |url: &str| path(url).unwrap().to_string_lossy().into_owned();
        assert_eq!(read("sqlite://portal.db"), "portal.db");
        assert_eq!(read("sqlite:///var/lib/a%20b.db?mode=ro"), "/var/lib/a b.db");
        assert_eq!(read("sqlite:data/portal.db"), "data/portal.db");
        assert!(path("sqlite://").is_err() && path("sqlite::memory:").is_err());
    }
}
