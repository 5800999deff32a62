//! How the memory of one writer is shared out.
//!
//! Everything is bounded by one number, and nothing may wait for memory that only its own caller could free. So there
//! are separate shares:
//! - `window`: the writer's own frames, from being filled to being sent. Only the writer waits for it, and it is freed
//!   by the threads and the sink alone.
//! - `filling`: what spools are being fed. Nobody waits for it: a spool that gets nothing makes a short frame.
//! - `kept`: compressed frames in spools. Nobody waits for it: what does not fit goes to a file.
//! - `hashing`: content handed to the hashing thread. Freed by that thread alone.
//!
//! The rest is for what the threads have in their hands, and for a few empty buffers kept for use again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::MAX_FRAME;

/// Smaller frames would compress badly and fill the manifest.
const MIN_FRAME: usize = 64 << 10;
/// Empty buffers kept.
const SPARE: usize = 2;

#[derive(Debug)]
pub(crate) struct Budget {
    /// The most tar bytes in a frame of the writer.
    pub(crate) frame: usize,
    /// The most bytes in a frame of a spool. Smaller, because many spools are filled at once.
    pub(crate) spool_frame: usize,
    pub(crate) window: Arc<Semaphore>,
    pub(crate) filling: Arc<Semaphore>,
    pub(crate) kept: Arc<Semaphore>,
    pub(crate) hashing: Arc<Semaphore>,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Budget {
    /// `memory` in bytes. The least that works is 16 frames of 64 KiB and 4 more for each worker; less is taken as that.
    pub(crate) fn new(memory: usize, workers: usize) -> Self {
        let parts = 16 + 4 * workers;
        let frame = (memory / parts).clamp(MIN_FRAME, MAX_FRAME);
        // A power of two cuts files of usual sizes evenly.
        let frame = 1 << frame.ilog2();
        let part = (memory / parts).max(frame);
        let share =
            |parts: usize| Arc::new(Semaphore::new((part * parts).min(Semaphore::MAX_PERMITS)));
        // A thread compressing a frame holds two more parts: room for the result, and the result. With two spare buffers
        // the shares add up to all parts.
        Self {
            frame,
            spool_frame: (frame / 4).max(MIN_FRAME),
            window: share(5 + workers),
            filling: share(3 + workers / 2),
            kept: share(5 + workers.div_ceil(2) - 1),
            hashing: share(2),
            spare: Mutex::new(Vec::new()),
        }
    }

    /// An empty buffer that holds a frame.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(self.frame))
    }

    /// Takes back a buffer that is done with.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE && buffer.capacity() >= self.frame {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up() {
        for workers in [1, 2, 3, 4, 8, 16, 64] {
            for memory in [0, 1 << 20, 16 << 20, 96 << 20, 4 << 30] {
                let budget = Budget::new(memory, workers);
                let shares: usize =
                    [&budget.window, &budget.filling, &budget.kept, &budget.hashing]
                        .iter()
                        .map(|share| share.available_permits())
                        .sum();
                let in_hands = (2 * workers + SPARE) * budget.frame;
                let least = (16 + 4 * workers) * MIN_FRAME;
                assert!(shares + in_hands <= memory.max(least), "{memory} {workers}");
                assert!(budget.window.available_permits() >= 4 * budget.frame);
            }
        }
        assert_eq!(Budget::new(96 << 20, 2).frame, 4 << 20);
        assert_eq!(Budget::new(16 << 20, 2).frame, 512 << 10);
    }
}
