//! Connections to a server that several tasks take turns with.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// A connection that can become useless.
pub(super) trait Reader {
    /// What is said when a connection is gone.
    type Error;

    /// Whether a statement still runs on it, or was given up in the middle: nobody can use it again.
    fn is_busy(&self) -> bool;

    fn gone() -> Self::Error;
}

/// The connections of a snapshot.
pub(super) struct Readers<S: Reader> {
    idle: Mutex<Vec<S>>,
    free: Semaphore,
    alive: AtomicUsize,
    count: usize,
}

impl<S: Reader> Readers<S> {
    pub fn new(sessions: Vec<S>) -> Self {
        let count = sessions.len();
        Self {
            idle: Mutex::new(sessions),
            free: Semaphore::new(count),
            alive: AtomicUsize::new(count),
            count,
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits for a connection. `None`: all were lost.
    pub async fn take(&self) -> Option<Lease<'_, S>> {
        let permit = self.free.acquire().await.ok()?;
        let session = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Lease { session: Some(session), readers: self, permit: Some(permit) })
    }
}

/// A connection that somebody uses; it goes back when dropped.
pub(super) struct Lease<'a, S: Reader> {
    session: Option<S>,
    readers: &'a Readers<S>,
    permit: Option<SemaphorePermit<'a>>,
}

impl<S: Reader> Lease<'_, S> {
    pub fn session(&mut self) -> Result<&mut S, S::Error> {
        self.session.as_mut().ok_or_else(S::gone)
    }
}

impl<S: Reader> Drop for Lease<'_, S> {
    fn drop(&mut self) {
        match self.session.take() {
            Some(session) if !session.is_busy() => {
                self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            }
            // Its snapshot is gone with it and cannot be had again; the last one's waiters must not wait for ever.
            // Dropping the connection closes its socket, and the server ends the statement when it cannot write.
            _ => {
                if let Some(permit) = self.permit.take() {
                    permit.forget();
                }
                if self.readers.alive.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.readers.free.close();
                }
            }
        }
    }
}
