//! Walking a tar stream that others may have written.

use bytes::{Buf, Bytes};

use crate::header::{self, Announced, Block, Kind, MAX_LONG_NAME};
use crate::path::foreign_path;
use crate::{BLOCK, EntryKind, EntryRecord, Error, Result, clean_path, padding};

/// How many zeros may follow tar's end: as many as the largest block that programs fill up. More are a bomb.
const MAX_FILL: u64 = 1 << 20;

/// A part of an archive's content.
#[derive(Debug, Clone)]
pub enum Piece {
    /// An entry begins.
    Entry(EntryRecord),
    /// The next of its content.
    Data(Bytes),
    /// Its content ended, and was what it should be.
    End,
    /// Something was skipped. Only in archives that others wrote.
    Warning(String),
}

pub(crate) struct TarWalk {
    state: State,
    /// Of what was fed.
    offset: u64,
    block: Vec<u8>,
    /// From a long name or a PAX header.
    next_name: Option<Vec<u8>>,
    next_size: Option<u64>,
    /// Where the next entry's first header block is.
    start: u64,
    /// Whether names must be as our writer writes them.
    ours: bool,
}

enum State {
    Header,
    /// The content of a header that says something about the next one.
    Meta {
        kind: Kind,
        left: u64,
        content: Vec<u8>,
    },
    Content {
        left: u64,
        size: u64,
        shown: bool,
    },
    Skip {
        left: u64,
    },
    /// One block of zeros was seen.
    OneZero,
    /// Tar's end was seen; only so many zeros may follow.
    Done {
        left: u64,
    },
}

