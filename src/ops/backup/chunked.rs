//! Content that goes into the archive in chunks, so that an increment stores only those that its parent lacks.

use std::sync::Arc;

use archive::{
    Digest, EntryKind, EntryRecord, NewEntry, Segment, Spool, Spools, Writer, append_segments,
};
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_128;

use super::parent::{CHUNKS, Known, Parent, chunk_record};
use super::run::RunError;

/// Longer chunks are cut at each so many bytes: rows may have gigabytes.
const MAX_CHUNK: usize = 1 << 20;

/// What a backup adds to, and what the digests of its chunks are keyed with.
pub struct Base {
    pub parent: Option<Parent>,
    /// As the manifest has it.
    pub key: String,
    secret: [u8; 192],
}

impl Base {
    /// An increment's digests are comparable with its parent's; others get a key of their own.
    pub fn new(parent: Option<Parent>) -> Result<Self, RunError> {
        let inherited = parent.as_ref().and_then(|parent| parent.key.clone());
        let key = match inherited {
            Some(key) => key,
            None => {
                let mut random = [0; 32];
                aws_lc_rs::rand::fill(&mut random)
                    .map_err(|_| RunError::Internal("the system has no random".to_owned()))?;
                hex::encode(random)
            }
        };
        let mut secret = [0; 192];
        for (number, part) in secret.chunks_exact_mut(32).enumerate() {
            part.copy_from_slice(&Sha256::digest(format!("{number} {key}")));
        }
        Ok(Self { parent, key, secret })
    }

    /// Nobody who can only write into the portal can make two chunks of one digest: that needs the key.
    fn digest(&self, chunk: &[u8]) -> Result<u128, RunError> {
        XxHash3_128::oneshot_with_secret(&self.secret, chunk)
            .map_err(|error| RunError::Internal(error.to_string()))
    }

    /// Appends a small entry, or refers to it where the parent has the same.
    pub async fn append(
        &self,
        writer: &mut Writer,
        entry: NewEntry,
        content: &[u8],
    ) -> Result<(), RunError> {
        if let Some(parent) = &self.parent
            && let Some(old) = parent.find(&entry.path)?
            && old.size == content.len() as u64
            && old.sha256 == Some(Digest(Sha256::digest(content).into()))
        {
            return refer(writer, old, entry).await;
        }
        writer.append(entry, content).await?;
        Ok(())
    }
}

/// Adds an entry that the parent has, under what is now known of it.
pub async fn refer(writer: &mut Writer, old: EntryRecord, now: NewEntry) -> Result<(), RunError> {
    let segments = old.seen_from_child();
    let NewEntry { path, kind, mtime, rows, note, version } = now;
    let mtime = mtime.max(0);
    let record = EntryRecord { path, kind, mtime, rows, note, version, segments, ..old };
    Ok(writer.refer(&record).await?)
}

/// The content of one entry, being written.
pub struct Chunked {
    base: Arc<Base>,
    spools: Spools,
    /// Of a full backup everything, of an increment what is new.
    spool: Spool,
    /// The records of all chunks.
    list: Spool,
    chunks: u64,
    length: u64,
    /// The beginning of a chunk whose end is still to come.
    open: Vec<u8>,
    increment: Option<Increment>,
}

/// What an increment knows beside.
struct Increment {
    known: Known,
    segments: Vec<Segment>,
    sha256: Sha256,
}

impl Chunked {
    /// `path`: of the entry that it is to be.
    pub async fn new(base: &Arc<Base>, spools: &Spools, path: &str) -> Result<Self, RunError> {
        let increment = match &base.parent {
            None => None,
            Some(parent) => {
                let known = parent.known(path).await?;
                Some(Increment { known, segments: Vec::new(), sha256: Sha256::new() })
            }
        };
        Ok(Self {
            base: Arc::clone(base),
            spools: spools.clone(),
            spool: spools.spool(),
            list: spools.spool(),
            chunks: 0,
            length: 0,
            open: Vec::new(),
            increment,
        })
    }

    /// Bytes of content so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Adds content; `ends`: where in it chunks end.
    pub async fn write(&mut self, piece: &[u8], ends: &[usize]) -> Result<(), RunError> {
        self.length += piece.len() as u64;
        match &mut self.increment {
            Some(increment) => increment.sha256.update(piece),
            None => self.spool.write(piece).await?,
        }
        let mut start = 0;
        for end in ends {
            let rest = &piece[start..*end];
            start = *end;
            if self.open.is_empty() {
                self.chunk(rest).await?;
            } else {
                self.open.extend_from_slice(rest);
                self.close().await?;
            }
        }
        self.open.extend_from_slice(&piece[start..]);
        if self.open.len() > 2 * MAX_CHUNK {
            let rest = self.open.split_off(self.open.len() / MAX_CHUNK * MAX_CHUNK);
            self.close().await?;
            self.open = rest;
        }
        Ok(())
    }

    /// Ends the chunk that is open.
    async fn close(&mut self) -> Result<(), RunError> {
        let mut open = std::mem::take(&mut self.open);
        self.chunk(&open).await?;
        open.clear();
        self.open = open;
        Ok(())
    }

    async fn chunk(&mut self, chunk: &[u8]) -> Result<(), RunError> {
        for part in chunk.chunks(MAX_CHUNK) {
            let (digest, length) = (self.base.digest(part)?, part.len() as u32);
            self.list.write(&chunk_record(digest, length)).await?;
            self.chunks += 1;
            let Some(increment) = &mut self.increment else { continue };
            match increment.known.find(digest, length) {
                Some(segments) => {
                    self.spools.elsewhere(u64::from(length));
                    append_segments(&mut increment.segments, segments);
                }
                None => {
                    let (offset, length) = (self.spool.len(), u64::from(length));
                    let own = Segment { archive: 0, offset, length };
                    append_segments(&mut increment.segments, [own]);
                    self.spool.write(part).await?;
                }
            }
        }
        Ok(())
    }

    /// Appends the entry, and the list of its chunks.
    pub async fn append(mut self, writer: &mut Writer, entry: NewEntry) -> Result<(), RunError> {
        self.close().await?;
        let list = NewEntry {
            path: format!("{CHUNKS}{}", entry.path),
            kind: EntryKind::Info,
            rows: None,
            note: None,
            version: None,
            ..entry.clone()
        };
        let Some(Increment { segments, sha256, .. }) = self.increment else {
            writer.append_spool(entry, self.spool).await?;
            return append_list(writer, list, self.list, self.chunks).await;
        };
        let sha256 = Digest(sha256.finalize().into());
        if let Some(parent) = &self.base.parent
            && let Some(old) = parent.find(&entry.path)?
            && (old.sha256, old.size) == (Some(sha256), self.length)
        {
            refer(writer, old, entry).await?;
            if let Some(old) = parent.find(&list.path)? {
                refer(writer, old, list).await?;
            }
            return Ok(());
        }
        writer.append_parts(entry, self.spool, segments, sha256).await?;
        append_list(writer, list, self.list, self.chunks).await
    }
}

/// Nothing is gained by the list of a single chunk.
async fn append_list(
    writer: &mut Writer,
    entry: NewEntry,
    list: Spool,
    chunks: u64,
) -> Result<(), RunError> {
    if chunks > 1 {
        writer.append_spool(entry, list).await?;
    }
    Ok(())
}
