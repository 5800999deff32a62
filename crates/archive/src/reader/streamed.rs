//! Reading archives that others wrote: from the start, on a thread of their own.

use std::io::{BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::BoxStream;
use crate::foreign::TarWalk;
use crate::pull::{Producer, Pull, produce, read_exact};
use crate::{EntryRecord, Error, Piece, ReadAt, Result};

/// What is unpacked at once.
const CHUNK: usize = 256 << 10;

/// Everything in a tar file from `start`, where an entry begins, to its very end.
pub(crate) fn walk(
    source: Arc<dyn ReadAt>,
    start: u64,
    gzip: bool,
) -> impl Stream<Item = Result<Piece>> + Send + 'static {
    produce(8, move || {
        let range = start..source.len();
        let pull = Pull::new(source, range, false);
        let producer: Producer<Piece> = Box::new(move |outlet| {
            walk_blocking(pull, gzip, &mut |piece| outlet.put(piece)).map(|_| ())
        });
        Ok(producer)
    })
}

/// As [`walk`], on the calling thread. Returns the length of the tar stream, and what was read from.
pub(crate) fn walk_blocking(
    pull: Pull,
    gzip: bool,
    visit: &mut dyn FnMut(Piece) -> Result<()>,
) -> Result<(u64, Pull)> {
    if gzip {
        let mut decoder = MultiGzDecoder::new(pull);
        let length = feed(&mut decoder, visit)?;
        return Ok((length, decoder.into_inner()));
    }
    let mut pull = pull;
    let length = feed(&mut pull, visit)?;
    Ok((length, pull))
}

fn feed(reader: &mut impl Read, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<u64> {
    let mut walk = TarWalk::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(unpacking)?;
        if chunk.is_empty() {
            return walk.finish();
        }
        walk.feed(Bytes::from(chunk), visit)?;
    }
}

/// Reads the rest of what is pulled, so that all of it is in its digest.
pub(crate) fn drain(pull: &mut Pull) -> Result<()> {
    loop {
        let length = pull.fill_buf()?.len();
        if length == 0 {
            return Ok(());
        }
        pull.consume(length);
    }
}

fn unpacking(error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            Error::damaged(format!("it cannot be unpacked ({error})"))
        }
        _ => error.into(),
    }
}

/// One entry's content, found by walking.
pub(super) fn read(
    pieces: BoxStream<Piece>,
    entry: &EntryRecord,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let wanted = entry.tar_offset;
    let missing = Error::damaged(format!("the entry {:?} is not in the archive", entry.path));
    // What was passed of the entry; None before it.
    let state = (pieces, None, missing);
    stream::try_unfold(state, move |(mut pieces, mut passed, missing)| {
        let range = range.clone();
        async move {
            loop {
                if passed.is_some_and(|passed| passed >= range.end) {
                    return Ok(None);
                }
                match (pieces.try_next().await?, passed) {
                    (Some(Piece::Entry(found)), None) if found.tar_offset == wanted => {
                        passed = Some(0)
                    }
                    (Some(Piece::Data(bytes)), Some(start)) => {
                        let end = start + bytes.len() as u64;
                        passed = Some(end);
                        let from = range.start.clamp(start, end) - start;
                        let to = range.end.clamp(start, end) - start;
                        if from < to {
                            let part = bytes.slice(from as usize..to as usize);
                            return Ok(Some((part, (pieces, passed, missing))));
                        }
                    }
                    (Some(Piece::End), Some(_)) => return Ok(None),
                    (Some(_), _) => {}
                    (None, _) => return Err(missing),
                }
            }
        }
    })
}

/// One entry's content from a tar file that is not compressed.
pub(super) fn read_plain(
    source: Arc<dyn ReadAt>,
    entry: &EntryRecord,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let content = entry.tar_offset.checked_add(entry.size).filter(|&end| end <= source.len());
    if content.is_none() {
        let error =
            Error::damaged(format!("the entry {:?} does not lie in the archive", entry.path));
        return stream::once(async { Err(error) }).left_stream();
    }
    let (start, end) = (entry.tar_offset + range.start, entry.tar_offset + range.end);
    let chunks = stream::try_unfold(start, move |at| {
        let source = Arc::clone(&source);
        async move {
            if at >= end {
                return Ok(None);
            }
            let next = end.min(at + CHUNK as u64);
            let bytes = read_exact(&*source, at..next).await?;
            Ok(Some((bytes, next)))
        }
    });
    chunks.right_stream()
}
