//! The archive's last bytes: an empty gzip member whose extra field says where the manifest is.

use libdeflater::Crc;

use crate::{Digest, Error, Result};

/// Bytes of the whole tail.
pub(crate) const LENGTH: usize = 110;
const MAGIC: &[u8; 8] = b"PBACKUP\x1a";
const VERSION: u32 = 1;

/// gzip: deflate, with an extra field, no time, system unknown; 88 bytes of extra field: the subfield `PB` of 84 bytes.
const BEFORE: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 88, 0, b'P', b'B', 84, 0];
/// An empty deflate block, and CRC-32 and length of nothing.
const AFTER: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Where the checksum is: it covers everything before it.
const CHECKSUM: usize = 96;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the manifest's first frame starts in the file; everything from there to the tail is the manifest's.
    pub(crate) offset: u64,
    /// Compressed bytes up to the tail.
    pub(crate) length: u64,
    /// Where the manifest's header starts in the tar stream.
    pub(crate) tar_offset: u64,
    /// The length of the whole tar stream.
    pub(crate) tar_bytes: u64,
    /// Of the manifest's compressed bytes.
    pub(crate) sha256: Digest,
}

impl Tail {
    pub(crate) fn to_bytes(&self) -> [u8; LENGTH] {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(&BEFORE);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.offset, self.length, self.tar_offset, self.tar_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.sha256.0);
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes.extend_from_slice(&AFTER);
        let mut tail = [0; LENGTH];
        tail.copy_from_slice(&bytes);
        tail
    }

    /// Reads a file's last bytes; `file` is the file's length. None: this is not an archive of ours.
    /// Errors when it was one, but is damaged.
    pub(crate) fn parse(bytes: &[u8; LENGTH], file: u64) -> Result<Option<Self>> {
        let has_start = bytes[..4] == BEFORE[..4] && bytes[10..16] == BEFORE[10..];
        // No single flipped byte can hide both.
        if !has_start && bytes[16..24] != *MAGIC {
            return Ok(None);
        }
        let damaged = || Error::damaged("its tail");
        let (covered, rest) = bytes.split_at(CHECKSUM);
        if rest[..4] != checksum(covered).to_le_bytes()
            || rest[4..] != AFTER
            || bytes[..16] != BEFORE
        {
            return Err(damaged());
        }
        let version = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        if bytes[16..24] != *MAGIC || bytes[28..32] != [0; 4] {
            return Err(damaged());
        }
        if version != VERSION {
            return Err(Error::NewerFormat(version));
        }
        let number = |index: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[32 + 8 * index..40 + 8 * index]);
            u64::from_le_bytes(number)
        };
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(&bytes[64..96]);
        let tail = Self {
            offset: number(0),
            length: number(1),
            tar_offset: number(2),
            tar_bytes: number(3),
            sha256: Digest(sha256),
        };
        let whole =
            tail.offset.checked_add(tail.length).and_then(|end| end.checked_add(LENGTH as u64));
        // Deflate gains at most a factor of 1032, which bounds every length that follows from these.
        let most = tail.length.saturating_mul(1032);
        let manifest = tail.tar_bytes.checked_sub(tail.tar_offset);
        if whole != Some(file)
            || manifest.is_none_or(|bytes| bytes > most || bytes % crate::BLOCK != 0)
        {
            return Err(Error::damaged("its length is not what its tail says"));
        }
        Ok(Some(tail))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn tail() -> Tail {
        Tail {
            offset: 1000,
            length: 500,
            tar_offset: 4096,
            tar_bytes: 8192,
            sha256: Digest([7; 32]),
        }
    }

    #[test]
    fn a_tail_is_an_empty_gzip_member_and_can_be_read_back() {
        let bytes = tail().to_bytes();
        let mut content = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(&bytes[..]);
        gzip.read_to_end(&mut content).unwrap();
        assert!(content.is_empty());
        assert_eq!(gzip.header().unwrap().extra().unwrap().len(), 88);
        assert_eq!(Tail::parse(&bytes, 1610).unwrap(), Some(tail()));
        assert_eq!(Tail::parse(&[0; LENGTH], 1610).unwrap(), None);
    }

    #[test]
    fn every_change_is_noticed() {
        let bytes = tail().to_bytes();
        for at in 0..LENGTH {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[at] ^= 1 << bit;
                assert!(Tail::parse(&changed, 1610).is_err(), "{at}");
            }
        }
        assert!(Tail::parse(&bytes, 1611).is_err());
        assert!(Tail::parse(&bytes, 0).is_err());
        let huge = Tail { offset: u64::MAX, ..tail() }.to_bytes();
        assert!(Tail::parse(&huge, 1610).is_err());
    }
}
