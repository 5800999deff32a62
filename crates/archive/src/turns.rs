//! Hashing pieces in order on several threads.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Lets the threads hash a spool's pieces in order. A piece is hashed by the thread that compresses it, first, and jobs
/// are started in order, so a thread waits at most for the hashing of pieces that are in other threads' hands.
#[derive(Default)]
pub(crate) struct Turns {
    state: Mutex<(u64, Sha256)>,
    next: Condvar,
}

impl Turns {
    /// The digest of the pieces so far.
    pub(crate) fn digest(&self) -> Sha256 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turn {
    /// `number`: how many pieces came before this one.
    pub(crate) fn new(turns: Arc<Turns>, number: u64) -> Self {
        Self { turns, number }
    }

    /// Waits for its turn and adds the piece.
    pub(crate) fn update(self, data: &[u8]) {
        let mut state = self.turns.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.0 != self.number {
            state = self.turns.next.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.1.update(data);
        state.0 += 1;
        self.turns.next.notify_all();
    }
}
