//! Reading an increment as the whole that it stands for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::frames::Framed;
use super::{BoxStream, find_tail, framed};
use crate::segments::{cut_segments, starts};
use crate::{EntryRecord, Error, Link, Piece, ReadAt, Result, Segment, list};

/// Parts up to this are read ahead whole.
const SMALL: u64 = 1 << 20;
/// How many parts are read at once.
const AHEAD: usize = 3;

/// The archives of one increment.
pub(crate) struct Chain {
    own: Arc<Framed>,
    /// The entry that lists everything.
    list: EntryRecord,
    links: Vec<Linked>,
}

/// The bytes of a link, or why they cannot be had.
pub type LinkSource = std::result::Result<Arc<dyn ReadAt>, String>;

struct Linked {
    link: Link,
    source: LinkSource,
    /// Opened when it is first needed.
    framed: OnceCell<Arc<Framed>>,
}

impl Linked {
    fn fail(&self, why: impl std::fmt::Display) -> Error {
        let (id, name) = (self.link.id.clone(), self.link.shown().to_owned());
        Error::Link { id, name, why: why.to_string() }
    }

    /// Opens it, and sees whether it is the very archive that the increment was made upon.
    async fn open(&self) -> Result<Arc<Framed>> {
        let open = async {
            let source = self.source.as_ref().map_err(|why| self.fail(why))?;
            if source.len() != self.link.size {
                let (is, was) = (source.len(), self.link.size);
                return Err(self.fail(format!("has {is} bytes where it had {was}")));
            }
            let damaged = |error: Error| match error {
                Error::Io(_) => self.fail(format!("cannot be read: {error}")),
                error => self.fail(format!("cannot be used: {error}")),
            };
            let tail = find_tail(&**source).await.map_err(damaged)?;
            let Some(tail) = tail.filter(|tail| tail.sha256 == self.link.manifest) else {
                return Err(self.fail("is not the one that it was made upon"));
            };
            Ok(Arc::new(Framed::open(Arc::clone(source), tail).await.map_err(damaged)?))
        };
        self.framed.get_or_try_init(|| open).await.cloned()
    }
}

impl Chain {
    /// `sources`: one for each link.
    pub(crate) fn new(own: Arc<Framed>, list: EntryRecord, mut sources: Vec<LinkSource>) -> Self {
        sources.resize_with(own.info.links.len(), || Err("was not looked for".to_owned()));
        let linked = |(link, source): (&Link, LinkSource)| Linked {
            link: link.clone(),
            source,
            framed: OnceCell::new(),
        };
        let links = own.info.links.iter().zip(sources).map(linked).collect();
        Self { own, list, links }
    }

    pub(crate) fn with(&self, sources: Vec<LinkSource>) -> Self {
        Self::new(Arc::clone(&self.own), self.list.clone(), sources)
    }

    /// Opens every link. Errors with the first that is not there or not the right one.
    pub(crate) async fn check(&self) -> Result<()> {
        let opening = self.links.iter().map(Linked::open);
        stream::iter(opening).buffered(4).try_for_each(|_| async { Ok(()) }).await
    }

    /// Each link's bytes, or why they cannot be had.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&Link, &LinkSource)> {
        self.links.iter().map(|linked| (&linked.link, &linked.source))
    }

    /// How long the tar stream of an archive of the chain is, up to its manifest.
    pub(crate) async fn length(&self, archive: u32) -> Result<u64> {
        Ok(self.framed(archive).await?.tail.tar_offset)
    }

    async fn framed(&self, archive: u32) -> Result<Arc<Framed>> {
        match (archive as usize).checked_sub(1).map(|index| self.links.get(index)) {
            None => Ok(Arc::clone(&self.own)),
            Some(Some(linked)) => linked.open().await,
            Some(None) => Err(Error::hostile("it names an archive that it does not list")),
        }
    }

    pub(crate) fn entries(
        &self,
    ) -> impl Stream<Item = Result<EntryRecord>> + Send + 'static + use<> {
        list::read(&self.own, self.list.clone(), self.links.len())
    }

    pub(crate) fn read(
        self: &Arc<Self>,
        entry: EntryRecord,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        let chain = Arc::clone(self);
        let segments = cut_segments(&entry.segments, &starts(&entry.segments), range.clone());
        let parts = stream::iter(segments)
            .map(move |segment| Arc::clone(&chain).part(segment))
            .buffered(AHEAD)
            .try_flatten();
        framed::checked(parts.boxed(), entry, range)
    }

    async fn part(self: Arc<Self>, segment: Segment) -> Result<BoxStream<Bytes>> {
        let framed = self.framed(segment.archive).await?;
        let end = segment.offset.saturating_add(segment.length);
        if end > framed.tail.tar_offset {
            return Err(Error::damaged("an entry lies behind the end of the archive that has it"));
        }
        let part = framed.part(segment.offset..end);
        if segment.length > SMALL {
            return Ok(part.boxed());
        }
        let pieces: Vec<Bytes> = part.try_collect().await?;
        Ok(stream::iter(pieces.into_iter().map(Ok)).boxed())
    }

    /// Every entry with its content.
    pub(crate) fn contents(
        self: &Arc<Self>,
    ) -> impl Stream<Item = Result<Piece>> + Send + 'static + use<> {
        let chain = Arc::clone(self);
        self.entries()
            .map_ok(move |entry| {
                let size = entry.size;
                let content = chain.read(entry.clone(), 0..size).map_ok(Piece::Data);
                stream::iter([Ok(Piece::Entry(entry))])
                    .chain(content)
                    .chain(stream::iter([Ok(Piece::End)]))
            })
            .try_flatten()
    }
}
