//! What an increment is made upon: found among the archives, and looked up while the sources are read.

mod choice;
mod known;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use archive::{Archive, EntryRecord, Link};
use futures::TryStreamExt;
use uuid::Uuid;

use super::run::RunError;
use crate::source::files::FileMeta;

pub use choice::{Candidate, Choice, Wanted, candidates, choose, first_of};
pub use known::{CHUNKS, Known, record as chunk_record};

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
    archive: Archive,
    index: Index,
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
        Known::read(&self.archive, &entry, &list).await
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
        let unusable = |error: std::io::Error| {
            RunError::Failed(format!("backup.temp_dir {}: {error}", temp_dir.display()))
        };
        let file = Arc::new(tempfile::tempfile_in(temp_dir).map_err(unusable)?);
        let hasher = RandomState::new();
        let (mut places, mut batch, mut start) = (Vec::new(), Vec::with_capacity(2 * BATCH), 0_u64);
        let mut entries = std::pin::pin!(archive.entries());
        while let Some(entry) = entries.try_next().await? {
            let place = start + batch.len() as u64;
            if place >> PLACE_BITS != 0 {
                return Err(RunError::Failed("the parent lists too much".to_owned()));
            }
            places.push(Self::key(&hasher, &entry.path) | place);
            let record = serde_json::to_vec(&entry)
                .map_err(|error| RunError::Internal(error.to_string()))?;
            batch.extend_from_slice(&(record.len() as u32).to_le_bytes());
            batch.extend_from_slice(&record);
            if batch.len() >= BATCH {
                start += batch.len() as u64;
                batch = write(&file, batch, start).await.map_err(unusable)?;
            }
        }
        start += batch.len() as u64;
        write(&file, batch, start).await.map_err(unusable)?;
        places.sort_unstable();
        let file = Arc::into_inner(file)
            .ok_or_else(|| RunError::Internal("a list is still being written".to_owned()))?;
        Ok(Self { file, hasher, places })
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
