//! Where the content of an increment's entry lies.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::EntryRecord;

/// A part of an entry's content, written as `[archive, offset, length]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u64, u64)", into = "(u32, u64, u64)")]
pub struct Segment {
    /// 0: the archive itself; otherwise the place in [`crate::ManifestInfo::links`], counted from 1.
    pub archive: u32,
    /// In that archive's tar stream.
    pub offset: u64,
    /// Never 0.
    pub length: u64,
}

impl From<(u32, u64, u64)> for Segment {
    fn from((archive, offset, length): (u32, u64, u64)) -> Self {
        Self { archive, offset, length }
    }
}

impl From<Segment> for (u32, u64, u64) {
    fn from(segment: Segment) -> Self {
        (segment.archive, segment.offset, segment.length)
    }
}

impl EntryRecord {
    /// Where its content lies, seen from an increment whose first link is the archive of this entry.
    pub fn seen_from_child(&self) -> Vec<Segment> {
        self.located()
            .into_iter()
            .map(|segment| Segment { archive: segment.archive + 1, ..segment })
            .collect()
    }

    /// Where its content lies.
    pub(crate) fn located(&self) -> Vec<Segment> {
        if !self.segments.is_empty() || self.size == 0 {
            return self.segments.clone();
        }
        vec![Segment { archive: 0, offset: self.tar_offset, length: self.size }]
    }
}

/// Adds a segment to a list; neighbours become one.
pub fn append_segments(list: &mut Vec<Segment>, more: impl IntoIterator<Item = Segment>) {
    for next in more {
        match list.last_mut() {
            Some(last)
                if last.archive == next.archive
                    && last.offset.checked_add(last.length) == Some(next.offset) =>
            {
                last.length = last.length.saturating_add(next.length);
            }
            _ if next.length > 0 => list.push(next),
            _ => {}
        }
    }
}

/// The part `range` of the content that lies in `segments`, whose beginnings in the content are `starts`.
pub fn cut_segments(segments: &[Segment], starts: &[u64], range: Range<u64>) -> Vec<Segment> {
    let first = starts.partition_point(|start| *start <= range.start).saturating_sub(1);
    let mut cut = Vec::new();
    for (segment, start) in segments.iter().zip(starts).skip(first) {
        if *start >= range.end {
            break;
        }
        let from = range.start.max(*start);
        let to = range.end.min(start.saturating_add(segment.length));
        if from < to {
            let offset = segment.offset + (from - start);
            cut.push(Segment { offset, length: to - from, ..*segment });
        }
    }
    cut
}

/// Where each segment begins in the content.
pub fn starts(segments: &[Segment]) -> Vec<u64> {
    let mut at = 0_u64;
    let mut starts = Vec::with_capacity(segments.len());
    for segment in segments {
        starts.push(at);
        at = at.saturating_add(segment.length);
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_content_are_found() {
        let mut list = Vec::new();
        let parts = [(0, 10, 5), (0, 15, 5), (1, 20, 3), (0, 0, 0), (1, 30, 4)];
        append_segments(&mut list, parts.map(Segment::from));
        assert_eq!(list, [(0, 10, 10), (1, 20, 3), (1, 30, 4)].map(Segment::from));
        let starts = starts(&list);
        let cut = |range| cut_segments(&list, &starts, range);
        assert_eq!(cut(0..17), list);
        assert_eq!(cut(9..14), [(0, 19, 1), (1, 20, 3), (1, 30, 1)].map(Segment::from));
        assert_eq!(cut(10..11), [(1, 20, 1).into()]);
        assert_eq!(cut(5..5), []);
        assert_eq!(cut(17..20), []);
    }
}
