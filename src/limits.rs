//! `[limits]`: how fast this process may move bytes, all its jobs together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::config::{ByteSize, LimitsConfig};

/// What is counted together: single bytes would be too many for a clock.
const CELL: u64 = 1024;
/// How many turns a second there are at least.
const TURNS: u64 = 64;
/// How much of what was not used is made up for: what a busy machine could not use; lines hardly notice.
const BURST: Duration = Duration::from_millis(500);

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
    /// When the next cell is free.
    free: Mutex<Instant>,
    cells_per_second: u64,
    /// How many cells one turn is for: whoever wants more queues again, so that all get alike.
    step: u64,
    /// Bytes taken that do not fill a cell yet.
    rest: AtomicU64,
}

impl Limiter {
    /// Reserves so many cells; returns when they may be used. Nothing is held meanwhile: whoever waits may be left
    /// alone by its task for long, and must keep no other from its turn.
    fn reserve(&self, cells: u64) -> Instant {
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Duration::from_secs_f64(cells as f64 / self.cells_per_second as f64);
        *free = (*free).max(earliest) + time;
        *free
    }
}

impl Rate {
    /// None: no limit.
    pub fn new(bytes_per_second: Option<ByteSize>) -> Self {
        let Some(ByteSize(bytes)) = bytes_per_second else { return Self(None) };
        let cells_per_second = (bytes / CELL).max(1);
        let now = Instant::now();
        Self(Some(Arc::new(Limiter {
            free: Mutex::new(now.checked_sub(BURST).unwrap_or(now)),
            cells_per_second,
            step: (cells_per_second / TURNS).max(1),
            rest: AtomicU64::new(0),
        })))
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
        while cells > 0 {
            let step = cells.min(limiter.step);
            tokio::time::sleep_until(limiter.reserve(step)).await;
            cells -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

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

    /// A backup of many small files beside a verification, which reads frames of 4 MiB.
    #[tokio::test]
    async fn who_takes_much_gets_as_much_as_who_takes_little() {
        let limit = Rate::new(Some(ByteSize(6 << 20)));
        let until = Instant::now() + Duration::from_secs(4);
        let take = async |piece: usize| {
            let mut taken = 0;
            while Instant::now() < until {
                limit.take(piece).await;
                taken += piece;
            }
            taken
        };
        let (large, small, other) = futures::join!(take(4 << 20), take(64 << 10), take(64 << 10));
        // Two of its pieces are a third of it.
        assert!(large >= 8 << 20, "{large} {small} {other}");
        assert!(small.min(other) >= 5 << 20, "{large} {small} {other}");
    }

    /// Streams read ahead, and leave what they have begun alone while something else is done.
    #[tokio::test]
    async fn who_is_left_alone_holds_up_nobody() {
        let limit = Rate::new(Some(ByteSize(1 << 20)));
        limit.take(512 << 10).await;
        let mut left = [Box::pin(limit.take(64 << 10)), Box::pin(limit.take(64 << 10))];
        assert!(left.iter_mut().all(|take| take.now_or_never().is_none()));
        let next = tokio::time::timeout(Duration::from_secs(5), limit.take(64 << 10));
        assert!(next.await.is_ok());
        futures::future::join_all(left).await;
    }
}
