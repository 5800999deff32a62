//! Watching a job until it ends.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Job, Queue};
use crate::catalog::CatalogError;

/// Between two looks at a job that changes in small steps only.
const LOOK: Duration = Duration::from_millis(250);

struct Watching {
    queue: Queue,
    id: Uuid,
    changes: watch::Receiver<u64>,
    last: Option<Job>,
}

impl Queue {
    /// The job now, and again whenever it has changed, within half a second, wherever it runs (progress
    /// from another process comes with its heartbeats); ends after its last state, or at once if there is
    /// no such job. Errors are told and do not end it. However many watch, the catalog is asked no more often.
    pub fn watch(&self, id: Uuid) -> BoxStream<'static, Result<Job, CatalogError>> {
        let watching = Watching { queue: self.clone(), id, changes: self.changes(), last: None };
        stream::unfold(watching, Watching::next).boxed()
    }
}

impl Watching {
    async fn next(mut self) -> Option<(Result<Job, CatalogError>, Self)> {
        if self.last.as_ref().is_some_and(|job| job.state.is_finished()) {
            return None;
        }
        let mut first = self.last.is_none();
        loop {
            if !std::mem::take(&mut first) {
                // The sender lives as long as the queue, which is ours.
                let _ = tokio::time::timeout(LOOK, self.changes.changed()).await;
            }
            self.changes.mark_unchanged();
            match self.queue.get(self.id).await {
                Ok(Some(job)) if self.last.as_ref() == Some(&job) => {}
                Ok(Some(job)) => {
                    self.last = Some(job.clone());
                    return Some((Ok(job), self));
                }
                Ok(None) => return None,
                Err(error) => {
                    tokio::time::sleep(LOOK).await;
                    return Some((Err(error), self));
                }
            }
        }
    }
}
