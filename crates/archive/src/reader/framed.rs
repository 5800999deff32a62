//! Reading archives of ours: any part alone, from the frames that cover it.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};

use crate::inflate::Inflater;
use crate::manifest_reader::{self, Item};
use crate::pull::{Pull, produce, read_exact};
use crate::tail::Tail;
use crate::{Digest, EntryRecord, Error, FrameRecord, ManifestInfo, Piece, ReadAt, Result};

/// A manifest of up to this many compressed bytes is fetched once and kept.
const KEEP: u64 = 4 << 20;
/// Frames fetched and unpacked ahead.
const AHEAD: usize = 3;
/// Unpacked frames kept, for the neighbours of what was read.
const RECENT: usize = 4;
/// Content over this is hashed on another thread.
const AT_ONCE: usize = 128 << 10;

pub(crate) struct Framed {
    source: Arc<dyn ReadAt>,
    pub(crate) tail: Tail,
    pub(crate) info: ManifestInfo,
    pub(crate) frames: Vec<FrameRecord>,
    /// The manifest's compressed bytes, if they are few.
    manifest: Option<Bytes>,
    recent: Mutex<VecDeque<(usize, Bytes)>>,
}

impl Framed {
    pub(crate) async fn open(source: Arc<dyn ReadAt>, tail: Tail) -> Result<Self> {
        let range = tail.offset..tail.offset + tail.length;
        let manifest =
            if tail.length <= KEEP { Some(read_exact(&*source, range).await?) } else { None };
        if manifest.as_ref().is_some_and(|bytes| Digest::of(bytes) != tail.sha256) {
            return Err(Error::damaged("the manifest's digest is not what the tail says"));
        }
        let mut framed = Self {
            source,
            tail,
            info: ManifestInfo::default(),
            frames: Vec::new(),
            manifest,
            recent: Mutex::default(),
        };
        let (pull, tail) = (framed.pull(), framed.tail.clone());
        let read = move || {
            let (mut info, mut frames) = (ManifestInfo::default(), Vec::new());
            manifest_reader::read(pull, &tail, |item| {
                match item {
                    Item::Info(it) => info = *it,
                    Item::Frame(frame) => frames.push(frame),
                    Item::EndOfFrames | Item::Entry(_) => return Ok(ControlFlow::Break(())),
                }
                Ok(ControlFlow::Continue(()))
            })?;
            frames.shrink_to_fit();
            Ok::<_, Error>((info, frames))
        };
        (framed.info, framed.frames) =
            tokio::task::spawn_blocking(read).await.map_err(|_| Error::Closed)??;
        Ok(framed)
    }

    /// The manifest, to be read.
    pub(crate) fn pull(&self) -> Pull {
        match &self.manifest {
            Some(bytes) => Pull::new(Arc::new(bytes.clone()), 0..bytes.len() as u64, true),
            None => Pull::new(
                Arc::clone(&self.source),
                self.tail.offset..self.tail.offset + self.tail.length,
                true,
            ),
        }
    }

    pub(crate) fn entries(
        self: &Arc<Self>,
    ) -> impl Stream<Item = Result<EntryRecord>> + Send + 'static + use<> {
        let framed = Arc::clone(self);
        let batches = produce(4, move || {
            let pull = framed.pull();
            Ok(Box::new(move |outlet: &crate::pull::Outlet<Vec<EntryRecord>>| {
                let mut batch = Vec::new();
                manifest_reader::read(pull, &framed.tail, |item| {
                    if let Item::Entry(entry) = item {
                        batch.push(entry);
                        if batch.len() == 64 {
                            outlet.put(std::mem::take(&mut batch))?;
                        }
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
                outlet.put(batch)
            }) as crate::pull::Producer<_>)
        });
        batches
            .map_ok(|batch: Vec<EntryRecord>| stream::iter(batch.into_iter().map(Ok)))
            .try_flatten()
    }

    /// The frames that cover this part of the tar stream.
    fn covering(&self, range: &Range<u64>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let start = self
            .frames
            .partition_point(|frame| frame.tar_offset + u64::from(frame.tar_length) <= range.start);
        let end = self.frames.partition_point(|frame| frame.tar_offset < range.end);
        start..end.max(start)
    }

    /// A frame's content, checked.
    async fn frame(self: Arc<Self>, index: usize) -> Result<Bytes> {
        if let Some(bytes) = self.recent(index) {
            return Ok(bytes);
        }
        let Some(record) = self.frames.get(index).cloned() else {
            return Err(Error::damaged("a frame is missing"));
        };
        let compressed =
            read_exact(&*self.source, record.offset..record.offset + u64::from(record.length))
                .await?;
        let inflated = tokio::task::spawn_blocking(move || inflate(&record, &compressed));
        let bytes = Bytes::from(inflated.await.map_err(|_| Error::Closed)??);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((index, bytes.clone()));
        Ok(bytes)
    }

    fn recent(&self, index: usize) -> Option<Bytes> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(kept, _)| *kept == index).map(|(_, bytes)| bytes.clone())
    }

