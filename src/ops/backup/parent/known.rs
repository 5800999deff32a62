//! The chunks of one entry that an archive has already.

use archive::{EntryRecord, Segment, cut_segments};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;

use crate::ops::backup::run::RunError;

/// Below this an archive lists the chunks of each entry that has several, under the entry's own name: for each its
/// digest (16 bytes) and its length (4), both little-endian.
pub const CHUNKS: &str = "extra/increment/chunks/";
const RECORD: usize = 20;

/// A chunk as that list has it.
pub fn record(digest: u128, length: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..16].copy_from_slice(&digest.to_le_bytes());
    record[16..].copy_from_slice(&length.to_le_bytes());
    record
}

/// Chunks by their digests: 32 bytes of memory each.
#[derive(Default)]
pub struct Known {
    /// Digest, place in the content, length; sorted.
    chunks: Vec<(u128, u64, u32)>,
    /// Where the content lies, seen from the increment.
    segments: Vec<Segment>,
    starts: Vec<u64>,
}

impl Known {
    /// `content`: of the list.
    pub(super) async fn read(
        mut content: BoxStream<'static, Result<Bytes, RunError>>,
        entry: &EntryRecord,
        list: &EntryRecord,
    ) -> Result<Self, RunError> {
        let segments = entry.seen_from_child();
        let starts = archive::starts(&segments);
        let mut chunks = Vec::with_capacity(list.size as usize / RECORD);
        let (mut place, mut carry) = (0_u64, Vec::new());
        while let Some(piece) = content.try_next().await? {
            carry.extend_from_slice(&piece);
            let mut records = carry.chunks_exact(RECORD);
            for record in &mut records {
                let (digest, length) = record.split_at(16);
                // Both have the length of their arrays.
                let digest = u128::from_le_bytes(digest.try_into().unwrap_or_default());
                let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
                chunks.push((digest, place, length));
                place = place.saturating_add(u64::from(length));
            }
            let rest = records.remainder().len();
            carry.drain(..carry.len() - rest);
        }
        if place != entry.size || !carry.is_empty() {
            return Err(RunError::Failed(format!("the parent's list {} is wrong", list.path)));
        }
        chunks.sort_unstable();
        Ok(Self { chunks, segments, starts })
    }

    /// Where a chunk lies; None: it is new.
    pub fn find(&self, digest: u128, length: u32) -> Option<Vec<Segment>> {
        let first = self.chunks.partition_point(|(known, ..)| *known < digest);
        let (known, place, known_length) = self.chunks.get(first)?;
        ((*known, *known_length) == (digest, length))
            .then(|| cut_segments(&self.segments, &self.starts, *place..place + u64::from(length)))
    }
}
