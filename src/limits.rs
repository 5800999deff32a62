//! `[limits]`: how fast this process may move bytes, all its jobs together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::{ByteSize, LimitsConfig};

/// What is counted together: single bytes would be too many for the limiter's clock.
const CELL: u64 = 1024;

/// The limits of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Archives on their way to storages, and files that a restore or a copy of an index puts into buckets.
    pub upload: Rate,
    /// The portal's files, its index when it is copied, and archives, whatever they are read for but a download.
    pub read: Rate,
    /// What databases give.
    pub database: Rate,
}

impl Limits {
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            upload: Rate::new(config.upload),
            read: Rate::new(config.read),
            database: Rate::new(config.database_read),
        }
    }
}

/// So many bytes a second, or as many as there are.
#[derive(Debug, Clone, Default)]
pub struct Rate(Option<Arc<Limiter>>);

#[derive(Debug)]
struct Limiter {
    limiter: DefaultDirectRateLimiter,
    /// How many cells one wait may be for.
    burst: u32,
    /// Bytes taken that do not fill a cell yet.
    rest: AtomicU64,
}

impl Rate {
    /// None: no limit.
    pub fn new(bytes_per_second: Option<ByteSize>) -> Self {
        let Some(ByteSize(bytes)) = bytes_per_second else { return Self(None) };
        let cells = u32::try_from(bytes / CELL).unwrap_or(u32::MAX);
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN);
        // Half a second's: what a busy machine could not use is made up for, and lines hardly notice.
        let burst = NonZeroU32::new(cells.get() / 2).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(cells).allow_burst(burst);
        let limiter = RateLimiter::direct(quota);
        Self(Some(Arc::new(Limiter { limiter, burst: burst.get(), rest: AtomicU64::new(0) })))
    }

    /// A stream of pieces that come no faster.
    pub fn slow<E: Send + 'static>(
        &self,
        pieces: BoxStream<'static, Result<Bytes, E>>,
    ) -> BoxStream<'static, Result<Bytes, E>> {
        if self.0.is_none() {
            return pieces;
        }
        let rate = self.clone();
        let slowed = pieces.and_then(move |piece| {
            let rate = rate.clone();
            async move {
                rate.take(piece.len()).await;
                Ok(piece)
            }
        });
        slowed.boxed()
    }

    /// Waits until so many more bytes may pass.
    pub async fn take(&self, bytes: usize) {
        let Some(limiter) = &self.0 else { return };
        let before = limiter.rest.fetch_add(bytes as u64, Ordering::Relaxed);
        // Whoever fills a cell waits for it.
        let mut cells = (before + bytes as u64) / CELL - before / CELL;
        while let Some(step) = NonZeroU32::new(cells.min(u64::from(limiter.burst)) as u32) {
            // It fails only for more than a burst.
            let _ = limiter.limiter.until_n_ready(step).await;
            cells -= u64::from(step.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_rate_is_kept_whatever_the_pieces() {
        for (rate, pieces) in [
            (8 << 20, vec![1 << 20; 20]),
            (8 << 20, vec![700; 30_000]),
            (64 << 10, vec![10_000; 17]),
            (300 << 20, vec![4 << 20; 180]),
        ] {
            let limit = Rate::new(Some(ByteSize(rate)));
            let total: usize = pieces.iter().sum();
            let begun = Instant::now();
            for piece in pieces {
                limit.take(piece).await;
            }
            // Half a second's worth is there at the start.
            let expected = total as f64 / rate as f64 - 0.5;
            let taken = begun.elapsed().as_secs_f64();
            assert!((taken / expected - 1.0).abs() < 0.15, "{rate}: {taken} s for {expected} s");
        }
        let begun = Instant::now();
        Rate::default().take(usize::MAX).await;
        assert!(begun.elapsed().as_millis() < 100);
    }

    #[tokio::test]
    async fn tasks_share_a_rate() {
        let limit = Rate::new(Some(ByteSize(10 << 20)));
        let begun = Instant::now();
        let take = async || {
            for _ in 0..10 {
                limit.take(512 << 10).await;
            }
        };
        futures::join!(take(), take(), take());
        let taken = begun.elapsed().as_secs_f64();
        assert!((0.85..1.2).contains(&taken), "{taken} s");
    }
}
