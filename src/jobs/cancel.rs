//! Telling a running job to stop, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::JobFailure;

/// Why a job must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// Somebody asked for it.
    User,
    /// The service stops; the job will be run again by its next start.
    Shutdown,
    /// Another worker may have taken the job over: write nothing more, clean nothing.
    Lost,
}

/// The signal; clones are the same one. Handlers look at it between steps or wait for it beside them.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// 0: none yet.
    reason: AtomicU8,
    token: CancellationToken,
}

impl Cancel {
    /// A signal that was not given yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner.token.is_cancelled()
    }

    /// Waits until the job must stop.
    pub async fn cancelled(&self) {
        self.inner.token.cancelled().await;
    }

    /// None as long as the job may go on.
    pub fn reason(&self) -> Option<CancelReason> {
        match self.inner.reason.load(Ordering::Acquire) {
            1 => Some(CancelReason::User),
            2 => Some(CancelReason::Shutdown),
            3 => Some(CancelReason::Lost),
            _ => None,
        }
    }

    /// For `?` between steps.
    pub fn check(&self) -> Result<(), JobFailure> {
        if self.is_cancelled() { Err(JobFailure::Cancelled) } else { Ok(()) }
    }

    /// The same signal for libraries that know tokio's token.
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Gives the signal. The first reason stays, except that a lost job is lost whatever was asked before,
    /// and that a user's wish is stronger than a shutdown, which would run the job again.
    pub fn cancel(&self, reason: CancelReason) {
        let number = |reason| match reason {
            CancelReason::User => 1_u8,
            CancelReason::Shutdown => 2,
            CancelReason::Lost => 3,
        };
        // Neither arm of this can fail for good: the closure always has an answer.
        let _ = self.inner.reason.fetch_update(Ordering::AcqRel, Ordering::Acquire, |present| {
            let lost = number(CancelReason::Lost);
            Some(match (present, number(reason)) {
                (0, new) => new,
                (present, new) if present == lost || new == lost => lost,
                (present, new) => present.min(new),
            })
        });
        self.inner.token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::CancelReason::{Lost, Shutdown, User};
    use super::*;

    #[test]
    fn the_strongest_reason_stays() {
        for (given, stays) in [
            (vec![User, Shutdown], User),
            (vec![Shutdown, User], User),
            (vec![User, Lost], Lost),
            (vec![Lost, User, Shutdown], Lost),
            (vec![Shutdown], Shutdown),
        ] {
            let cancel = Cancel::new();
            assert!(cancel.check().is_ok() && cancel.reason().is_none());
            for reason in given {
                cancel.cancel(reason);
            }
            assert_eq!(cancel.reason(), Some(stays));
            assert!(cancel.check().is_err() && cancel.token().is_cancelled());
        }
    }
}
