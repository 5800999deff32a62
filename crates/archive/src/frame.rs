//! A frame: up to 4 MiB of the tar stream as one gzip member that depends on no other.

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, Crc};

use crate::igzip::Igzip;
use crate::sample::{Class, Sampler};
use crate::{Compression, Digest};

/// The only header that our frames have: no name, no time, no flags. (A reader of DocSpace misreads header checksums.)
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// CRC-32 and length.
const TRAILER: usize = 8;
/// The shortest gzip member: header, an empty block, trailer.
pub(crate) const SHORTEST: u64 = 20;
const STORED_BLOCK: usize = 65_535;
/// How many places of a frame are looked at before it is compressed.
const SLICES: usize = 8;

/// A compressed frame.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) tar_length: u32,
    /// Of `bytes`.
    pub(crate) sha256: Digest,
}

/// Compresses frames; each thread of a pool has one, made when it is first needed.
pub(crate) struct Encoder {
    compression: Compression,
    tools: Option<(Gzip, Sampler)>,
    scratch: Vec<u8>,
}

/// What makes gzip members.
enum Gzip {
    Igzip(Igzip),
    Libdeflate(Compressor),
}

impl Gzip {
    /// None when nothing is to be compressed.
    fn new(compression: Compression) -> Option<Self> {
        let level = match compression {
            Compression::None => return None,
            Compression::Fast => match Igzip::new() {
                Some(igzip) => return Some(Self::Igzip(igzip)),
                None => 1,
            },
            Compression::Small => 6,
        };
        Some(Self::Libdeflate(Compressor::new(CompressionLvl::new(level).unwrap_or_default())))
    }

    /// The length of the member written to `out`; None when it does not fit.
    fn compress(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Igzip(igzip) => igzip.compress(raw, out),
            Self::Libdeflate(compressor) => compressor.gzip_compress(raw, out).ok(),
        }
    }
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, tools: None, scratch: Vec::new() }
    }

    /// Compresses `raw`, or stores it when that gains nothing.
    pub(crate) fn encode(&mut self, raw: &[u8]) -> Encoded {
        let bytes = match self.compress(raw) {
            Some(bytes) => bytes,
            None => store(raw),
        };
        let sha256 = Digest::of(&bytes);
        Encoded { bytes: bytes.into(), tar_length: raw.len() as u32, sha256 }
    }

    fn compress(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        if self.tools.is_none() {
            self.tools = Some((Gzip::new(self.compression)?, Sampler::new()));
        }
        let (gzip, sampler) = self.tools.as_mut()?;
        if sampler.class(raw, SLICES) == Class::Stored {
            return None;
        }
        // What does not fit here is stored.
        let most = stored_len(raw.len());
        if self.scratch.len() < most {
            self.scratch.resize(most, 0);
        }
        let length = gzip.compress(raw, &mut self.scratch[..most])?;
        let mut bytes = self.scratch[..length].to_vec();
        // Libraries note level and system in the header; ours is the same for every frame.
        bytes[..HEADER.len()].copy_from_slice(&HEADER);
        Some(bytes)
    }
}

fn stored_len(raw: usize) -> usize {
    HEADER.len() + 5 * raw.div_ceil(STORED_BLOCK).max(1) + raw + TRAILER
}

/// A gzip member of stored blocks.
fn store(raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored_len(raw.len()));
    bytes.extend_from_slice(&HEADER);
    let mut rest = raw;
    loop {
        let (block, after) = rest.split_at(rest.len().min(STORED_BLOCK));
        let length = block.len() as u16;
        bytes.push(u8::from(after.is_empty()));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&(!length).to_le_bytes());
        bytes.extend_from_slice(block);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let mut crc = Crc::new();
    crc.update(raw);
    bytes.extend_from_slice(&crc.sum().to_le_bytes());
    bytes.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::inflate::Inflater;

    fn check(compression: Compression, raw: &[u8]) -> usize {
        let length = check_encoder(Encoder::new(compression), raw);
        if compression == Compression::Fast {
            // The same where the system has no ISA-L.
            let level = CompressionLvl::new(1).unwrap();
            let tools = (Gzip::Libdeflate(Compressor::new(level)), Sampler::new());
            let encoder = Encoder { tools: Some(tools), ..Encoder::new(compression) };
            check_encoder(encoder, raw);
        }
        length
    }

    fn check_encoder(mut encoder: Encoder, raw: &[u8]) -> usize {
        let encoded = encoder.encode(raw);
        let mut by_flate2 = Vec::new();
        flate2::read::GzDecoder::new(&encoded.bytes[..]).read_to_end(&mut by_flate2).unwrap();
        assert!(by_flate2 == raw);
        let inflated = Inflater::new().unwrap().frame(&encoded.bytes, raw.len()).unwrap();
        assert!(inflated == raw);
        assert!(encoded.bytes.len() <= stored_len(raw.len()));
        assert_eq!(encoded.sha256, Digest::of(&encoded.bytes));
        assert_eq!(encoded.bytes[..10], HEADER);
        encoded.bytes.len()
    }

    #[test]
    fn frames_come_back_at_every_length() {
        for len in [0, 1, 511, 512, 65_534, 65_535, 65_536, 131_070, 131_071, 1 << 20, 4 << 20] {
            let text: Vec<u8> = (0..len).map(|n| b"abcdefgh"[(n / 7) % 8]).collect();
            let noise: Vec<u8> = (0..len as u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (n >> 8) as u8)
                .collect();
            for compression in [Compression::None, Compression::Fast, Compression::Small] {
                check(compression, &text);
                check(compression, &noise);
            }
        }
        let zeros = vec![0; 4 << 20];
        assert!(check(Compression::Fast, &zeros) < 30_000);
        assert!(check(Compression::None, &zeros) > 4 << 20);
    }
}
