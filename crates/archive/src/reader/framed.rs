//! Reading entries of archives of ours, from the frames that cover them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};

use super::BoxStream;
use super::frames::Framed;
use crate::{Digest, EntryRecord, Error, Piece, Result};

/// Content over this is hashed on another thread.
const AT_ONCE: usize = 128 << 10;

/// A part of an entry's content; when it is all of it, its digest is checked at the end.
pub(crate) fn read(
    framed: &Arc<Framed>,
    entry: EntryRecord,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
    let end = entry.tar_offset.checked_add(range.end);
    if end.is_none_or(|end| end > framed.tail.tar_offset) {
        let error =
            Error::damaged(format!("the entry {:?} does not lie in the archive", entry.path));
        return stream::once(async { Err(error) }).left_stream();
    }
    let parts = framed.part(entry.tar_offset + range.start..entry.tar_offset + range.end).boxed();
    checked(parts, entry, range).right_stream()
}

/// The part `range` of an entry's content as `parts` give it; when it is all of it, its digest is checked at the end.
pub(super) fn checked(
    parts: BoxStream<Bytes>,
    entry: EntryRecord,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let digest = (range == (0..entry.size)).then(Sha256::new);
    stream::try_unfold((parts, digest, entry), |(mut parts, mut digest, entry)| async {
        match parts.try_next().await? {
            Some(bytes) => {
                if let Some(before) = digest.take() {
                    digest = Some(update(before, &bytes).await?);
                }
                Ok(Some((bytes, (parts, digest, entry))))
            }
            None => digest.map_or(Ok(None), |digest| check(digest, &entry).map(|()| None)),
        }
    })
}

async fn update(mut digest: Sha256, bytes: &Bytes) -> Result<Sha256> {
    if bytes.len() <= AT_ONCE {
        digest.update(bytes);
        return Ok(digest);
    }
    let bytes = bytes.clone();
    let work = move || {
        digest.update(&bytes);
        digest
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)
}

fn check(digest: Sha256, entry: &EntryRecord) -> Result<()> {
    if entry.sha256.is_none_or(|expected| expected == Digest(digest.finalize().into())) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "the entry {:?}: its content has another digest than the manifest says",
        entry.path
    )))
}

/// Every entry with its content, frames being fetched ahead across entries.
pub(crate) fn contents(
    framed: &Arc<Framed>,
) -> impl Stream<Item = Result<Piece>> + Send + 'static + use<> {
    let pass = Pass {
        entries: framed.entries().boxed(),
        parts: framed.part(0..framed.tail.tar_offset).boxed(),
        current: Bytes::new(),
        offset: 0,
        open: None,
    };
    stream::try_unfold(pass, |mut pass| async {
        let piece = pass.next().await?;
        Ok(piece.map(|piece| (piece, pass)))
    })
}

/// One pass over the tar stream, along the manifest.
struct Pass {
    entries: BoxStream<EntryRecord>,
    parts: BoxStream<Bytes>,
    current: Bytes,
    /// Where `current` starts in the tar stream.
    offset: u64,
    /// The entry begun, with what is left of it.
    open: Option<(EntryRecord, u64, Sha256)>,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<Piece>> {
        let Some((entry, left, digest)) = self.open.take() else {
            let Some(entry) = self.entries.try_next().await? else { return Ok(None) };
            self.skip_to(entry.tar_offset).await?;
            self.open = Some((entry.clone(), entry.size, Sha256::new()));
            return Ok(Some(Piece::Entry(entry)));
        };
        if left == 0 {
            check(digest, &entry)?;
            return Ok(Some(Piece::End));
        }
        self.fill().await?;
        let bytes = self.take(left);
        let digest = update(digest, &bytes).await?;
        self.open = Some((entry, left - bytes.len() as u64, digest));
        Ok(Some(Piece::Data(bytes)))
    }

    async fn skip_to(&mut self, offset: u64) -> Result<()> {
        while self.offset < offset {
            self.fill().await?;
            self.take(offset - self.offset);
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        while !self.current.has_remaining() {
            let part = self.parts.try_next().await?;
            self.current = part.ok_or_else(|| Error::damaged("the tar stream ends too early"))?;
        }
        Ok(())
    }

    fn take(&mut self, most: u64) -> Bytes {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.current.len());
        self.offset += length as u64;
        self.current.split_to(length)
    }
}
