//! Whether content is worth compressing, judged from a few small pieces of it.

use libdeflater::{CompressionLvl, Compressor};

/// Content of one class may share a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Compressible,
    Stored,
}

const SLICE: usize = 4 << 10;
/// A frame that would keep more than this share of its size is stored: what little is gained costs too much time, both
/// now and at each reading.
const WORTH: f64 = 0.94;

/// So many bytes show how even their distribution is.
const JUDGED: usize = 1 << 10;

pub(crate) struct Sampler {
    compressor: Compressor,
    out: Vec<u8>,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        let level = CompressionLvl::new(1).unwrap_or_default();
        let mut compressor = Compressor::new(level);
        let out = vec![0; compressor.deflate_compress_bound(SLICE)];
        Self { compressor, out }
    }

    /// Judges from at most `slices` pieces of 4 KiB, spread evenly.
    pub(crate) fn class(&mut self, data: &[u8], slices: usize) -> Class {
        // The start of a file is its least typical part, so one slice is taken from the middle of each share.
        let slices = slices.min(data.len() / (2 * SLICE)).max(1);
        let share = data.len() / slices;
        let (mut before, mut after) = (0, 0);
        for index in 0..slices {
            let start = index * share + share.saturating_sub(SLICE) / 2;
            let slice = &data[start..data.len().min(start + SLICE)];
            before += slice.len();
            after += self.size(slice);
        }
        if after as f64 >= before as f64 * WORTH { Class::Stored } else { Class::Compressible }
    }

    fn size(&mut self, slice: &[u8]) -> usize {
        if entropy_is_low(slice) {
            // Most texts end here: an eighth of the time of compressing them.
            return slice.len() / 2;
        }
        self.compressor.deflate_compress(slice, &mut self.out).unwrap_or(slice.len())
    }
}

/// Whether the bytes alone, whatever their order, show that Huffman coding must gain: the chance that two of them are
/// equal is 1/256 for random ones and over 1/40 for every kind of text.
fn entropy_is_low(slice: &[u8]) -> bool {
    if slice.len() < 256 {
        return false;
    }
    let slice = &slice[..slice.len().min(JUDGED)];
    let mut counts = [0_u32; 256];
    for &byte in slice {
        counts[usize::from(byte)] += 1;
    }
    let pairs: u64 =
        counts.iter().map(|&count| u64::from(count) * u64::from(count.saturating_sub(1))).sum();
    pairs * 64 > slice.len() as u64 * (slice.len() as u64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not compress, the same at each run.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    }

    #[test]
    fn noise_is_stored_and_text_is_not() {
        let mut sampler = Sampler::new();
        let text = b"(1,'some name','2024-01-01 00:00:00',NULL),\n".repeat(30_000);
        for len in [300, 4096, 10_000, 300_000, 1 << 20] {
            assert_eq!(sampler.class(&noise(len), 8), Class::Stored, "{len}");
            assert_eq!(sampler.class(&text[..len], 8), Class::Compressible, "{len}");
        }
        assert_eq!(sampler.class(&[], 8), Class::Stored);
        assert_eq!(sampler.class(&[7], 8), Class::Stored);
        assert_eq!(sampler.class(&vec![0; 1 << 20], 8), Class::Compressible);
    }

    #[test]
    fn base64_compresses_and_repeated_noise_too() {
        let mut sampler = Sampler::new();
        let base64: Vec<u8> = noise(100_000)
            .iter()
            .map(|b| {
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                    [usize::from(b & 63)]
            })
            .collect();
        assert_eq!(sampler.class(&base64, 8), Class::Compressible);
        assert_eq!(sampler.class(&noise(512).repeat(1000), 8), Class::Compressible);
    }
}
