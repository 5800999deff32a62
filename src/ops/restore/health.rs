//! Whether what was loaded is what is live now: rows counted, a few tables and files read again.

use std::collections::{BTreeMap, HashSet};

use archive::{Digest, EntryRecord};
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};

use super::load::LoadingDatabase;
use super::run::RunError;
use super::targets::{DatabaseTarget, FilesystemTarget};
use crate::portal::FilePlace;
use crate::source::files::{FileMeta, Listed};

/// How many tables of each database, and how many files, are read again.
const TABLES: usize = 3;
const FILES: usize = 32;
/// Others are too large to be read while the portal waits.
const LARGEST_TABLE: u64 = 1 << 20;
const LARGEST_FILE: u64 = 4 << 20;

/// What a database must have after the swap.
#[derive(Debug)]
pub struct Expected {
    /// Tables and their rows; None of those that were adjusted.
    tables: BTreeMap<String, Option<u64>>,
    digests: BTreeMap<String, Option<[u8; 32]>>,
}

impl Expected {
    /// Of what is loaded. `adjusted`: the tables that no longer have the archive's rows.
    pub async fn of(loading: &LoadingDatabase, adjusted: &[String]) -> Result<Self, RunError> {
        let rows = loading.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let is_adjusted = |name: &String| adjusted.contains(name);
        let tables = loading.tables.keys().map(|name| {
            let rows = rows.get(name).copied().unwrap_or(0);
            (name.clone(), (!is_adjusted(name)).then_some(rows))
        });
        let sizes = loading.tables.iter().filter_map(|(name, table)| {
            let size = table.data.as_ref()?.size;
            (size <= LARGEST_TABLE && !is_adjusted(name)).then_some((size, name))
        });
        let mut largest: Vec<_> = sizes.collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let mut digests = BTreeMap::new();
        for (_, name) in largest.into_iter().take(TABLES) {
            digests.insert(name.clone(), loading.staging.digest(name).await?);
        }
        Ok(Self { tables: tables.collect(), digests })
    }

    /// What differs, each a sentence: faults, and what others may have changed since.
    pub async fn compare(
        &self,
        target: &DatabaseTarget,
    ) -> Result<(Vec<String>, Vec<String>), RunError> {
        let live = target.database.live().await?;
        let there: HashSet<_> = live.tables.iter().map(|table| live.folded(&table.name)).collect();
        let is_there = |name: &String| there.contains(&live.folded(name));
        let missing = self.tables.keys().filter(|name| !is_there(name));
        let faults: Vec<_> = missing.map(|name| format!("table {name} is missing")).collect();
        if !faults.is_empty() {
            return Ok((faults, Vec::new()));
        }
        let counted = self.tables.iter().filter_map(|(name, rows)| Some((name.clone(), (*rows)?)));
        let (names, loaded): (Vec<_>, Vec<_>) = counted.unzip();
        let rows = target.database.count(&names).await?;
        let mut changes = Vec::new();
        for ((name, loaded), rows) in names.iter().zip(loaded).zip(rows) {
            // Others may have written new ones since, or deleted some.
            if let Some(rows) = rows.filter(|rows| *rows < loaded) {
                changes.push(format!("table {name} has {rows} rows of the {loaded} loaded"));
            }
        }
        for (name, loaded) in &self.digests {
            // What has none, such as large objects among others, is not compared.
            let found = target.database.digest(name).await?;
            if found.zip(*loaded).is_some_and(|(found, loaded)| found != loaded) {
                changes.push(format!("table {name} has other rows than were loaded"));
            }
        }
        Ok((faults, changes))
    }
}

/// A few of the files that were staged.
#[derive(Debug, Default)]
pub struct Sample(Vec<(FilePlace, FileMeta, Option<Digest>)>);

impl Sample {
    pub fn take(&mut self, place: &FilePlace, entry: &EntryRecord) {
        if self.0.len() < FILES && entry.size <= LARGEST_FILE {
            let file = FileMeta {
                path: place.path.clone(),
                size: entry.size,
                modified: entry.mtime,
                is_directory: false,
                version: None,
            };
            self.0.push((place.clone(), file, entry.sha256));
        }
    }

    /// What differs in a filesystem, each a sentence.
    pub async fn compare(&self, target: &FilesystemTarget) -> Vec<String> {
        let mut changes = Vec::new();
        for (_, file, digest) in self.0.iter().filter(|(at, ..)| at.filesystem == target.position) {
            match read(target, file).await {
                Ok((size, found))
                    if size == file.size && digest.is_none_or(|digest| digest.0 == found) => {}
                Ok(_) => changes.push(format!("file {} has another content", file.path)),
                Err(error) => changes.push(format!("file {}: {error}", file.path)),
            }
        }
        changes
    }
}

async fn read(target: &FilesystemTarget, file: &FileMeta) -> Result<(u64, [u8; 32]), RunError> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    let (_, mut content) = target.filesystem.read(file).await?;
    while let Some(piece) = content.try_next().await? {
        size += piece.len() as u64;
        digest.update(&piece);
    }
    Ok((size, digest.finalize().into()))
}

/// How many files and bytes lie in some folders now.
pub async fn count(target: &FilesystemTarget, folders: &[String]) -> Result<(u64, u64), RunError> {
    let (mut files, mut bytes) = (0, 0);
    for folder in folders {
        let mut listing = target.filesystem.list_except(folder, target.kept.clone());
        while let Some(listed) = listing.next().await {
            if let Listed::File(file) = listed?
                && !file.is_directory
            {
                files += 1;
                bytes += file.size;
            }
        }
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DatabaseConfig, Secret};
    use crate::source::database;

    #[tokio::test]
    async fn rows_that_others_deleted_are_no_fault_of_the_restore() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portal.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);").unwrap();
        let url = Secret::new(format!("sqlite://{}", path.display()));
        let config = DatabaseConfig { name: "portal".to_owned(), url };
        let database = database::open(&config, dir.path()).unwrap();
        let target = DatabaseTarget { archived: None, name: config.name, database };
        let expected = |table: &str| Expected {
            tables: BTreeMap::from([(table.to_owned(), Some(3))]),
            digests: BTreeMap::new(),
        };
        let (faults, changes) = expected("t").compare(&target).await.unwrap();
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(changes, ["table t has 2 rows of the 3 loaded"]);
        let (faults, _) = expected("lost").compare(&target).await.unwrap();
        assert_eq!(faults, ["table lost is missing"]);
    }
}
