//! The list of an increment's whole content: one [`EntryRecord`] a line, and behind one with many segments further
//! lines `{"segments":[…]}` with the rest of them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::manifest::MAX_LINE;
use crate::reader::{BoxStream, Framed, read_physical};
use crate::spool::Spool;
use crate::{EntryRecord, Error, LIST, MANIFEST, PARTS, Result, Segment, clean_path};

/// How many segments stand in one line.
const A_LINE: usize = 4096;

#[derive(Serialize, Deserialize)]
struct More {
    segments: Vec<Segment>,
}

/// Adds an entry to the list.
pub(crate) async fn push(list: &mut Spool, record: &EntryRecord) -> Result<()> {
    let (first, rest) = record.segments.split_at(record.segments.len().min(A_LINE));
    let mut line = Vec::with_capacity(256);
    let short = EntryRecord { segments: first.to_vec(), ..record.clone() };
    write(&mut line, &short)?;
    for more in rest.chunks(A_LINE) {
        write(&mut line, &More { segments: more.to_vec() })?;
    }
    list.write(&line).await
}

fn write(line: &mut Vec<u8>, record: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *line, record).map_err(|_| Error::TooLarge("a line of the list"))?;
    line.push(b'\n');
    Ok(())
}

/// Reads the list that lies in the entry `list`. `links`: how many archives it may name.
pub(crate) fn read(
    framed: &Arc<Framed>,
    list: EntryRecord,
    links: usize,
) -> impl Stream<Item = Result<EntryRecord>> + Send + 'static + use<> {
    let size = list.size;
    let content = read_physical(framed, list, 0..size).boxed();
    let lines = Lines { content, buffer: BytesMut::new(), looked: 0 };
    let state = (lines, None::<EntryRecord>, links);
    stream::try_unfold(state, |(mut lines, mut open, links)| async move {
        loop {
            let Some(line) = lines.next().await? else {
                return match open {
                    None => Ok(None),
                    Some(done) => Ok(Some((checked(done, links)?, (lines, None, links)))),
                };
            };
            if line.starts_with(b"{\"segments\":") {
                let more: More = parse(&line)?;
                open.as_mut().ok_or_else(wrong)?.segments.extend(more.segments);
                continue;
            }
            let next: EntryRecord = parse(&line)?;
            if let Some(done) = open.replace(next) {
                return Ok(Some((checked(done, links)?, (lines, open, links))));
            }
        }
    })
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|_| wrong())
}

fn wrong() -> Error {
    Error::damaged("the list of the increment's content is not as the format demands")
}

fn checked(entry: EntryRecord, links: usize) -> Result<EntryRecord> {
    let refuse = |why: &str| Err(Error::hostile(format!("the entry {:?} {why}", entry.path)));
    let path = clean_path(&entry.path).map_err(|error| Error::hostile(error.to_string()))?;
    if path != entry.path || path == MANIFEST || path == LIST || path.starts_with(PARTS) {
        return refuse("has a name that is not allowed");
    }
    if entry.sha256.is_none() {
        return refuse("has no digest");
    }
    let mut size = 0_u64;
    for segment in &entry.segments {
        let end = segment.offset.checked_add(segment.length);
        if segment.archive as usize > links
            || segment.length == 0
            || end.is_none_or(|end| end > i64::MAX as u64)
        {
            return refuse("lies nowhere");
        }
        size = size.saturating_add(segment.length);
    }
    if size != entry.size { refuse("has parts of another length") } else { Ok(entry) }
}

struct Lines {
    content: BoxStream<Bytes>,
    buffer: BytesMut,
    /// So much of the buffer holds no end of a line.
    looked: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<BytesMut>> {
        loop {
            let found = self.buffer[self.looked..].iter().position(|byte| *byte == b'\n');
            if let Some(found) = found {
                let mut line = self.buffer.split_to(self.looked + found + 1);
                self.looked = 0;
                line.truncate(line.len() - 1);
                return Ok(Some(line));
            }
            self.looked = self.buffer.len();
            if self.looked > MAX_LINE {
                return Err(Error::hostile("a line of the increment's list is too long"));
            }
            match self.content.try_next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(wrong()),
            }
        }
    }
}
