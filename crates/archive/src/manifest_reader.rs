//! Reading a manifest as a stream, and refusing what cannot be true.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use flate2::bufread::MultiGzDecoder;

use crate::header::{self, Block, Kind};
use crate::manifest::{END, ENTRIES, MAX_INFO, MAX_LINE};
use crate::pull::Pull;
use crate::tail::Tail;
use crate::{
    BLOCK, EntryRecord, Error, FrameRecord, MANIFEST, MAX_FRAME, ManifestInfo, Result, clean_path,
    frame, padding,
};

/// What a manifest consists of, in this order.
pub(crate) enum Item {
    Info(Box<ManifestInfo>),
    Frame(FrameRecord),
    EndOfFrames,
    Entry(EntryRecord),
}

/// Reads the manifest that `tail` points to from `pull`, which gives exactly its compressed bytes; `visit` gets each
/// item, and may end the reading. Frames and entries follow each other without gaps, names are clean, and when all was
/// read so were the manifest's digest, if `pull` makes one, and tar's end.
pub(crate) fn read(
    pull: Pull,
    tail: &Tail,
    mut visit: impl FnMut(Item) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut tar = BufReader::with_capacity(64 << 10, MultiGzDecoder::new(pull));
    let size = read_header(&mut tar, tail)?;
    let mut lines = Lines { content: (&mut tar).take(size), line: Vec::new() };

    let info = ManifestInfo::parse_first_line(lines.next(MAX_INFO)?)?;
    if visit(Item::Info(Box::new(info)))?.is_break() {
        return Ok(());
    }
    let mut frames = FrameOrder { offset: 0, tar_offset: 0 };
    let flow = lines.list(ENTRIES, |frame: FrameRecord| {
        frames.check(&frame, tail)?;
        visit(Item::Frame(frame))
    })?;
    if flow.is_break() {
        return Ok(());
    }
    if (frames.offset, frames.tar_offset) != (tail.offset, tail.tar_offset) {
        return Err(Error::damaged("the manifest does not list every frame"));
    }
    if visit(Item::EndOfFrames)?.is_break() {
        return Ok(());
    }
    let mut end = 0;
    let flow = lines.list(END, |entry: EntryRecord| {
        end = check_entry(&entry, end, tail)?;
        visit(Item::Entry(entry))
    })?;
    if flow.is_break() {
        return Ok(());
    }
    if end != tail.tar_offset {
        return Err(Error::damaged("the manifest does not list every entry"));
    }
    if lines.content.limit() > 0 {
        return Err(Error::damaged("the manifest goes on behind its end"));
    }
    read_end(tar, padding(size) + 2 * BLOCK, tail)
}

fn read_header(tar: &mut impl Read, tail: &Tail) -> Result<u64> {
    let mut block: Block = [0; BLOCK as usize];
    tar.read_exact(&mut block).map_err(unpacking)?;
    let header =
        header::parse(&block).map_err(|text| Error::damaged(format!("the manifest: {text}")))?;
    if header.kind != Kind::File || header.name != MANIFEST.as_bytes() {
        return Err(Error::damaged("there is no manifest where the tail says"));
    }
    let whole = BLOCK + header.size + padding(header.size) + 2 * BLOCK;
    if tail.tar_offset.checked_add(whole) != Some(tail.tar_bytes) {
        return Err(Error::damaged("the manifest's length is not what the tail says"));
    }
    Ok(header.size)
}

fn read_end(mut tar: BufReader<MultiGzDecoder<Pull>>, zeros: u64, tail: &Tail) -> Result<()> {
    let mut rest = Vec::new();
    (&mut tar).take(zeros + 1).read_to_end(&mut rest).map_err(unpacking)?;
    if rest.len() as u64 != zeros || rest.iter().any(|&byte| byte != 0) {
        return Err(Error::damaged("the end of the tar stream"));
    }
    let pull = tar.into_inner().into_inner();
    if pull.remaining() > 0 {
        return Err(Error::damaged("something stands between the manifest and the tail"));
    }
    if pull.digest().is_some_and(|digest| digest != tail.sha256) {
        return Err(Error::damaged("the manifest's digest is not what the tail says"));
    }
    Ok(())
}

