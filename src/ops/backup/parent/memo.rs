//! What the next increment needs of an encrypted archive, kept sealed in the catalog: who makes backups need not be
//! able to open them.
//!
//! A memo is one stream, cut into parts: each record is its length (4 bytes, little-endian) and JSON, first of
//! [`Head`], then of every entry; the content of a list of chunks follows its entry. A length of 0 and the SHA-256 of
//! everything before end it.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use archive::{Archive, Digest, EntryRecord, ManifestInfo};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::lists::{KeptLists, Lists};
use super::{CHUNKS, Index, NewIndex, Parent, unusable};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{Opened, OwnKey};
use crate::jobs::JobContext;
use crate::ops::backup::run::RunError;
use crate::storage::Storage;

/// Bytes of a part before it is compressed.
const PART: usize = 1 << 20;
/// No entry's record is longer: a manifest's line is not, nor its first one.
const LONGEST: usize = 16 << 20;
/// Of so many archives of a chain, the newest, memos are kept.
const LINKS: usize = 5;

#[derive(Serialize, Deserialize)]
struct Head {
    info: ManifestInfo,
    /// Of the archive in clear.
    size: u64,
    manifest: Digest,
}

/// A memo as it was kept.
pub struct Memo {
    pub info: ManifestInfo,
    pub size: u64,
    pub manifest: Digest,
    pub(super) index: Index,
    pub(super) lists: Lists,
}

/// Keeps the memo of an archive that was just stored, if it was encrypted. `storage`: as it was written there. `own`: what
/// opens it, when it was. `parent`: what it adds to. That it cannot be kept is a warning; that an older one cannot be
/// removed is an error.
pub async fn keep_or_warn(
    app: &App,
    ctx: &JobContext,
    record: &ArchiveRecord,
    storage: &Storage,
    own: Option<&OwnKey>,
    parent: Option<&Parent>,
) -> Result<(), RunError> {
    let Some(own) = own else { return Ok(()) };
    // Of an attempt before this one.
    forget(app, record.id).await?;
    let keep = async {
        let opened = Opened::own(Arc::new(storage.open(&record.name).await?), own).await?;
        let archive = Archive::open(opened.clear()).await?;
        Memo::keep(app, record.id, &archive, parent).await
    };
    if let Err(error) = keep.await {
        ctx.warn(format!("what the next incremental backup needs could not be kept: {error}"));
    }
    Ok(())
}

async fn forget(app: &App, archive: Uuid) -> Result<(), RunError> {
    let forgotten = app.catalog.memos().forget(archive).await;
    forgotten.map_err(|error| RunError::Internal(error.to_string()))
}

impl Memo {
    /// Writes it down, in place of another. `parent`: what the archive adds to, where that knows more than `archive`.
    pub async fn keep(
        app: &App,
        id: Uuid,
        archive: &Archive,
        parent: Option<&Parent>,
    ) -> Result<(), RunError> {
        forget(app, id).await?;
        let kept = Self::write(app, id, archive, parent).await;
        if kept.is_err() {
            forget(app, id).await?;
        }
        let links = archive.links().iter().skip(LINKS - 1);
        for older in links.filter_map(|link| link.id.parse().ok()) {
            forget(app, older).await?;
        }
        kept
    }

    async fn write(
        app: &App,
        id: Uuid,
        archive: &Archive,
        parent: Option<&Parent>,
    ) -> Result<(), RunError> {
        let (Some(info), Some(manifest)) = (archive.info(), archive.manifest_digest()) else {
            return Err(RunError::Failed("the archive has no manifest".to_owned()));
        };
        let mut parts =
            Parts { app, id, number: 0, open: Vec::with_capacity(PART), sha256: Sha256::new() };
        let head = Head { info: info.clone(), size: archive.size(), manifest };
        parts.record(&head).await?;
        let mut entries = std::pin::pin!(archive.entries());
        while let Some(entry) = entries.try_next().await? {
            parts.record(&entry).await?;
            if !entry.path.starts_with(CHUNKS) {
                continue;
            }
            let mut content = content(archive, parent, &entry)?;
            while let Some(piece) = content.try_next().await? {
                parts.write(&piece).await?;
            }
        }
        parts.end().await
    }

    /// The memo of an archive; None: there is none, or it is of another archive.
    pub async fn read(app: &App, record: &ArchiveRecord) -> Result<Option<Self>, RunError> {
        let temp_dir = &app.config.backup.temp_dir;
        let mut parts =
            Kept { app, id: record.id, number: 0, part: Vec::new(), at: 0, sha256: Sha256::new() };
        if !parts.next().await? {
            return Ok(None);
        }
        let Some(Head { info, size, manifest }) = parts.record().await? else {
            return Err(wrong());
        };
        let started = info.started_on.parse::<Timestamp>().map_err(|_| wrong())?;
        if info.id != record.id.to_string()
            || started.as_millisecond() != record.created_on.as_millisecond()
        {
            return Ok(None);
        }
        let failed = |error| unusable(temp_dir, &error);
        let file = Arc::new(tempfile::tempfile_in(temp_dir).map_err(failed)?);
        let (mut index, mut places, mut end) = (NewIndex::new(temp_dir)?, HashMap::new(), 0);
        while let Some(entry) = parts.record::<EntryRecord>().await? {
            index.add(&entry).await?;
            if !entry.path.starts_with(CHUNKS) {
                continue;
            }
            let (start, mut left) = (end, entry.size);
            while left > 0 {
                let piece = parts.take(left.min(PART as u64) as usize).await?;
                file.write_all_at(&piece, end).map_err(failed)?;
                left -= piece.len() as u64;
                end += piece.len() as u64;
            }
            places.insert(entry.path, start);
        }
        let lists = Lists::Kept(KeptLists { file, places });
        Ok(Some(Self { info, size, manifest, index: index.finish().await?, lists }))
    }
}

