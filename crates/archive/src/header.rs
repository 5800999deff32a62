//! Tar header blocks: GNU ones are written, and whatever is around is read.

use tar::{EntryType, Header};

use crate::{BLOCK, EntryKind, Error, Result, padding};

pub(crate) type Block = [u8; BLOCK as usize];

/// The name field of a GNU header.
const NAME: usize = 100;
/// The most bytes of a name that stands before its header, in archives that others wrote.
pub(crate) const MAX_LONG_NAME: u64 = 1 << 20;

/// The blocks that announce an entry: one, or three and more when the name is longer than 100 bytes.
pub(crate) fn build(path: &str, kind: EntryKind, size: u64, mtime: i64) -> Result<Vec<u8>> {
    let directory = kind == EntryKind::Directory;
    let name = if directory { format!("{path}/") } else { path.to_owned() };
    let mut blocks = Vec::with_capacity(BLOCK as usize);
    let mut short = name.len().min(NAME);
    if name.len() > NAME {
        let mut long = Header::new_gnu();
        put_name(&mut long, b"././@LongLink")?;
        long.set_entry_type(EntryType::GNULongName);
        let length = name.len() as u64 + 1;
        finish(&mut long, length, 0, 0o644, &mut blocks);
        blocks.extend_from_slice(name.as_bytes());
        blocks.resize(blocks.len() + 1 + padding(length) as usize, 0);
        while !name.is_char_boundary(short) {
            short -= 1;
        }
    }
    let mut header = Header::new_gnu();
    put_name(&mut header, &name.as_bytes()[..short])?;
    header.set_entry_type(if directory { EntryType::Directory } else { EntryType::Regular });
    let mode = if directory { 0o755 } else { 0o644 };
    finish(&mut header, size, mtime.max(0) as u64, mode, &mut blocks);
    Ok(blocks)
}

fn put_name(header: &mut Header, name: &[u8]) -> Result<()> {
    let fields = header.as_gnu_mut().ok_or(Error::TooLarge("a name"))?;
    fields.name[..name.len()].copy_from_slice(name);
    Ok(())
}

fn finish(header: &mut Header, size: u64, mtime: u64, mode: u32, blocks: &mut Vec<u8>) {
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
}

/// What a header block announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// The content is the next entry's name.
    LongName,
    /// The content is records, of which `path` is the next entry's name.
    Pax,
    /// Content that says nothing about where something goes.
    Skipped,
    HardLink,
    SymLink,
    /// Devices, pipes and what else has no content.
    Special,
    /// Content whose meaning is not known.
    Unknown(u8),
}

#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    /// Bytes of content that follow.
    pub(crate) size: u64,
    pub(crate) mtime: i64,
}

/// Whether this is a header block, as its checksum says.
pub(crate) fn is_header(block: &Block) -> bool {
    let sum: u32 =
        block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    Header::from_byte_slice(block).cksum().ok() == Some(sum)
}

/// Reads a header block that is not all zeros. Errors with what is wrong about it.
pub(crate) fn parse(block: &Block) -> Result<Announced, &'static str> {
    if !is_header(block) {
        return Err("a tar header has a wrong checksum");
    }
    let header = Header::from_byte_slice(block);
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::GNULongName => Kind::LongName,
        EntryType::XHeader => Kind::Pax,
        EntryType::XGlobalHeader | EntryType::GNULongLink => Kind::Skipped,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::SymLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        other if other.as_byte() == b'V' => Kind::Skipped,
        other => Kind::Unknown(other.as_byte()),
    };
    // A hard link may say how long its target is; nothing of it follows.
    let size = if kind == Kind::HardLink { 0 } else { size(block)? };
    if size > 0 && matches!(kind, Kind::Directory | Kind::SymLink | Kind::Special) {
        return Err("something without content announces some");
    }
    // An odd time is no reason to refuse anything.
    let mtime = header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
    let name = header.path_bytes().into_owned();
    // Very old archives, where files are of kind 0 and not of kind `0`, mark directories by their names alone.
    let old = block[156] == 0 && size == 0 && name.ends_with(b"/");
    let kind = if kind == Kind::File && old { Kind::Directory } else { kind };
    Ok(Announced { kind, name, size, mtime })
}

