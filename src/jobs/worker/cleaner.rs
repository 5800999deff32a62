//! Cleaning up later what could not be cleaned when a job ended: the storage was down, or the job was
//! cancelled while nobody ran it.

use std::sync::Arc;

use super::Shared;
use crate::catalog::CatalogError;
use crate::catalog::jobs::Jobs;

impl Shared {
    /// At the start, and from time to time.
    pub(super) async fn clean_up(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                cleaned = self.clean_finished() => {
                    if let Err(error) = cleaned {
                        tracing::warn!(%error, "finished jobs could not be looked through");
                    }
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(self.options.cleanup_every) => {}
            }
        }
    }

    /// One round over all finished jobs that left something. Two workers may do the same at once:
    /// cleaning twice does no harm.
    async fn clean_finished(&self) -> Result<(), CatalogError> {
        let jobs = Jobs(self.queue.catalog());
        let mut after = String::new();
        loop {
            let rows = jobs.unclean(after.clone()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.job.id.to_string();
            for row in rows {
                let mut left = Vec::new();
                let all = row.remains.len();
                for remains in row.remains {
                    if self.clean(&row.job, &remains.value).await.is_none() {
                        left.push(remains);
                    }
                }
                if left.len() < all {
                    jobs.settle_remains(row.job.id, row.fence, left).await?;
                }
            }
        }
    }
}
