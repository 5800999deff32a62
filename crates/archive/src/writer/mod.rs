//! Writing one archive.

mod content;
mod finish;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use content::ContentDigest;
use stream::TarStream;

use crate::emit::push_line;
use crate::manifest::{MAX_NOTE, MAX_VERSION};
use crate::spool::Spool;
use crate::{
    Compression, Digest, EntryKind, EntryRecord, Error, LIST, MANIFEST, ManifestInfo, NewEntry,
    PARTS, Ratio, Result, Segment, Spools, append_segments, clean_path, header, list, padding,
};

#[derive(Debug, Clone)]
pub struct WriterOptions {
    pub compression: Compression,
    /// Compressing threads, at least 1. Two more hash, and are idle most of the time.
    pub workers: usize,
    /// Bytes: the budget of everything that the writer and its spools buffer. What was handed to the sink does not
    /// count. The least is 1 MiB and 256 KiB a worker; less is taken as that.
    pub memory: usize,
    /// Where spools put what their share of the memory does not hold. Files there have no name and vanish with the
    /// process.
    pub temp_dir: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Entries in the manifest, which does not list itself.
    pub entries: u64,
    /// Frames in the manifest, which does not list its own.
    pub frames: u64,
    /// Bytes of the tar stream.
    pub tar_bytes: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Of the whole archive.
    pub sha256: [u8; 32],
}

/// Writes one archive in order: entries of known size with [`begin`](Self::begin), [`write`](Self::write) and
/// [`end`](Self::end), others through a [`Spool`].
///
/// Only what [`finish`](Self::finish) returned `Ok` for is an archive: the sink's end alone says nothing. After an error
/// other than [`Error::TooLong`], [`Error::TooShort`], [`Error::BadPath`], [`Error::EntryOpen`] and [`Error::NoEntry`],
/// and after a call whose future was dropped, every call errors. Dropping the writer stops its threads and empties its
/// spools.
pub struct Writer {
    stream: TarStream,
    entry: Option<Open>,
    /// [`EntryRecord`]s as lines of the manifest.
    lines: Spool,
    /// Of an increment: its whole content.
    list: Option<Spool>,
    entries: u64,
    /// The latest of the entries' times; the manifest gets it too.
    latest: i64,
    busy: bool,
}

/// The entry being written.
struct Open {
    record: EntryRecord,
    written: u64,
    /// None until there is content: what it is decides which frame it joins.
    header: Option<Vec<u8>>,
    digest: ContentDigest,
}

impl Writer {
    /// The archive's bytes are sent to `sink` in order, in chunks of up to about 4 MiB; a full channel holds the writer
    /// back. When the receiver is dropped every call errors with [`Error::SinkClosed`]. Needs a Tokio runtime from the
    /// first call on.
    pub fn new(options: WriterOptions, sink: mpsc::Sender<Bytes>) -> Self {
        let stream = TarStream::new(options, sink);
        let lines = Spool::new(stream.shared(), false);
        Self { stream, entry: None, lines, list: None, entries: 0, latest: 0, busy: false }
    }

    /// A writer of an increment: its whole content is what is written and what is [referred to](Self::refer).
    /// `info.links` at its [`finish`](Self::finish) must name the archives of all segments.
    pub fn increment(options: WriterOptions, sink: mpsc::Sender<Bytes>) -> Self {
        let writer = Self::new(options, sink);
        Self { list: Some(Spool::new(writer.stream.shared(), true)), ..writer }
    }

    /// Adds to an increment an entry whose content lies elsewhere, as its segments say. Errors with
    /// [`Error::NoEntry`] when this is no increment.
    pub async fn refer(&mut self, record: &EntryRecord) -> Result<()> {
        self.ready()?;
        self.enter()?;
        let Some(list) = &mut self.list else { return self.leave(Err(Error::NoEntry)) };
        let record = EntryRecord { header_offset: 0, tar_offset: 0, ..record.clone() };
        list::push(list, &record).await?;
        self.latest = self.latest.max(record.mtime);
        self.leave(Ok(()))
    }

