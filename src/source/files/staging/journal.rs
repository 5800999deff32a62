//! The journal of a swap in a folder: what is to be renamed, noted durably before anything is. Records end with NUL,
//! which no name holds.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Error, ErrorKind, Result, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::source::files::beneath::{self, NotAFile};

const NAME: &str = "journal";
/// Its name while it is written.
const UNFINISHED: &str = "journal.new";
/// The last record: without it something has cut the file.
const END: &[u8] = b"end";
const BUFFER: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A live folder in which something will be renamed, and its time before that.
    Folder { path: Vec<u8>, seconds: i64, nanoseconds: i64 },
    /// What is live at a path is put aside; if `staged`, what is staged there takes its place.
    Swap { path: Vec<u8>, staged: bool },
}

pub struct Writer<'a> {
    place: BorrowedFd<'a>,
    file: BufWriter<File>,
}

impl<'a> Writer<'a> {
    /// `place`: the folder that the journal lies in.
    pub fn new(place: BorrowedFd<'a>) -> Result<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(place, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { place, file: BufWriter::with_capacity(BUFFER, File::from(fd)) })
    }

    pub fn add(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Folder { path, seconds, nanoseconds } => {
                write!(self.file, "folder {seconds} {nanoseconds} ")?;
                self.file.write_all(path)?;
            }
            Record::Swap { path, staged } => {
                self.file.write_all(if *staged { b"replace " } else { b"remove " })?;
                self.file.write_all(path)?;
            }
        }
        self.file.write_all(&[0])
    }

    /// From here on a swap may begin.
    pub fn finish(mut self) -> Result<()> {
        self.file.write_all(END)?;
        self.file.write_all(&[0])?;
        self.file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        rustix::fs::renameat(self.place, UNFINISHED, self.place, NAME)?;
        Ok(rustix::fs::fsync(self.place)?)
    }
}

/// The records of the finished journal; None when there is none.
pub fn read(place: BorrowedFd<'_>) -> Result<Option<Records>> {
    match beneath::file(place, OsStr::new(NAME)) {
        Ok((fd, _)) => Ok(Some(Records(Some(BufReader::with_capacity(BUFFER, File::from(fd)))))),
        Err(NotAFile::System(Errno::NOENT)) => Ok(None),
        Err(NotAFile::System(errno)) => Err(errno.into()),
        Err(_) => Err(damaged()),
    }
}

/// Ends with the end of the journal, or with an error.
pub struct Records(Option<BufReader<File>>);

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let read = self.0.as_mut()?.read_until(0, &mut line);
        let record = match (read, line.split_last()) {
            (Err(error), _) => Err(error),
            (_, Some((0, record))) if record == END => {
                self.0 = None;
                return None;
            }
            (_, Some((0, record))) => parse(record).ok_or_else(damaged),
            _ => Err(damaged()),
        };
        if record.is_err() {
            self.0 = None;
        }
        Some(record)
    }
}

/// Ends the time in which the swap can be undone.
pub fn remove(place: impl AsFd) -> Result<()> {
    match rustix::fs::unlinkat(place.as_fd(), NAME, rustix::fs::AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::fsync(place)?),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn parse(record: &[u8]) -> Option<Record> {
    let mut parts = record.splitn(2, |byte| *byte == b' ');
    let (kind, rest) = (parts.next()?, parts.next()?);
    Some(match kind {
        b"replace" => Record::Swap { path: rest.to_vec(), staged: true },
        b"remove" => Record::Swap { path: rest.to_vec(), staged: false },
        b"folder" => {
            let mut parts = rest.splitn(3, |byte| *byte == b' ');
            let mut number = || str::from_utf8(parts.next()?).ok()?.parse().ok();
            let (seconds, nanoseconds) = (number()?, number()?);
            Record::Folder { path: parts.next()?.to_vec(), seconds, nanoseconds }
        }
        _ => return None,
    })
}

fn damaged() -> Error {
    Error::new(ErrorKind::InvalidData, "the journal of the restore is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let place = File::open(dir.path()).unwrap();
        let records = [
            Record::Folder { path: Vec::new(), seconds: -5, nanoseconds: 999_999_999 },
            Record::Swap { path: b"a b/\xff\n".to_vec(), staged: true },
            Record::Folder { path: b" a b ".to_vec(), seconds: 0, nanoseconds: 0 },
            Record::Swap { path: b"end".to_vec(), staged: false },
        ];
        let mut writer = Writer::new(place.as_fd()).unwrap();
        records.iter().for_each(|record| writer.add(record).unwrap());
        assert!(read(place.as_fd()).unwrap().is_none(), "it is not finished");
        writer.finish().unwrap();
        let found: Vec<_> = read(place.as_fd()).unwrap().unwrap().map(Result::unwrap).collect();
        assert_eq!(found, records);

        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let cut: Result<Vec<_>> = read(place.as_fd()).unwrap().unwrap().collect();
            assert!(cut.is_err(), "cut at {length}");
        }
        remove(&place).unwrap();
        remove(&place).unwrap();
        assert!(read(place.as_fd()).unwrap().is_none());
    }
}
