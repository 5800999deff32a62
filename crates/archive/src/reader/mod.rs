//! Opening an archive, listing it and reading from it.

mod chain;
mod framed;
mod frames;
mod streamed;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

pub(crate) use chain::Chain;
pub use chain::LinkSource;
pub(crate) use framed::read as read_physical;
pub(crate) use frames::Framed;
use streamed::walk;
pub(crate) use streamed::{drain, walk_blocking};

use crate::pull::read_exact;
use crate::tail::{self, Tail};
use crate::{Digest, EntryRecord, Error, LIST, Link, ManifestInfo, Piece, ReadAt, Result, header};

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Written by [`crate::Writer`]: any part can be read alone.
    Framed,
    /// A gzip-compressed tar file that something else wrote: read from its start each time.
    GzipTar,
    /// A tar file that is not compressed.
    PlainTar,
}

pub(crate) type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// An archive opened for reading. Cheap to clone; holds about 56 bytes for each frame, and the last frames read.
#[derive(Clone)]
pub struct Archive {
    source: Arc<dyn ReadAt>,
    framed: Option<Arc<Framed>>,
    /// Of increments.
    chain: Option<Arc<Chain>>,
    format: Format,
}

impl Archive {
    /// Reads the tail and the beginning of the manifest, or recognises an archive that something else wrote.
    /// Errors: [`Error::NotAnArchive`], [`Error::NewerFormat`], [`Error::Damaged`] and [`Error::Hostile`] for what its
    /// manifest already shows (only [`crate::verify`] reads everything), [`Error::Io`] from `source`.
    /// Everything of this type needs a Tokio runtime.
    ///
    /// An increment is shown as the whole that it stands for. What lies in other archives can be read once they were
    /// given to [`linked`](Self::linked); until then it is [`Error::Link`].
    pub async fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        match find_tail(&*source).await? {
            Some(tail) => {
                let framed = Arc::new(Framed::open(Arc::clone(&source), tail).await?);
                let chain = if framed.info.links.is_empty() {
                    None
                } else {
                    let list = find(framed.entries().boxed(), LIST, true).await?;
                    let list =
                        list.ok_or_else(|| Error::damaged("the increment lacks its list"))?;
                    Some(Arc::new(Chain::new(Arc::clone(&framed), list, Vec::new())))
                };
                Ok(Self { source, framed: Some(framed), chain, format: Format::Framed })
            }
            None => {
                let format = recognise(&*source).await?;
                Ok(Self { source, framed: None, chain: None, format })
            }
        }
    }

    /// The archives that this one needs, its parent first; none unless it is an increment.
    pub fn links(&self) -> &[Link] {
        self.info().map_or(&[], |info| &info.links)
    }

    /// The same archive with the bytes of those that it needs: one for each of [`links`](Self::links), in their order.
    /// Nothing of them is read yet.
    #[must_use]
    pub fn linked(mut self, sources: Vec<LinkSource>) -> Self {
        self.chain = self.chain.map(|chain| Arc::new(chain.with(sources)));
        self
    }

    /// Opens everything that this archive needs. Errors with [`Error::Link`] for the first archive that is not there,
    /// or not the one it was; whether all of its bytes are right, [`crate::verify_links`] finds out.
    pub async fn check_links(&self) -> Result<()> {
        match &self.chain {
            Some(chain) => chain.check().await,
            None => Ok(()),
        }
    }

    /// Bytes of the archive.
    pub fn size(&self) -> u64 {
        self.source.len()
    }

    /// Bytes of the tar stream; None in archives that others wrote.
    pub fn tar_bytes(&self) -> Option<u64> {
        self.framed.as_ref().map(|framed| framed.tail.tar_bytes)
    }

    /// The digest of the manifest, which stands for everything in the archive; None in archives that others wrote.
    pub fn manifest_digest(&self) -> Option<Digest> {
        self.framed.as_ref().map(|framed| framed.tail.sha256)
    }

    pub(crate) fn chain(&self) -> Option<&Arc<Chain>> {
        self.chain.as_ref()
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// What the manifest says of the whole archive; None in archives that others wrote.
    pub fn info(&self) -> Option<&ManifestInfo> {
        self.framed.as_ref().map(|framed| &framed.info)
    }

    /// Every entry in the archive's order, within bounded memory: from the manifest, or by walking the tar stream.
    /// In archives that others wrote two entries may have one name, and links and devices are left out.
    pub fn entries(&self) -> impl Stream<Item = Result<EntryRecord>> + Send + 'static + use<> {
        if let Some(chain) = &self.chain {
            return chain.entries().boxed();
        }
        match &self.framed {
            Some(framed) => framed.entries().boxed(),
            None => self
                .walk()
                .try_filter_map(async |piece| match piece {
                    Piece::Entry(entry) => Ok(Some(entry)),
                    _ => Ok(None),
                })
                .boxed(),
        }
    }

    /// The entry of this name. Where there are two (in archives that others wrote) it is the last one.
    pub async fn find(&self, path: &str) -> Result<Option<EntryRecord>> {
        let path = crate::clean_path(path)?;
        find(self.entries().boxed(), &path, self.framed.is_some()).await
    }

    /// The content of an entry of this archive, or the bytes of it in `range` (cut to its size). Only the frames that
    /// cover it are fetched, and each is checked; when all of it is read so is its digest. In archives that others
    /// compressed everything before it is read too, so read those with [`contents`](Self::contents).
    pub fn read(
        &self,
        entry: &EntryRecord,
        range: Option<Range<u64>>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        let range = range.unwrap_or(0..entry.size);
        let end = range.end.min(entry.size);
        let range = range.start.min(end)..end;
        if let Some(chain) = &self.chain {
            return chain.read(entry.clone(), range).boxed();
        }
        match &self.framed {
            Some(framed) => framed::read(framed, entry.clone(), range).boxed(),
            None if self.format == Format::PlainTar => {
                streamed::read_plain(Arc::clone(&self.source), entry, range).boxed()
            }
            None => streamed::read(self.walk(), entry, range).boxed(),
        }
    }

    /// Every entry with its content, in one pass.
    pub fn contents(&self) -> impl Stream<Item = Result<Piece>> + Send + 'static + use<> {
        if let Some(chain) = &self.chain {
            return chain.contents().boxed();
        }
        match &self.framed {
            Some(framed) => framed::contents(framed).boxed(),
            None => self.walk(),
        }
    }

    /// The manifest as the tar stream has it, an entry with its content, of which [`entries`](Self::entries) says
    /// nothing; None in archives that others wrote, where it would be an entry like any other.
    pub fn manifest(&self) -> Option<impl Stream<Item = Result<Piece>> + Send + 'static + use<>> {
        let start = self.framed.as_ref()?.tail.offset;
        Some(walk(Arc::clone(&self.source), start, true))
    }

    fn walk(&self) -> BoxStream<Piece> {
        walk(Arc::clone(&self.source), 0, self.format == Format::GzipTar).boxed()
    }
}

