//! How large the parts of a multipart upload are.

const MIB: u64 = 1 << 20;
/// Below this, requests cost more than they save.
const SMALLEST: u64 = 8 * MIB;
/// S3 takes no part (but the last) below this.
const LEAST: u64 = 5 * MIB;
/// S3 takes no larger part; https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const LARGEST: u64 = 5 << 30;
/// More parts at once than this gain nothing where one connection fills a line.
const MOST_AT_ONCE: usize = 4;
/// Of so few parts the last quarter is too few to make up for anything.
const FEW: u64 = 8;

/// Equal parts for an upload of about the expected size, because some providers (R2) insist on equal
/// ones. Only when three quarters of all parts are used, and the estimate was therefore far too low,
/// they grow: an upload never fails because its size was guessed wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartPlan {
    size: u64,
    max_parts: u64,
    memory: u64,
}

impl PartPlan {
    /// `memory`: what the part being collected and those on their way may hold together. It yields to
    /// the limit of parts: an upload too large for it takes more memory, rather than fail.
    pub(super) fn new(expected: u64, memory: usize, max_parts: u64) -> Self {
        let max_parts = max_parts.max(1);
        let memory = memory as u64;
        // Two parts at least: one is collected while the other travels.
        let affordable = (memory / 2).max(LEAST);
        let comfortable = expected.saturating_add(expected / 2).div_ceil(max_parts);
        // Few parts never grow, so there must be room for what was not expected.
        let room = if max_parts <= FEW { expected / 5 * 3 } else { expected / 16 };
        let needed = expected.saturating_add(room).div_ceil(max_parts);
        let size = comfortable.max(SMALLEST).min(affordable).max(needed);
        Self { size: size.next_multiple_of(MIB).clamp(LEAST, LARGEST), max_parts, memory }
    }

    /// The size of part `index`, counted from 0. None when the provider takes no more parts.
    pub(super) fn size(&self, index: usize) -> Option<u64> {
        let left = self.max_parts.checked_sub(index as u64).filter(|left| *left > 0)?;
        let mut size = self.size;
        // Every time that the remaining quarter is halved, parts are four times as large.
        let mut share = 4;
        while self.max_parts > FEW && left.saturating_mul(share) <= self.max_parts && size < LARGEST
        {
            size = size.saturating_mul(4);
            share *= 2;
        }
        Some(size.min(LARGEST))
    }

    /// Whether one more part of `next` bytes may be collected while `flying` parts of together
    /// `flying_bytes` are on their way.
    pub(super) fn has_room(&self, flying: usize, flying_bytes: u64, next: u64) -> bool {
        flying == 0 || (flying < MOST_AT_ONCE && flying_bytes.saturating_add(next) <= self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn parts_are_equal_as_long_as_the_estimate_holds() {
        for expected in [0, 1, 100 * MIB, 5 * GIB, 60 * GIB, 1000 * GIB] {
            let plan = PartPlan::new(expected, 512 << 20, 10_000);
            let first = plan.size(0).unwrap();
            let parts = expected.div_ceil(first);
            assert!(parts <= 7_500, "{expected}: {parts} parts of {first}");
            assert_eq!(plan.size(parts as usize), Some(first), "{expected}");
            assert!(first >= SMALLEST);
        }
    }

    #[test]
    fn memory_bounds_the_parts() {
        let plan = PartPlan::new(60 * GIB, 32 << 20, 10_000);
        assert!(plan.size(0).unwrap() * 2 <= 32 << 20);
        let size = plan.size(0).unwrap();
        let mut flying = 0;
        while plan.has_room(flying, flying as u64 * size, size) {
            flying += 1;
        }
        assert!(flying > 1 && flying as u64 * size <= 32 << 20, "{flying} of {size}");
        let little = PartPlan::new(0, 1 << 20, 10_000);
        assert_eq!(little.size(0), Some(LEAST));
        assert!(little.has_room(0, 0, LEAST) && !little.has_room(1, LEAST, LEAST));
    }

    #[test]
    fn the_limit_of_parts_comes_before_memory() {
        let plan = PartPlan::new(1000 * GIB, 32 << 20, 1_000);
        assert!(plan.size(0).unwrap() * 1_000 >= 1000 * GIB);
    }

    #[test]
    fn few_parts_have_room_for_half_as_much_again() {
        for max_parts in [1, 2, 4, 8] {
            let plan = PartPlan::new(GIB, 64 << 20, max_parts);
            let total: u64 = (0..max_parts as usize).filter_map(|i| plan.size(i)).sum();
            assert!(total >= GIB + GIB / 2, "{max_parts}: {total}");
        }
    }

    #[test]
    fn a_wrong_estimate_never_ends_an_upload() {
        for (expected, max_parts) in [(0, 10_000), (0, 1_000), (10 * GIB, 1_000)] {
            let plan = PartPlan::new(expected, 64 << 20, max_parts);
            let total: u64 = (0..max_parts as usize).filter_map(|i| plan.size(i)).sum();
            let planned = expected.max(max_parts * SMALLEST);
            assert!(total > 10 * planned, "{expected} {max_parts}: {total}");
            assert_eq!(plan.size(max_parts as usize), None);
        }
    }
}