/// The content of a list, which an increment may have left where it was.
fn content(
    archive: &Archive,
    parent: Option<&Parent>,
    list: &EntryRecord,
) -> Result<BoxStream<'static, Result<Bytes, RunError>>, RunError> {
    let own = list.segments.iter().all(|segment| segment.archive == 0);
    if let (false, Some(parent)) = (own, parent)
        && let Some(old) = parent.find(&list.path)?
        && (old.size, old.sha256) == (list.size, list.sha256)
    {
        return Ok(parent.lists.read(&old));
    }
    Ok(Lists::Archive(archive.clone()).read(list))
}

/// A memo being written.
struct Parts<'a> {
    app: &'a App,
    id: Uuid,
    number: u32,
    open: Vec<u8>,
    /// Of all parts that are written.
    sha256: Sha256,
}

impl Parts<'_> {
    async fn record(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let record =
            serde_json::to_vec(record).map_err(|error| RunError::Internal(error.to_string()))?;
        self.write(&(record.len() as u32).to_le_bytes()).await?;
        self.write(&record).await
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), RunError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PART - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = later;
            if self.open.len() == PART {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), RunError> {
        self.write(&[0; 4]).await?;
        let digest = self.sha256.clone().chain_update(&self.open).finalize();
        self.write(&digest).await?;
        if self.open.is_empty() { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<(), RunError> {
        self.sha256.update(&self.open);
        let packed = pack(&self.open)?;
        self.open.clear();
        let sealed = self.app.seal_at(&place(self.id, self.number), packed).map_err(internal)?;
        let memos = self.app.catalog.memos();
        memos.add(self.id, self.number, sealed).await.map_err(internal)?;
        self.number += 1;
        Ok(())
    }
}

/// A memo being read.
struct Kept<'a> {
    app: &'a App,
    id: Uuid,
    /// Of the next part.
    number: u32,
    part: Vec<u8>,
    at: usize,
    /// Of everything that was taken.
    sha256: Sha256,
}

impl Kept<'_> {
    /// Takes up the next part; false: there is none.
    async fn next(&mut self) -> Result<bool, RunError> {
        let part = self.app.catalog.memos().part(self.id, self.number).await.map_err(internal)?;
        let Some(sealed) = part else { return Ok(false) };
        let packed = self.app.unseal_at(&place(self.id, self.number), &sealed);
        self.part = unpack(&packed.map_err(|error| RunError::Failed(error.to_string()))?)?;
        (self.at, self.number) = (0, self.number + 1);
        Ok(true)
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, RunError> {
        let mut taken = Vec::with_capacity(length);
        while taken.len() < length {
            if self.at == self.part.len() && !self.next().await? {
                return Err(wrong());
            }
            let end = self.part.len().min(self.at + length - taken.len());
            taken.extend_from_slice(&self.part[self.at..end]);
            self.at = end;
        }
        self.sha256.update(&taken);
        Ok(taken)
    }

    /// None: everything was read, and is what was written.
    async fn record<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, RunError> {
        let length = self.take(4).await?.try_into().map_or(0, u32::from_le_bytes) as usize;
        if length == 0 {
            let digest = self.sha256.clone().finalize();
            return if self.take(32).await? == digest[..] { Ok(None) } else { Err(wrong()) };
        }
        if length > LONGEST {
            return Err(wrong());
        }
        serde_json::from_slice(&self.take(length).await?).map(Some).map_err(|_| wrong())
    }
}

/// What a part is sealed for.
fn place(archive: Uuid, part: u32) -> String {
    format!("memo {archive} {part}")
}

/// Compresses a part, after its length.
fn pack(part: &[u8]) -> Result<Vec<u8>, RunError> {
    let mut compressor = Compressor::new(CompressionLvl::fastest());
    let mut packed = vec![0; 4 + compressor.deflate_compress_bound(part.len())];
    packed[..4].copy_from_slice(&(part.len() as u32).to_le_bytes());
    let length = compressor.deflate_compress(part, &mut packed[4..]).map_err(internal)?;
    packed.truncate(4 + length);
    Ok(packed)
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, RunError> {
    let (length, packed) = packed.split_first_chunk().ok_or_else(wrong)?;
    let mut part = vec![0; (u32::from_le_bytes(*length) as usize).min(PART)];
    let length = Decompressor::new().deflate_decompress(packed, &mut part).map_err(|_| wrong())?;
    part.truncate(length);
    Ok(part)
}

fn wrong() -> RunError {
    RunError::Failed("it is not what was written".to_owned())
}

fn internal(error: impl std::fmt::Display) -> RunError {
    RunError::Internal(error.to_string())
}