impl TarWalk {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Header,
            offset: 0,
            block: Vec::new(),
            next_name: None,
            next_size: None,
            start: 0,
            ours: false,
        }
    }

    /// A walk from the header at `offset` of a stream of ours: names are not changed, and nothing is skipped.
    pub(crate) fn ours(offset: u64) -> Self {
        Self { offset, start: offset, ours: true, ..Self::new() }
    }

    /// Takes the next bytes of the stream and gives `visit` what is in them.
    pub(crate) fn feed(
        &mut self,
        mut data: Bytes,
        visit: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        while !data.is_empty() {
            match &mut self.state {
                State::Header | State::OneZero => {
                    let missing = BLOCK as usize - self.block.len();
                    let taken = data.split_to(missing.min(data.len()));
                    self.block.extend_from_slice(&taken);
                    self.offset += taken.len() as u64;
                    if let Ok(block) = Block::try_from(self.block.as_slice()) {
                        self.block.clear();
                        self.header(&block, visit)?;
                    }
                }
                State::Meta { kind, left, content } => {
                    let taken = take(&mut data, left, &mut self.offset);
                    content.extend_from_slice(&taken);
                    if *left == 0 {
                        let (kind, content) = (*kind, std::mem::take(content));
                        self.meta(kind, &content)?;
                    }
                }
                State::Content { left, size, shown } => {
                    let taken = take(&mut data, left, &mut self.offset);
                    let (ended, size, shown) = (*left == 0, *size, *shown);
                    if shown {
                        visit(Piece::Data(taken))?;
                    }
                    if ended {
                        self.end_content(size, shown, visit)?;
                    }
                }
                State::Skip { left } => {
                    take(&mut data, left, &mut self.offset);
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Done { left } => {
                    if data.iter().any(|&byte| byte != 0) {
                        return Err(Error::damaged("something follows the end of the tar stream"));
                    }
                    *left = left.checked_sub(data.len() as u64).ok_or_else(|| {
                        Error::hostile(
                            "more zeros follow the end of the tar stream than fill a block",
                        )
                    })?;
                    self.offset += data.len() as u64;
                    data.advance(data.len());
                }
            }
        }
        Ok(())
    }

    /// The stream ended. Returns its length.
    pub(crate) fn finish(&self) -> Result<u64> {
        match self.state {
            State::Done { .. } => Ok(self.offset),
            _ => Err(Error::damaged(format!(
                "it is cut off after {} bytes of the tar stream",
                self.offset
            ))),
        }
    }

    fn header(&mut self, block: &Block, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let at = self.offset - BLOCK;
        if block.iter().all(|&byte| byte == 0) {
            if self.next_name.is_some() {
                return Err(Error::damaged("a long name without an entry"));
            }
            self.state = match self.state {
                State::OneZero => State::Done { left: MAX_FILL },
                _ => State::OneZero,
            };
            return Ok(());
        }
        if matches!(self.state, State::OneZero) {
            return Err(Error::damaged("the end of the tar stream is followed by an entry"));
        }
        let announced =
            header::parse(block).map_err(|text| Error::damaged(format!("{text} (at {at})")))?;
        match announced.kind {
            Kind::LongName | Kind::Pax => {
                if announced.size > MAX_LONG_NAME {
                    return Err(Error::hostile(format!(
                        "a name of {} bytes (at {at})",
                        announced.size
                    )));
                }
                self.state =
                    State::Meta { kind: announced.kind, left: announced.size, content: Vec::new() };
                if announced.size == 0 {
                    self.meta(announced.kind, &[])?;
                }
                Ok(())
            }
            Kind::Skipped => {
                self.skip(announced.size + padding(announced.size));
                Ok(())
            }
            _ => self.entry(announced, visit),
        }
    }

    fn meta(&mut self, kind: Kind, content: &[u8]) -> Result<()> {
        if kind == Kind::LongName {
            let end = content.iter().position(|&byte| byte == 0).unwrap_or(content.len());
            // What could follow the NUL would be seen by some readers and not by others.
            if content[end..].iter().any(|&byte| byte != 0) {
                return Err(Error::hostile(format!("the name {:?} contains NUL", lossy(content))));
            }
            self.next_name = Some(content[..end].to_vec());
        } else {
            let (path, size) = header::pax_path(content)
                .map_err(|text| Error::damaged(format!("{text} (before {})", self.offset)))?;
            if path.is_some() {
                self.next_name = path;
            }
            self.next_size = size.or(self.next_size);
        }
        self.skip(padding(content.len() as u64));
        Ok(())
    }

    fn entry(
        &mut self,
        announced: Announced,
        visit: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        let name = self.next_name.take().unwrap_or(announced.name);
        let name = String::from_utf8_lossy(&name).into_owned();
        let size = announced.size;
        if self.next_size.take().is_some_and(|other| other != size) {
            return Err(Error::hostile(format!("the entry {name:?} has two sizes")));
        }
        let header_offset = std::mem::replace(&mut self.start, self.offset + size + padding(size));
        let skipped = match announced.kind {
            // DocSpace writes none, and a restore would lack what it stands for, or be led elsewhere.
            Kind::HardLink | Kind::SymLink => {
                return Err(Error::hostile(format!("the entry {name:?} is a link")));
            }
            Kind::Special => Some("a device or pipe"),
            Kind::Unknown(_) => {
                return Err(Error::hostile(format!(
                    "the entry {name:?} is of a kind that is not known"
                )));
            }
            // The root itself, which `tar c .` writes.
            Kind::Directory if matches!(name.as_str(), "." | "./" | "/") => Some(""),
            _ => None,
        };
        if let Some(what) = skipped {
            if self.ours {
                return Err(Error::hostile(format!("the entry {name:?} is {what}")));
            }
            self.state = State::Content { left: size, size, shown: false };
            if !what.is_empty() {
                visit(Piece::Warning(format!("{name:?} was skipped: it is {what}")))?;
            }
            return if size == 0 { self.end_content(0, false, visit) } else { Ok(()) };
        }
        let path = if self.ours { clean_path(&name) } else { foreign_path(&name) };
        let path = path.map_err(|error| Error::hostile(error.to_string()))?;
        let plain = if announced.kind == Kind::Directory { name.strip_suffix('/') } else { None };
        if self.ours && plain.unwrap_or(&name) != path {
            return Err(Error::hostile(format!(
                "the entry {name:?} has a name that is not allowed"
            )));
        }
        let kind =
            if announced.kind == Kind::Directory { EntryKind::Directory } else { kind_of(&path) };
        let record = EntryRecord {
            path,
            kind,
            size,
            mtime: announced.mtime,
            header_offset,
            tar_offset: self.offset,
            sha256: None,
            rows: None,
            note: None,
            version: None,
            segments: Vec::new(),
        };
        visit(Piece::Entry(record))?;
        self.state = State::Content { left: size, size, shown: true };
        if size == 0 { self.end_content(0, true, visit) } else { Ok(()) }
    }

    fn end_content(
        &mut self,
        size: u64,
        shown: bool,
        visit: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        self.skip(padding(size));
        if shown { visit(Piece::End) } else { Ok(()) }
    }

    fn skip(&mut self, left: u64) {
        self.state = if left == 0 { State::Header } else { State::Skip { left } };
    }
}

fn take(data: &mut Bytes, left: &mut u64, offset: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
    *left -= length as u64;
    *offset += length as u64;
    data.split_to(length)
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned()
}

/// What an entry is, from where DocSpace puts it.
fn kind_of(path: &str) -> EntryKind {
    if path == "dump" {
        EntryKind::Marker
    } else if path.starts_with("databases/scheme/") {
        EntryKind::Scheme
    } else if path.starts_with("databases/data/") {
        EntryKind::Data
    } else if matches!(path, "storage/restore_info" | "storage/missing_info") {
        EntryKind::Info
    } else {
        EntryKind::File
    }
}
