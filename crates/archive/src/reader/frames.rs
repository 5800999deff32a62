//! The frames of an archive of ours, found, fetched and unpacked.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::inflate::Inflater;
use crate::manifest_reader::{self, Item};
use crate::pull::{Outlet, Producer, Pull, produce, read_exact};
use crate::tail::Tail;
use crate::{Digest, EntryRecord, Error, FrameRecord, MAX_FRAME, ManifestInfo, ReadAt, Result};

/// A manifest of up to this many compressed bytes is fetched once and kept.
const KEEP: u64 = 4 << 20;
/// Groups of frames fetched and unpacked ahead.
const AHEAD: usize = 2;
/// Unpacked frames kept, for the neighbours of what was read.
const RECENT: usize = 4;
/// The most compressed bytes that are fetched at once; a frame may be larger by itself.
const GROUP: u64 = 4 << 20;

/// An archive of ours whose manifest was opened.
pub(crate) struct Framed {
    source: Arc<dyn ReadAt>,
    pub(crate) tail: Tail,
    pub(crate) info: ManifestInfo,
    pub(crate) frames: Vec<FrameRecord>,
    /// The manifest's compressed bytes, if they are few.
    manifest: Option<Bytes>,
    recent: Mutex<VecDeque<(usize, Bytes)>>,
}

/// A frame that was fetched and looked at.
pub(crate) struct Fetched {
    pub(crate) compressed: Bytes,
    pub(crate) tar_offset: u64,
    pub(crate) tar_length: u64,
    pub(crate) content: Result<Bytes>,
}

impl Framed {
    pub(crate) async fn open(source: Arc<dyn ReadAt>, tail: Tail) -> Result<Self> {
        let range = tail.offset..tail.offset + tail.length;
        let manifest =
            if tail.length <= KEEP { Some(read_exact(&*source, range).await?) } else { None };
        if manifest.as_ref().is_some_and(|bytes| Digest::of(bytes) != tail.sha256) {
            return Err(Error::damaged("the manifest's digest is not what the tail says"));
        }
        let (info, frames, recent) = Default::default();
        let mut framed = Self { source, tail, info, frames, manifest, recent };
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
            let producer: Producer<Vec<EntryRecord>> =
                Box::new(move |outlet| list(pull, &framed.tail, outlet));
            Ok(producer)
        });
        batches
            .map_ok(|batch: Vec<EntryRecord>| stream::iter(batch.into_iter().map(Ok)))
            .try_flatten()
    }

    /// Fetches and unpacks frames, in order, `ahead` groups of neighbours at once. Errors only when reading fails.
    pub(crate) fn fetch(
        self: &Arc<Self>,
        frames: Range<usize>,
        ahead: usize,
    ) -> impl Stream<Item = Result<Vec<Fetched>>> + Send + 'static + use<> {
        let framed = Arc::clone(self);
        stream::iter(Groups { framed: Arc::clone(self), frames })
            .map(move |group| Arc::clone(&framed).fetch_group(group))
            .buffered(ahead)
    }

    async fn fetch_group(self: Arc<Self>, group: Range<usize>) -> Result<Vec<Fetched>> {
        let Some(frames) = self.frames.get(group).filter(|frames| !frames.is_empty()) else {
            return Ok(Vec::new());
        };
        let start = frames[0].offset;
        let end = frames.last().map_or(start, |last| last.offset + u64::from(last.length));
        let frames = frames.to_vec();
        let bytes = read_exact(&*self.source, start..end).await?;
        let work = move || {
            let fetched = frames.iter().map(|frame| {
                let from = (frame.offset - start) as usize;
                let compressed = bytes.slice(from..from + frame.length as usize);
                let content = unpack(frame, &compressed);
                let tar_length = u64::from(frame.tar_length);
                Fetched { compressed, tar_offset: frame.tar_offset, tar_length, content }
            });
            fetched.collect()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)
    }

    /// This part of the tar stream, in pieces that were checked.
    pub(crate) fn part(
        self: &Arc<Self>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        let covering = self.covering(&range);
        let framed = Arc::clone(self);
        // Neighbours are often read one after the other.
        let known = if covering.len() == 1 { self.recent(covering.start) } else { None };
        let fetched = match known {
            Some(content) => {
                let tar_offset = self.frames[covering.start].tar_offset;
                stream::iter([Ok(vec![(tar_offset, Ok(content))])]).left_stream()
            }
            None => {
                let mut index = covering.start;
                let fetched = self.fetch(covering, AHEAD).map_ok(move |group| {
                    let keep = |fetched: Fetched| {
                        framed.keep(index, &fetched.content);
                        index += 1;
                        (fetched.tar_offset, fetched.content)
                    };
                    group.into_iter().map(keep).collect()
                });
                fetched.right_stream()
            }
        };
        let cut = move |(start, content): (u64, Result<Bytes>)| {
            let content = content?;
            let from = range.start.saturating_sub(start).min(content.len() as u64);
            let to = (range.end - start).min(content.len() as u64);
            Ok(content.slice(from as usize..to as usize))
        };
        fetched.map_ok(move |group: Vec<_>| stream::iter(group.into_iter().map(cut))).try_flatten()
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

    fn recent(&self, index: usize) -> Option<Bytes> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(kept, _)| *kept == index).map(|(_, bytes)| bytes.clone())
    }

    fn keep(&self, index: usize, content: &Result<Bytes>) {
        let Ok(content) = content else { return };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((index, content.clone()));
    }
}

fn list(pull: Pull, tail: &Tail, outlet: &Outlet<Vec<EntryRecord>>) -> Result<()> {
    let mut batch = Vec::new();
    manifest_reader::read(pull, tail, |item| {
        if let Item::Entry(entry) = item {
            batch.push(entry);
            if batch.len() == 64 {
                outlet.put(std::mem::take(&mut batch))?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    outlet.put(batch)
}

/// Cuts a run of frames into groups that are fetched at once.
struct Groups {
    framed: Arc<Framed>,
    frames: Range<usize>,
}

impl Iterator for Groups {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let (mut compressed, mut unpacked) = (0, 0);
        let frames = self.framed.frames.get(self.frames.clone())?;
        let fits = |frame: &&FrameRecord| {
            compressed += u64::from(frame.length);
            unpacked += frame.tar_length as usize;
            compressed <= GROUP && unpacked <= 2 * MAX_FRAME
        };
        let count = frames.iter().take_while(fits_first(fits)).count();
        let group = self.frames.start..self.frames.start + count;
        self.frames.start = group.end;
        (!group.is_empty()).then_some(group)
    }
}

/// Lets the first one pass whatever it is.
fn fits_first<T>(mut fits: impl FnMut(&T) -> bool) -> impl FnMut(&T) -> bool {
    let mut first = true;
    move |item| fits(item) | std::mem::replace(&mut first, false)
}

/// Checks a frame's compressed bytes and unpacks them.
fn unpack(record: &FrameRecord, compressed: &[u8]) -> Result<Bytes> {
    let wrong = |text: &str| Err(Error::damaged(format!("the frame at {}: {text}", record.offset)));
    if Digest::of(compressed) != record.sha256 {
        return wrong("its digest is not what the manifest says");
    }
    match Inflater::new()?.frame(compressed, record.tar_length as usize) {
        Ok(content) => Ok(Bytes::from(content)),
        Err(Error::Damaged(text)) => wrong(&text),
        Err(error) => Err(error),
    }
}