/// The entry of this name, the first or the last.
async fn find(
    mut entries: BoxStream<EntryRecord>,
    path: &str,
    first: bool,
) -> Result<Option<EntryRecord>> {
    let mut found = None;
    while let Some(entry) = entries.try_next().await? {
        if entry.path == path {
            found = Some(entry);
            if first {
                break;
            }
        }
    }
    Ok(found)
}

/// The tail, if the source ends with one.
pub(crate) async fn find_tail(source: &dyn ReadAt) -> Result<Option<Tail>> {
    let file = source.len();
    let Some(start) = file.checked_sub(tail::LENGTH as u64) else { return Ok(None) };
    let bytes = read_exact(source, start..file).await?;
    let bytes = bytes.as_ref().try_into().map_err(|_| Error::NotAnArchive)?;
    Tail::parse(bytes, file)
}

/// What kind of archive it is that has no tail.
pub(crate) async fn recognise(source: &dyn ReadAt) -> Result<Format> {
    let start = read_exact(source, 0..source.len().min(crate::BLOCK)).await?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Format::GzipTar);
    }
    match header::Block::try_from(start.as_ref()) {
        // A tar file without any entry is two blocks of zeros.
        Ok(block) if header::is_header(&block) || block.iter().all(|&byte| byte == 0) => {
            Ok(Format::PlainTar)
        }
        _ => Err(Error::NotAnArchive),
    }
}
