//! Comparing what a storage holds with what was sent to it.

use futures::{StreamExt, TryStreamExt, stream};
use twox_hash::XxHash3_128;

use crate::jobs::Progress;
use crate::limits::Rate;
use crate::storage::Storage;

/// What has a checksum of its own, in bytes: parts are read back side by side, and no archive has many.
const BLOCK: u64 = 2 << 20;
/// How many blocks one request reads back: few enough that a slow line is done before the request's time is over.
const ASKED: usize = 4;
/// How many requests are under way at once.
const AT_ONCE: usize = 2;

/// Checksums of an archive's bytes. They find accidents, at memory speed; what guards against malice is the
/// SHA-256 that the catalog keeps.
#[derive(Default)]
pub struct Fingerprint {
    /// Of the whole blocks.
    blocks: Vec<u128>,
    /// Of the block begun.
    open: XxHash3_128,
    bytes: u64,
}

impl Fingerprint {
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let room = BLOCK - self.bytes % BLOCK;
            let length = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, later) = piece.split_at(length);
            self.open.write(now);
            self.bytes += now.len() as u64;
            piece = later;
            if self.bytes.is_multiple_of(BLOCK) {
                self.blocks.push(std::mem::take(&mut self.open).finish_128());
            }
        }
    }

    /// Where each block begins, and its checksum.
    fn blocks(&self) -> impl Iterator<Item = (u64, u128)> {
        let last = (!self.bytes.is_multiple_of(BLOCK)).then(|| self.open.finish_128());
        (0..).step_by(BLOCK as usize).zip(self.blocks.iter().copied().chain(last))
    }
}

/// Reads an archive that was just stored, all of its bytes, and compares it with what was sent.
pub async fn read_back(
    storage: &Storage,
    name: &str,
    sent: &Fingerprint,
    progress: &Progress,
    limit: &Rate,
) -> Result<(), String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("reading the archive back failed: {error}");
    let size = storage.size(name).await.map_err(|error| failed(&error))?;
    if size != Some(sent.bytes) {
        return Err(match size {
            Some(size) => {
                format!("the storage holds {size} bytes of the {} that were sent", sent.bytes)
            }
            None => "the storage does not have the archive that it took".to_owned(),
        });
    }
    let object = storage.open(name).await.map_err(|error| failed(&error))?;
    let expected: Vec<u128> = sent.blocks().map(|(_, checksum)| checksum).collect();
    let asked: Vec<_> = expected.chunks(ASKED).map(<[u128]>::to_vec).collect();
    let checks = asked.into_iter().zip((0..).step_by(ASKED * BLOCK as usize));
    let checks = checks.map(|(expected, start)| {
        let object = object.clone();
        async move {
            let range = start..(start + expected.len() as u64 * BLOCK).min(sent.bytes);
            limit.take((range.end - range.start) as usize).await;
            let mut found = Fingerprint::default();
            let mut pieces = object.pieces(range).await.map_err(|error| failed(&error))?;
            while let Some(piece) = pieces.try_next().await.map_err(|error| failed(&error))? {
                found.update(&piece);
                progress.add(piece.len() as u64);
            }
            match found.blocks().map(|(_, checksum)| checksum).eq(expected) {
                true => Ok(()),
                false => Err("the storage gives back other bytes than were sent".to_owned()),
            }
        }
    });
    stream::iter(checks).buffer_unordered(AT_ONCE).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_do_not_depend_on_how_the_bytes_came() {
        let bytes: Vec<u8> = (0..2 * BLOCK as u32 + 12_345).map(|n| (n / 7) as u8).collect();
        for length in [bytes.len(), 2 * BLOCK as usize, 1, 0] {
            let bytes = &bytes[..length];
            let mut whole = Fingerprint::default();
            whole.update(bytes);
            let mut pieces = Fingerprint::default();
            bytes.chunks(1_000_003).for_each(|piece| pieces.update(piece));
            let expected: Vec<_> = bytes
                .chunks(BLOCK as usize)
                .enumerate()
                .map(|(number, block)| (number as u64 * BLOCK, XxHash3_128::oneshot(block)))
                .collect();
            assert_eq!(whole.blocks().collect::<Vec<_>>(), expected);
            assert_eq!(pieces.blocks().collect::<Vec<_>>(), expected);
        }
    }
}