/// The size field: octal, or base-256 with the first bit set. The `tar` crate takes the last eight bytes of the latter
/// and ignores the others, which would let two readers see two sizes.
fn size(block: &Block) -> Result<u64, &'static str> {
    let field = &block[124..136];
    let size = if field[0] & 0x80 == 0 {
        Header::from_byte_slice(block).entry_size().map_err(|_| "a tar header has no size")?
    } else if field[0] == 0x80 && field[1..4] == [0; 3] {
        field[4..].iter().fold(0, |size, &byte| size << 8 | u64::from(byte))
    } else {
        return Err("a tar header has an impossible size");
    };
    // So that positions can be added without a second thought.
    if size > i64::MAX as u64 / 4 { Err("a tar header has an impossible size") } else { Ok(size) }
}

/// The value of `path` among PAX records (`length key=value\n`). Errors when they are malformed, or announce a size
/// other than `size`: readers differ in which one they follow.
pub(crate) fn pax_path(records: &[u8]) -> Result<(Option<Vec<u8>>, Option<u64>), &'static str> {
    let wrong = "a PAX header is malformed";
    let (mut path, mut size) = (None, None);
    let mut rest = records;
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ').ok_or(wrong)?;
        let length: usize = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(wrong)?;
        let record = rest
            .get(space + 1..length)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or(wrong)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or(wrong)?;
        let value = &record[equals + 1..];
        match &record[..equals] {
            b"path" => path = Some(value.to_vec()),
            b"size" => {
                let text = std::str::from_utf8(value).map_err(|_| wrong)?;
                size = Some(text.parse().map_err(|_| wrong)?);
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok((path, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(bytes: &[u8]) -> Vec<Block> {
        assert_eq!(bytes.len() % 512, 0);
        bytes.chunks(512).map(|block| block.try_into().unwrap()).collect()
    }

    #[test]
    fn short_names_take_one_block() {
        let name = "a".repeat(100);
        let built = blocks(&build(&name, EntryKind::File, 5, 77).unwrap());
        assert_eq!(built.len(), 1);
        let read = parse(&built[0]).unwrap();
        assert_eq!((read.kind, read.size, read.mtime), (Kind::File, 5, 77));
        assert_eq!(read.name, name.as_bytes());
    }

    #[test]
    fn long_names_come_before_and_are_cut_between_characters() {
        let name = format!("{}é{}", "a".repeat(99), "b".repeat(400));
        let built = blocks(&build(&name, EntryKind::File, 0, -5).unwrap());
        assert_eq!(built.len(), 3);
        let long = parse(&built[0]).unwrap();
        assert_eq!((long.kind, long.size), (Kind::LongName, name.len() as u64 + 1));
        assert_eq!(built[1][..name.len()], *name.as_bytes());
        let read = parse(&built[2]).unwrap();
        assert_eq!((read.name.len(), read.mtime), (99, 0));
    }

    #[test]
    fn huge_sizes_are_base_256() {
        let size = 9 << 30;
        let built = blocks(&build("big", EntryKind::Data, size, 0).unwrap());
        assert_eq!(built[0][124], 0x80);
        assert_eq!(parse(&built[0]).unwrap().size, size);
    }

    fn with(change: impl Fn(&mut Block)) -> Block {
        let mut block = blocks(&build("x", EntryKind::File, 9 << 30, 0).unwrap())[0];
        change(&mut block);
        let mut header = Header::from_byte_slice(&block).clone();
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn impossible_headers_are_refused() {
        assert!(parse(&with(|_| {})).is_ok());
        assert!(parse(&with(|block| block[125] = 1)).is_err());
        assert!(parse(&with(|block| block[124] = 0xff)).is_err());
        assert!(parse(&with(|block| block[128] = 0xff)).is_err());
        assert!(parse(&with(|block| block[124..136].fill(b'z'))).is_err());
        assert!(parse(&with(|block| block[156] = b'5')).is_err());
        assert_eq!(parse(&with(|block| block[156] = b'1')).unwrap().size, 0);
        assert_eq!(parse(&with(|block| block[156] = b'S')).unwrap().kind, Kind::Unknown(b'S'));
        let mut flipped = with(|_| {});
        flipped[0] ^= 1;
        assert!(parse(&flipped).is_err());
    }

    #[test]
    fn pax_records() {
        let path = |records: &[u8]| pax_path(records);
        assert_eq!(path(b"12 path=a/b\n"), Ok((Some(b"a/b".to_vec()), None)));
        assert_eq!(path(b"6 a=b\n9 size=7\n"), Ok((None, Some(7))));
        assert_eq!(path(b""), Ok((None, None)));
        for wrong in [
            &b"5"[..],
            b"x path=a\n",
            b"99 path=a\n",
            b"0 path=a\n",
            b"1 path=a\n",
            b"6 path\n",
            b"9 size=x\n",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }
}
