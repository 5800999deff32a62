//! Comparing the tar stream with the manifest, entry by entry, on a thread of its own.

use std::ops::ControlFlow;

use bytes::{Buf, Bytes};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::Report;
use crate::foreign::TarWalk;
use crate::manifest_reader::{self, Item};
use crate::pull::Pull;
use crate::reader::Framed;
use crate::{Digest, EntryKind, EntryRecord, Error, Piece, Result, padding};

/// The next of the tar stream.
pub(super) enum Content {
    Data(Bytes),
    /// So many bytes that could not be unpacked.
    Missing(u64),
}

/// Reads the manifest from `pull` and the tar stream from `content`, and compares them. Errors only when reading fails.
pub(super) fn walk(
    framed: &Framed,
    pull: Pull,
    content: mpsc::Receiver<Content>,
) -> Result<Report> {
    let mut report = Report::default();
    let mut stream = TarContent { content, current: Content::Data(Bytes::new()) };
    let read = manifest_reader::read(pull, &framed.tail, |item| {
        if let Item::Entry(entry) = item {
            match compare(&mut stream, &entry) {
                Ok(()) => report.count(&entry),
                Err(error) => report.note(error)?,
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    match read {
        Err(error) => report.note(error)?,
        Ok(()) if stream.next().is_some() => {
            report.problem("there is more in the tar stream than the manifest lists")
        }
        Ok(()) => {}
    }
    Ok(report)
}

fn compare(stream: &mut TarContent, entry: &EntryRecord) -> Result<()> {
    // The lengths were checked: this one is small.
    let mut header = Some(Vec::new());
    stream.take(entry.tar_offset - entry.header_offset, |bytes| match (bytes, &mut header) {
        (Some(bytes), Some(header)) => header.extend_from_slice(bytes),
        _ => header = None,
    })?;
    let mut digest = Some(Sha256::new());
    stream.take(entry.size, |bytes| match (bytes, &mut digest) {
        (Some(bytes), Some(digest)) => digest.update(bytes),
        _ => digest = None,
    })?;
    let mut zeros = true;
    stream.take(padding(entry.size), |bytes| {
        zeros &= bytes.is_none_or(|bytes| bytes.iter().all(|&byte| byte == 0))
    })?;

    let wrong = |what: &str| Err(Error::damaged(format!("the entry {:?}: {what}", entry.path)));
    let (Some(header), Some(digest)) = (header, digest) else {
        return wrong("it lies in a damaged frame");
    };
    check_header(&header, entry)?;
    if Some(Digest(digest.finalize().into())) != entry.sha256 {
        return wrong("its content has another digest than the manifest says");
    }
    if zeros { Ok(()) } else { wrong("its content is followed by something") }
}

/// Whether a header says what the manifest says.
fn check_header(header: &[u8], entry: &EntryRecord) -> Result<()> {
    let mut found = None;
    let mut walk = TarWalk::ours(entry.header_offset);
    walk.feed(Bytes::copy_from_slice(header), &mut |piece| {
        if let Piece::Entry(entry) = piece {
            found = Some(entry);
        }
        Ok(())
    })?;
    let same = found.is_some_and(|found| {
        let directory = |entry: &EntryRecord| entry.kind == EntryKind::Directory;
        found.path == entry.path
            && found.size == entry.size
            && found.mtime == entry.mtime
            && found.header_offset == entry.header_offset
            && found.tar_offset == entry.tar_offset
            && directory(&found) == directory(entry)
    });
    if same {
        Ok(())
    } else {
        Err(Error::damaged(format!(
            "the entry {:?}: its header is not what the manifest says",
            entry.path
        )))
    }
}

struct TarContent {
    content: mpsc::Receiver<Content>,
    current: Content,
}

impl TarContent {
    /// Gives `visit` the next `left` bytes in pieces; None for a piece that is missing.
    fn take(&mut self, mut left: u64, mut visit: impl FnMut(Option<&[u8]>)) -> Result<()> {
        while left > 0 {
            match &mut self.current {
                Content::Data(bytes) if !bytes.is_empty() => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    visit(Some(&bytes[..length]));
                    bytes.advance(length);
                    left -= length as u64;
                }
                Content::Missing(missing) if *missing > 0 => {
                    let length = left.min(*missing);
                    visit(None);
                    *missing -= length;
                    left -= length;
                }
                // The frames cover all that the manifest lists: they end early only when reading them failed.
                _ => self.current = self.content.blocking_recv().ok_or(Error::Closed)?,
            }
        }
        Ok(())
    }

    /// What is left, if anything.
    fn next(&mut self) -> Option<()> {
        match &self.current {
            Content::Data(bytes) if !bytes.is_empty() => Some(()),
            Content::Missing(1..) => Some(()),
            _ => self.content.blocking_recv().map(|_| ()),
        }
    }
}