    /// Adds to an increment an entry that is partly new: `new` holds what is, and `segments` say for all of it where
    /// it lies, those of the archive 0 by their offset in `new`.
    pub async fn append_parts(
        &mut self,
        entry: NewEntry,
        new: Spool,
        mut segments: Vec<Segment>,
        sha256: Digest,
    ) -> Result<()> {
        let path = clean_path(&entry.path)?;
        let mut start = 0;
        if !new.is_empty() {
            let part = NewEntry {
                path: format!("{PARTS}{path}"),
                kind: EntryKind::Info,
                rows: None,
                note: None,
                version: None,
                ..entry
            };
            start = self.append_spool(part, new).await?.tar_offset;
        }
        for own in segments.iter_mut().filter(|segment| segment.archive == 0) {
            own.offset += start;
        }
        let record = EntryRecord {
            path,
            kind: entry.kind,
            size: segments.iter().map(|segment| segment.length).sum(),
            mtime: entry.mtime.max(0),
            header_offset: 0,
            tar_offset: 0,
            sha256: Some(sha256),
            rows: entry.rows,
            note: entry.note.as_deref().map(short_note),
            version: entry.version,
            segments,
        };
        self.refer(&record).await
    }

    /// Starts an entry of `size` bytes.
    pub async fn begin(&mut self, entry: NewEntry, size: u64) -> Result<()> {
        self.ready()?;
        let digest = ContentDigest::new(size);
        self.open(entry, size, digest)
    }