struct FrameOrder {
    offset: u64,
    tar_offset: u64,
}

impl FrameOrder {
    fn check(&mut self, frame: &FrameRecord, tail: &Tail) -> Result<()> {
        let in_order = frame.offset == self.offset && frame.tar_offset == self.tar_offset;
        let possible = u64::from(frame.length) >= frame::SHORTEST
            && (1..=MAX_FRAME).contains(&(frame.tar_length as usize))
            // Storing a frame adds little to its length.
            && frame.length as usize <= frame.tar_length as usize + 1024;
        if !in_order || !possible {
            return Err(Error::hostile(format!(
                "the frame at {} is not as the format demands",
                frame.offset
            )));
        }
        self.offset += u64::from(frame.length);
        self.tar_offset += u64::from(frame.tar_length);
        // So no list of frames is longer than the file allows.
        if self.offset > tail.offset || self.tar_offset > tail.tar_offset {
            return Err(Error::hostile("its frames reach into the manifest"));
        }
        Ok(())
    }
}

/// Returns where the next entry's header is.
fn check_entry(entry: &EntryRecord, start: u64, tail: &Tail) -> Result<u64> {
    let path = clean_path(&entry.path).map_err(|error| Error::hostile(error.to_string()))?;
    let refuse = |why: &str| Err(Error::hostile(format!("the entry {:?} {why}", entry.path)));
    if path != entry.path || path == MANIFEST {
        return refuse("has a name that is not allowed");
    }
    if entry.sha256.is_none() {
        return refuse("has no digest");
    }
    if !entry.segments.is_empty() {
        return refuse("is not where the manifest lists it");
    }
    // One block, or with a long name that name's header and blocks too.
    let header = entry.tar_offset.checked_sub(entry.header_offset);
    let longest = 4 * BLOCK + path.len() as u64;
    if entry.header_offset != start
        || header.is_none_or(|header| header < BLOCK || header > longest || header % BLOCK != 0)
    {
        return refuse("does not follow the one before");
    }
    let end = entry
        .tar_offset
        .checked_add(entry.size)
        .and_then(|end| end.checked_add(padding(entry.size)));
    match end {
        Some(end) if end <= tail.tar_offset => Ok(end),
        _ => refuse("reaches into the manifest"),
    }
}

struct Lines<R> {
    content: std::io::Take<R>,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end. Errors when there is none of at most `most` bytes.
    fn next(&mut self, most: usize) -> Result<&[u8]> {
        self.line.clear();
        (&mut self.content)
            .take(most as u64 + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(unpacking)?;
        match self.line.pop() {
            Some(b'\n') => Ok(&self.line),
            Some(_) if self.line.len() >= most => {
                Err(Error::hostile("a line of the manifest is too long"))
            }
            _ => Err(Error::damaged("the manifest is cut off")),
        }
    }

    /// The records up to the line `end`, one a line, with commas between.
    fn list<T: serde::de::DeserializeOwned>(
        &mut self,
        end: &str,
        mut visit: impl FnMut(T) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let wrong = || Error::damaged("a list of the manifest is not as the format demands");
        // Whether a record must follow, and whether one may.
        let (mut must, mut may) = (false, true);
        loop {
            let line = self.next(MAX_LINE)?;
            if line == end.as_bytes() && !must {
                return Ok(ControlFlow::Continue(()));
            }
            if line.is_empty() && may && !must {
                may = false;
                continue;
            }
            if !may {
                return Err(wrong());
            }
            let record = line.strip_suffix(b",");
            must = record.is_some();
            may = must;
            let record = serde_json::from_slice(record.unwrap_or(line)).map_err(|_| wrong())?;
            if visit(record)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

fn unpacking(error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            Error::damaged(format!("the manifest cannot be unpacked ({error})"))
        }
        _ => error.into(),
    }
}
