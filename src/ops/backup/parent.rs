//! What an increment is made upon: found among the archives, and looked up while the sources are read.

mod choice;
mod known;
mod lists;
mod memo;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Archive, EntryRecord, Link};
use futures::TryStreamExt;
use uuid::Uuid;

use super::run::RunError;
use crate::source::files::FileMeta;

pub use choice::{Candidate, Choice, Wanted, candidates, choose, first_of};
pub use known::{CHUNKS, Known, record as chunk_record};
use lists::Lists;
pub(in crate::ops) use memo::{Memo, keep_or_warn};

/// A file that was changed so shortly before the parent was begun may have been changed again within the same tick of
/// its clock.
const TICK: i64 = 2;
/// An entry's place takes so many bits of a number, the hash of its name the others.
const PLACE_BITS: u32 = 36;
/// Entries are written down so many bytes at once.
const BATCH: usize = 1 << 20;

/// An archive that an increment is made upon.
pub struct Parent {
    pub id: Uuid,
    /// The parent, and all that it needs.
    pub links: Vec<Link>,
    /// What its chunks' digests are keyed with.
    pub key: Option<String>,
    /// Unix seconds.
    started: i64,
    index: Index,
    lists: Lists,
}

impl Parent {
    /// The entry of this name, as the parent has it.
    pub fn find(&self, path: &str) -> Result<Option<EntryRecord>, RunError> {
        self.index
            .find(path)
            .map_err(|error| RunError::Failed(format!("looking up {path}: {error}")))
    }

    /// The file of this name, if it is one of this size that was read whole. True: nothing has changed it since.
    pub fn file(
        &self,
        member: &str,
        file: &FileMeta,
    ) -> Result<Option<(EntryRecord, bool)>, RunError> {
        let Some(old) = self.find(member)? else { return Ok(None) };
        let is_directory = old.kind == archive::EntryKind::Directory;
        // A note says that it is not the file's content.
        if is_directory != file.is_directory || old.size != file.size || old.note.is_some() {
            return Ok(None);
        }
        let same = old.mtime == file.modified.max(0)
            && old.version == file.version
            && file.modified < self.started - TICK;
        Ok(Some((old, same)))
    }

    /// The chunks of the entry of this name.
    pub async fn known(&self, path: &str) -> Result<Known, RunError> {
        let (Some(entry), Some(list)) = (self.find(path)?, self.find(&format!("{CHUNKS}{path}"))?)
        else {
            return Ok(Known::default());
        };
        Known::read(self.lists.read(&list), &entry, &list).await
    }
}

/// Entries by their names: their records lie in a file without a name, and 8 bytes of each in memory.
struct Index {
    file: File,
    hasher: RandomState,
    places: Vec<u64>,
}

impl Index {
    async fn read(archive: &Archive, temp_dir: &Path) -> Result<Self, RunError> {
        let mut new = NewIndex::new(temp_dir)?;
        let mut entries = std::pin::pin!(archive.entries());
        while let Some(entry) = entries.try_next().await? {
            new.add(&entry).await?;
        }
        new.finish().await
    }

    fn key(hasher: &RandomState, path: &str) -> u64 {
        hasher.hash_one(path) >> PLACE_BITS << PLACE_BITS
    }

    /// Reads from a file that the system most probably holds in memory.
    fn find(&self, path: &str) -> std::io::Result<Option<EntryRecord>> {
        let key = Self::key(&self.hasher, path);
        let first = self.places.partition_point(|place| *place < key);
        for place in &self.places[first..] {
            if place >> PLACE_BITS != key >> PLACE_BITS {
                break;
            }
            let at = place & ((1 << PLACE_BITS) - 1);
            let mut length = [0; 4];
            self.file.read_exact_at(&mut length, at)?;
            let mut record = vec![0; u32::from_le_bytes(length) as usize];
            self.file.read_exact_at(&mut record, at + 4)?;
            let entry: EntryRecord = serde_json::from_slice(&record)?;
            if entry.path == path {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// An index being made.
struct NewIndex {
    file: Arc<File>,
    hasher: RandomState,
    places: Vec<u64>,
    /// Records that are still to be written, and where they begin.
    batch: Vec<u8>,
    start: u64,
    temp_dir: PathBuf,
}

impl NewIndex {
    fn new(temp_dir: &Path) -> Result<Self, RunError> {
        let file = tempfile::tempfile_in(temp_dir).map_err(|error| unusable(temp_dir, &error))?;
        Ok(Self {
            file: Arc::new(file),
            hasher: RandomState::new(),
            places: Vec::new(),
            batch: Vec::with_capacity(2 * BATCH),
            start: 0,
            temp_dir: temp_dir.to_owned(),
        })
    }

    async fn add(&mut self, entry: &EntryRecord) -> Result<(), RunError> {
        let place = self.start + self.batch.len() as u64;
        if place >> PLACE_BITS != 0 {
            return Err(RunError::Failed("the parent lists too much".to_owned()));
        }
        self.places.push(Index::key(&self.hasher, &entry.path) | place);
        let record =
            serde_json::to_vec(entry).map_err(|error| RunError::Internal(error.to_string()))?;
        self.batch.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.batch.extend_from_slice(&record);
        if self.batch.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), RunError> {
        let batch = std::mem::take(&mut self.batch);
        self.start += batch.len() as u64;
        self.batch = write(&self.file, batch, self.start)
            .await
            .map_err(|error| unusable(&self.temp_dir, &error))?;
        Ok(())
    }

    async fn finish(mut self) -> Result<Index, RunError> {
        self.flush().await?;
        self.places.sort_unstable();
        let file = Arc::into_inner(self.file)
            .ok_or_else(|| RunError::Internal("a list is still being written".to_owned()))?;
        Ok(Index { file, hasher: self.hasher, places: self.places })
    }
}

fn unusable(temp_dir: &Path, error: &std::io::Error) -> RunError {
    RunError::Failed(format!("backup.temp_dir {}: {error}", temp_dir.display()))
}

/// Writes what ends at `end`; gives back the empty buffer.
async fn write(file: &Arc<File>, mut batch: Vec<u8>, end: u64) -> std::io::Result<Vec<u8>> {
    let file = Arc::clone(file);
    let work = move || {
        file.write_all_at(&batch, end - batch.len() as u64)?;
        batch.clear();
        Ok(batch)
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
