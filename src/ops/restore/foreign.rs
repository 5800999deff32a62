//! Lists an archive that can only be read from its start, as others write them: whose its files are is known when all
//! of it was read.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use archive::{Archive, EntryKind, EntryRecord, Piece};
use bytes::BytesMut;
use futures::TryStreamExt;

use super::contents::{DatabaseMember, Lister, Only, RESTORE_INFO, database_member, text};
use super::count::Repeated;
use crate::portal::Placing;

/// Where DocSpace's database says how new it is; more than this is no list of its migrations.
const MIGRATIONS: &str = "__EFMigrationsHistory";
const LONGEST_LIST: usize = 1 << 20;
const BUFFER: usize = 64 << 10;

enum Reading {
    Nothing,
    Scheme(String, BytesMut),
    Info,
    Migrations(BytesMut),
}

pub async fn list(
    archive: &Archive,
    placing: &mut Placing,
    list: &mut Lister,
    only: &Only,
    temp_dir: &Path,
) -> Result<(), String> {
    let unusable =
        |error: std::io::Error| format!("backup.temp_dir {}: {error}", temp_dir.display());
    let mut waiting = Waiting::new(temp_dir).map_err(unusable)?;
    let mut reading = Reading::Nothing;
    let mut pieces = Box::pin(archive.contents());
    while let Some(piece) = pieces.try_next().await.map_err(text)? {
        match piece {
            Piece::Entry(entry) => {
                reading = begin(list, &entry, only)?;
                if matches!(entry.kind, EntryKind::File | EntryKind::Directory)
                    && database_member(&entry.path).is_none()
                {
                    waiting.push(&entry.path, entry.kind, entry.size).map_err(unusable)?;
                } else {
                    list.take(entry, placing, only)?;
                }
            }
            Piece::Data(data) => match &mut reading {
                Reading::Scheme(_, content) => content.extend_from_slice(&data),
                Reading::Migrations(content) if content.len() <= LONGEST_LIST => {
                    content.extend_from_slice(&data);
                }
                Reading::Info => placing.learn(&data)?,
                Reading::Migrations(_) | Reading::Nothing => {}
            },
            Piece::End => match std::mem::replace(&mut reading, Reading::Nothing) {
                Reading::Scheme(path, content) => list.scheme(&path, content.freeze())?,
                Reading::Migrations(content) => list.last_migration = last_migration(&content),
                Reading::Info | Reading::Nothing => {}
            },
            Piece::Warning(warning) => list.warn(warning),
        }
    }
    placing.learned();
    let Waiting { file, hasher, hashes } = waiting;
    list.repeated = Repeated::among(hasher, hashes);
    let mut file = file.into_inner().map_err(|error| unusable(error.into_error()))?;
    file.rewind().map_err(unusable)?;
    let mut records = BufReader::with_capacity(BUFFER, file);
    while let Some((path, kind, size)) = read(&mut records).map_err(unusable)? {
        list.file(&path, kind, size, placing, only);
    }
    Ok(())
}

fn begin(list: &Lister, entry: &EntryRecord, only: &Only) -> Result<Reading, String> {
    if list.is_scheme(entry, only)? {
        return Ok(Reading::Scheme(entry.path.clone(), BytesMut::new()));
    }
    Ok(match database_member(&entry.path) {
        Some(DatabaseMember::Data { database: None, table }) if table == MIGRATIONS => {
            Reading::Migrations(BytesMut::new())
        }
        _ if entry.path == RESTORE_INFO => Reading::Info,
        _ => Reading::Nothing,
    })
}

/// What may be files, in a file without a name: the names of millions are too much for memory.
struct Waiting {
    file: BufWriter<File>,
    hasher: RandomState,
    hashes: Vec<u64>,
}

impl Waiting {
    fn new(temp_dir: &Path) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(temp_dir)?);
        Ok(Self { file, hasher: RandomState::new(), hashes: Vec::new() })
    }

    fn push(&mut self, path: &str, kind: EntryKind, size: u64) -> std::io::Result<()> {
        self.hashes.push(self.hasher.hash_one(path));
        self.file.write_all(&[u8::from(kind == EntryKind::Directory)])?;
        self.file.write_all(&size.to_le_bytes())?;
        self.file.write_all(&(path.len() as u32).to_le_bytes())?;
        self.file.write_all(path.as_bytes())
    }
}

/// The next record of what waits; None at the end.
fn read(records: &mut impl Read) -> std::io::Result<Option<(String, EntryKind, u64)>> {
    let mut head = [0; 13];
    match records.read_exact(&mut head) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [is_folder, rest @ ..] = head;
    let (size, length) = rest.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let mut path = vec![0; number(length) as usize];
    records.read_exact(&mut path)?;
    let path = String::from_utf8(path).map_err(std::io::Error::other)?;
    let kind = if is_folder == 1 { EntryKind::Directory } else { EntryKind::File };
    Ok(Some((path, kind, number(size))))
}

/// The newest migration among rows of DocSpace's list: their ids begin with 14 digits of time and `_`.
fn last_migration(rows: &[u8]) -> Option<String> {
    let rows = std::str::from_utf8(rows).ok()?;
    let is_id = |text: &&str| {
        text.split_once('_').is_some_and(|(time, _)| {
            time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    rows.split('\'').filter(is_id).max().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut waiting = Waiting::new(dir.path()).unwrap();
        waiting.push("storage/é", EntryKind::File, u64::MAX).unwrap();
        waiting.push("storage/d", EntryKind::Directory, 0).unwrap();
        let mut file = waiting.file.into_inner().unwrap();
        file.rewind().unwrap();
        let first = read(&mut file).unwrap().unwrap();
        assert_eq!(first, ("storage/é".to_owned(), EntryKind::File, u64::MAX));
        let second = read(&mut file).unwrap().unwrap();
        assert_eq!(second, ("storage/d".to_owned(), EntryKind::Directory, 0));
        assert_eq!(read(&mut file).unwrap(), None);
    }

    #[test]
    fn the_newest_migration_is_found() {
        let rows = b"REPLACE INTO `__EFMigrationsHistory` (`MigrationId`,`ProductVersion`) VALUES \n\
            ('20260601120000_MigrationContext_Upgrade42','10.0.0'),\n('20250101000000_First','9.0.0');\n";
        assert_eq!(last_migration(rows).unwrap(), "20260601120000_MigrationContext_Upgrade42");
        assert_eq!(last_migration(b"REPLACE INTO `t` VALUES ('a_b');"), None);
    }
}