    /// This part of the tar stream, in pieces.
    fn part(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let frames = stream::iter(self.covering(&range));
        let framed = Arc::clone(&self);
        let frames = frames.map(move |index| {
            let framed = Arc::clone(&framed);
            async move {
                let start = framed.frames[index].tar_offset;
                framed.frame(index).await.map(|bytes| (start, bytes))
            }
        });
        frames.buffered(AHEAD).map_ok(move |(start, bytes)| {
            let from = range.start.saturating_sub(start) as usize;
            let to = (range.end - start).min(bytes.len() as u64) as usize;
            bytes.slice(from..to)
        })
    }
}

/// Checks a frame's compressed bytes and unpacks them.
pub(crate) fn inflate(record: &FrameRecord, compressed: &[u8]) -> Result<Vec<u8>> {
    if Digest::of(compressed) != record.sha256 {
        return Err(Error::damaged(format!(
            "the frame at {} has another digest than the manifest says",
            record.offset
        )));
    }
    Inflater::new()?.frame(compressed, record.tar_length as usize)
}

pub(crate) fn read(
    framed: Arc<Framed>,
    entry: EntryRecord,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let end = entry.tar_offset.checked_add(range.end);
    if end.is_none_or(|end| end > framed.tail.tar_offset) {
        let error =
            Error::damaged(format!("the entry {:?} does not lie in the archive", entry.path));
        return stream::once(async { Err(error) }).left_stream();
    }
    let digest = (range == (0..entry.size)).then(|| Arc::new(Mutex::new(Sha256::new())));
    let parts = framed.part(entry.tar_offset + range.start..entry.tar_offset + range.end).boxed();
    let state = Some((parts, digest, entry));
    let checked = stream::try_unfold(state, |state| async {
        let Some((mut parts, digest, entry)) = state else { return Ok(None) };
        match parts.try_next().await? {
            Some(bytes) => {
                if let Some(digest) = &digest {
                    update(digest, &bytes).await?;
                }
                Ok(Some((bytes, Some((parts, digest, entry)))))
            }
            None => match (digest, entry.sha256) {
                (Some(digest), Some(expected)) if finish(&digest) != expected => {
                    Err(Error::damaged(format!(
                        "the content of {:?} has another digest than the manifest says",
                        entry.path
                    )))
                }
                _ => Ok(None),
            },
        }
    });
    checked.right_stream()
}

async fn update(digest: &Arc<Mutex<Sha256>>, bytes: &Bytes) -> Result<()> {
    let (digest, bytes) = (Arc::clone(digest), bytes.clone());
    let length = bytes.len();
    let work = move || digest.lock().unwrap_or_else(PoisonError::into_inner).update(&bytes);
    if length <= AT_ONCE {
        work();
        return Ok(());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)
}

fn finish(digest: &Mutex<Sha256>) -> Digest {
    Digest(digest.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize().into())
}

/// Every entry with its content.
pub(crate) fn contents(framed: Arc<Framed>) -> impl Stream<Item = Result<Piece>> + Send + 'static {
    framed
        .entries()
        .map_ok(move |entry| {
            let content = read(Arc::clone(&framed), entry.clone(), 0..entry.size);
            let begin = stream::once(async { Ok(Piece::Entry(entry)) });
            let end = stream::once(async { Ok(Piece::End) });
            begin.chain(content.map_ok(Piece::Data)).chain(end).boxed()
        })
        .try_flatten()
}
