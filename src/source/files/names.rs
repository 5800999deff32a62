//! The names of a folder, sorted, in one buffer: some 8 bytes a name beside the name.

use std::os::fd::AsFd;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    items: Vec<(u32, u16, FileType)>,
}

impl Names {
    /// All names of an open folder, each with its kind where the system tells it.
    pub fn read(fd: impl AsFd) -> Result<Self, Errno> {
        let mut names = Self::default();
        names.add(fd)?;
        names.sort();
        Ok(names)
    }

    /// Adds those of another folder; [`Names::sort`] is then due.
    pub fn add(&mut self, fd: impl AsFd) -> Result<(), Errno> {
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.push(name, entry.file_type())?;
            }
        }
        Ok(())
    }

    pub fn push(&mut self, name: &[u8], file_type: FileType) -> Result<(), Errno> {
        let at = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.bytes.extend_from_slice(name);
        self.items.push((at, length, file_type));
        Ok(())
    }

    /// Sorts them and keeps each once.
    pub fn sort(&mut self) {
        let Self { bytes, items } = self;
        items.sort_unstable_by_key(|&(at, length, _)| name_at(bytes, at, length));
        items.dedup_by_key(|&mut (at, length, _)| name_at(bytes, at, length));
    }

    pub fn get(&self, position: usize) -> Option<(&[u8], FileType)> {
        let &(at, length, file_type) = self.items.get(position)?;
        Some((name_at(&self.bytes, at, length), file_type))
    }
}

fn name_at(bytes: &[u8], at: u32, length: u16) -> &[u8] {
    &bytes[at as usize..at as usize + length as usize]
}
