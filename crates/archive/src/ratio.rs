//! How much smaller content becomes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::MAX_FRAME;

/// What was compressed so far, and what it became. What is still to come is taken to become as small.
#[derive(Debug, Default)]
pub struct Ratio {
    content: AtomicU64,
    written: AtomicU64,
}

impl Ratio {
    /// Notes what some content became.
    pub fn add(&self, content: u64, written: u64) {
        self.content.fetch_add(content, Ordering::Relaxed);
        self.written.fetch_add(written, Ordering::Relaxed);
    }

    /// About how long an archive of so much content is. Before anything is known, two thirds: that is what office
    /// portals compress to.
    pub fn of(&self, content: u64) -> u64 {
        let guessed = MAX_FRAME as f64;
        let before = self.content.load(Ordering::Relaxed) as f64 + guessed;
        let after = self.written.load(Ordering::Relaxed) as f64 + guessed / 3.0 * 2.0;
        (content as f64 * (after / before)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_outweighs_the_guess() {
        let ratio = Ratio::default();
        let all = 1000 << 20;
        assert_eq!(ratio.of(all) >> 20, 666);
        ratio.add(all, all / 10);
        assert!((100..110).contains(&(ratio.of(all) >> 20)));
        ratio.add(9 * all, 0);
        assert!((10..12).contains(&(ratio.of(all) >> 20)));
    }
}