    /// Adds to the entry. What goes beyond its size is not written, and is an error ([`Error::TooLong`]) after which
    /// the entry can be ended.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.enter()?;
        let entry = self.entry.as_mut().ok_or(Error::NoEntry);
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return self.leave(Err(error)),
        };
        let left = entry.record.size - entry.written;
        let fits = data.slice(..data.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        if !fits.is_empty() {
            self.stream.content(entry.header.take(), &fits).await?;
        }
        entry.written += fits.len() as u64;
        let too_long = fits.len() < data.len();
        let error = Error::TooLong { path: entry.record.path.clone(), size: entry.record.size };
        entry.digest.update(fits, &self.stream).await?;
        self.leave(if too_long { Err(error) } else { Ok(()) })
    }

    /// Ends the entry. Errors with [`Error::TooShort`] when content is missing; then the entry stays open.
    pub async fn end(&mut self) -> Result<EntryRecord> {
        self.enter()?;
        match &self.entry {
            None => return self.leave(Err(Error::NoEntry)),
            Some(open) if open.written < open.record.size => {
                let (path, size) = (open.record.path.clone(), open.record.size);
                let written = open.written;
                return self.leave(Err(Error::TooShort { path, size, written }));
            }
            Some(_) => {}
        }
        let record = self.close().await?;
        self.leave(Ok(record))
    }

    /// Fills the entry with zeros up to its size and ends it; `note` says why, in the manifest.
    pub async fn pad(&mut self, note: &str) -> Result<EntryRecord> {
        static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
        loop {
            let entry = self.entry.as_mut().ok_or(Error::NoEntry)?;
            let left = entry.record.size - entry.written;
            if left == 0 {
                entry.record.note = Some(short_note(note));
                return self.end().await;
            }
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(Bytes::from_static(&ZEROS[..now])).await?;
        }
    }

    /// Writes a whole small entry.
    pub async fn append(&mut self, entry: NewEntry, content: &[u8]) -> Result<EntryRecord> {
        self.begin(entry, content.len() as u64).await?;
        self.write(Bytes::copy_from_slice(content)).await?;
        self.end().await
    }

    /// A spool, for content whose size is not known.
    pub fn spool(&self) -> Spool {
        self.spools().spool()
    }

    /// Makes spools in other tasks.
    pub fn spools(&self) -> Spools {
        Spools(self.stream.shared())
    }

    /// How much smaller content becomes, while it is written.
    pub fn ratio(&self) -> Arc<Ratio> {
        Arc::clone(&self.stream.shared().ratio)
    }

    /// Writes an entry whose content is in a spool of this writer.
    pub async fn append_spool(&mut self, entry: NewEntry, spool: Spool) -> Result<EntryRecord> {
        self.ready()?;
        let size = spool.len();
        self.open(entry, size, ContentDigest::new(0))?;
        self.enter()?;
        let spooled = spool.finish().await?;
        let (mut digest, frames) = (spooled.digest.unwrap_or_default(), !spooled.store.is_empty());
        let Some(open) = self.entry.as_mut() else { return Err(Error::NoEntry) };
        if frames {
            self.stream.embed(open.header.take(), spooled.store).await?;
        }
        let rest = Bytes::from(spooled.rest);
        self.stream.content(open.header.take(), &rest).await?;
        open.written = size;
        let permit = spooled.rest_permit;
        open.digest = ContentDigest::Done(
            self.stream
                .hash(move || {
                    use sha2::Digest as _;
                    digest.update(&rest);
                    drop((rest, permit));
                    Digest(digest.finalize().into())
                })
                .await?,
        );
        let record = self.close().await?;
        self.leave(Ok(record))
    }

    /// Compressed bytes sent to the sink so far.
    pub fn position(&self) -> u64 {
        self.stream.position()
    }

    /// Writes the manifest, the end of the tar stream and the tail. `info.format` is set here. Returns when the last
    /// byte is in the sink.
    pub async fn finish(mut self, info: ManifestInfo) -> Result<Summary> {
        self.ready()?;
        let list = self.list.take();
        let increment = list.is_some();
        if let Some(list) = list {
            let (path, kind) = (LIST.to_owned(), EntryKind::Info);
            let (rows, note, version) = (None, None, None);
            let entry = NewEntry { path, kind, mtime: self.latest, rows, note, version };
            self.append_spool(entry, list).await?;
        }
        self.busy = true;
        let written = finish::Written {
            lines: self.lines,
            increment,
            entries: self.entries,
            latest: self.latest,
        };
        finish::finish(self.stream, written, info).await
    }

    fn open(&mut self, entry: NewEntry, size: u64, digest: ContentDigest) -> Result<()> {
        let path = clean_path(&entry.path)?;
        if path == MANIFEST {
            return Err(Error::BadPath { path, why: "it is the manifest's" });
        }
        let header = header::build(&path, entry.kind, size, entry.mtime)?;
        let header_offset = self.stream.tar_offset();
        let tar_offset = header_offset + header.len() as u64;
        // Far beyond any storage; so that positions can be added without a second thought.
        if tar_offset.checked_add(size).is_none_or(|end| end > i64::MAX as u64 / 4) {
            return Err(Error::TooLarge("an entry"));
        }
        let record = EntryRecord {
            path,
            kind: entry.kind,
            size,
            mtime: entry.mtime.max(0),
            header_offset,
            tar_offset,
            sha256: None,
            rows: entry.rows,
            note: entry.note.as_deref().map(short_note),
            version: entry.version.filter(|version| version.len() <= MAX_VERSION),
            segments: Vec::new(),
        };
        self.entry = Some(Open { record, written: 0, header: Some(header), digest });
        Ok(())
    }

    async fn close(&mut self) -> Result<EntryRecord> {
        let Some(open) = self.entry.take() else { return Err(Error::NoEntry) };
        self.stream.end_content(open.header, padding(open.record.size)).await?;
        let mut record = open.record;
        record.sha256 = Some(open.digest.finish(&self.stream).await?);
        push_line(&mut self.lines, &record).await?;
        if let Some(list) = &mut self.list
            && !record.path.starts_with(PARTS)
        {
            let mut segments = Vec::new();
            append_segments(&mut segments, record.located());
            let (header_offset, tar_offset) = (0, 0);
            let logical = EntryRecord { header_offset, tar_offset, segments, ..record.clone() };
            list::push(list, &logical).await?;
        }
        self.entries += 1;
        self.latest = self.latest.max(record.mtime);
        Ok(record)
    }

    /// Whether a new entry may begin.
    fn ready(&self) -> Result<()> {
        self.stream.check()?;
        match (&self.entry, self.busy) {
            (_, true) => Err(Error::Interrupted),
            (Some(open), _) => Err(Error::EntryOpen(open.record.path.clone())),
            _ => Ok(()),
        }
    }

    /// Notes that a call has begun: if its future is dropped, or it fails, the note stays.
    fn enter(&mut self) -> Result<()> {
        self.stream.check()?;
        if std::mem::replace(&mut self.busy, true) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The call ended, and the archive is in order.
    fn leave<T>(&mut self, result: Result<T>) -> Result<T> {
        self.busy = false;
        result
    }
}

/// Cut so that a manifest's line stays short.
fn short_note(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}
