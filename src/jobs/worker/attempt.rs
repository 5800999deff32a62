//! One attempt at a job: its heartbeat, its handler, and how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::{Shared, system};
use crate::catalog::CatalogError;
use crate::catalog::jobs::{Beat, Jobs, Outcome, Publication};
use crate::jobs::run::Run;
use crate::jobs::{CancelReason, Cleaned, Finished, JobContext, JobFailure, JobKind};

/// How often publishing a success is tried before the job is failed instead.
const PUBLISH_TRIES: u32 = 20;
/// How soon one heartbeat may follow another.
const SOONEST: Duration = Duration::from_millis(250);
/// How long cleaning that must succeed is left alone after it failed.
const CLEAN_AGAIN: Duration = Duration::from_secs(2);

impl Shared {
    /// `claimed`: when the claim was asked for; the lease began no earlier.
    pub(super) async fn attempt(self: &Arc<Self>, run: Arc<Run>, claimed: Instant) {
        let Some(renewed) = self.confirm(&run, claimed).await else { return };
        let _running = self.begin(&run);
        tracing::info!(job = %run.job.id, kind = ?run.job.kind, attempt = run.job.attempt, "job begun");
        // When the heartbeat ends first, the job is lost: the handler is dropped where it waits.
        tokio::select! {
            () = self.perform(&run) => {}
            () = self.keep(&run, renewed) => {
                tracing::error!(job = %run.job.id, "the job was lost to another worker, or the catalog did not answer for too long");
            }
        }
        // Nothing waits for it.
        drop(self.handle.spawn_blocking(system::give_back_memory));
    }

    /// When the lease was last renewed. A claim whose answer took long may be over before it begins;
    /// then one more question tells whether the job is still ours. None: it is not.
    async fn confirm(&self, run: &Run, claimed: Instant) -> Option<Instant> {
        if claimed.elapsed() < self.options.lease / 2 {
            return Some(claimed);
        }
        let asked = Instant::now();
        let beat =
            Beat { lease: self.options.lease, progress: run.progress.view(), warnings: None };
        let answer = Jobs(&run.catalog).beat(run.job.id, run.fence, beat).await;
        matches!(answer, Ok(Some(_))).then_some(asked)
    }

    /// Renews the lease until the job is lost.
    async fn keep(&self, run: &Run, mut renewed: Instant) {
        let mut soonest = SOONEST;
        loop {
            let left = self.options.lease.saturating_sub(renewed.elapsed());
            if left.is_zero() || run.cancel.reason() == Some(CancelReason::Lost) {
                break;
            }
            self.pause(run, left, soonest).await;
            // A catalog in trouble is not asked the more often.
            soonest = self.options.heartbeat;
            let asked = Instant::now();
            let left = self.options.lease.saturating_sub(renewed.elapsed());
            let warnings = run.unsaved_warnings();
            let progress = run.progress.view();
            let percent = progress.percent;
            let beat = Beat { lease: self.options.lease, progress, warnings };
            let jobs = Jobs(&run.catalog);
            let beat = jobs.beat(run.job.id, run.fence, beat);
            match tokio::time::timeout(left, beat).await {
                Ok(Ok(Some(cancel))) => {
                    renewed = asked;
                    soonest = SOONEST;
                    run.progress.saved(percent);
                    if cancel {
                        run.cancel.cancel(CancelReason::User);
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    run.keep_unsaved();
                    tracing::warn!(job = %run.job.id, %error, "a heartbeat failed");
                }
                Err(_) => run.keep_unsaved(),
            }
        }
        run.cancel.cancel(CancelReason::Lost);
    }

    /// Waits for the next heartbeat, which comes sooner where the percentage has grown: only what it has noted is told.
    async fn pause(&self, run: &Run, left: Duration, soonest: Duration) {
        let until = Instant::now() + self.options.heartbeat.min(left);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(soonest)).await;
            if left <= soonest || run.progress.is_ahead() {
                return;
            }
        }
    }

    async fn perform(&self, run: &Arc<Run>) {
        let outcome = if let Some(outcome) = self.clean_remains(run).await {
            outcome
        } else if run.job.attempt > self.options.max_attempts {
            Outcome::Failed(format!(
                "the service was stopped, crashed or could not reach its catalog while this job ran, {} times",
                self.options.max_attempts
            ))
        } else if run.job.cancel_requested || run.cancel.reason() == Some(CancelReason::User) {
            Outcome::Cancelled
        } else if run.cancel.is_cancelled() {
            Outcome::Requeued
        } else {
            self.handle(run).await
        };
        if run.cancel.reason() == Some(CancelReason::Lost) {
            return;
        }
        self.finish(run, outcome).await;
    }

    /// Runs the handler and judges its answer.
    async fn handle(&self, run: &Arc<Run>) -> Outcome {
        let handler = self.handler.clone();
        let context = JobContext::new(run.clone());
        let task = self.handle.spawn(async move { handler.run(context).await });
        let mut task = AbortOnDropHandle::new(task);
        let too_late = async {
            run.cancel.cancelled().await;
            tokio::time::sleep(self.options.cancel_grace).await;
        };
        let result = tokio::select! {
            joined = &mut task => joined.unwrap_or_else(|error| {
                // The panic's own text may tell anything; it is in the log.
                tracing::error!(job = %run.job.id, %error, "a job's handler broke down");
                Err(JobFailure::Failed("an unexpected error; the service's log tells more".to_owned()))
            }),
            () = too_late => {
                tracing::warn!(job = %run.job.id, "the job did not stop when asked and was dropped");
                Err(JobFailure::Cancelled)
            }
        };
        drop(task);
        match (result, run.cancel.reason()) {
            (Ok(finished), _) => Outcome::Succeeded(Box::new(finished)),
            (Err(failure), Some(CancelReason::User)) => {
                if let JobFailure::Failed(text) = failure {
                    run.warn(text);
                }
                Outcome::Cancelled
            }
            // Whatever went wrong then, the next start will see whether it still does.
            (Err(_), Some(CancelReason::Shutdown | CancelReason::Lost)) => Outcome::Requeued,
            (Err(JobFailure::Failed(text)), None) if !text.trim().is_empty() => {
                Outcome::Failed(text)
            }
            (Err(_), None) => Outcome::Failed("the job stopped without saying why".to_owned()),
        }
    }

    /// Publishes the end, as often as it takes, as long as the job is ours.
    async fn finish(&self, run: &Arc<Run>, mut outcome: Outcome) {
        let mut tries = 0;
        loop {
            // Cleaning may find that the work is done, whatever stopped it then.
            if !matches!(outcome, Outcome::Succeeded(_))
                && let Some(done @ Outcome::Succeeded(_)) = self.clean_remains(run).await
            {
                outcome = done;
            }
            let succeeded = matches!(outcome, Outcome::Succeeded(_));
            match self.publish(run, outcome.clone()).await {
                Ok(true) => {
                    log_end(run, &outcome);
                    if let Outcome::Failed(error) = &outcome {
                        self.handler.failed(&run.job, error).await;
                    }
                    return;
                }
                Ok(false) => {
                    run.cancel.cancel(CancelReason::Lost);
                    return;
                }
                // Nothing was recorded, so what was made is cleaned as after any failure.
                Err(CatalogError::Superseded(why)) if succeeded => {
                    outcome = Outcome::Failed(why.to_owned());
                }
                Err(error) => {
                    tracing::warn!(job = %run.job.id, %error, "a job's end could not be recorded; trying again");
                    tries += 1;
                    if succeeded && tries >= PUBLISH_TRIES {
                        // It may have been recorded all the same, so nothing may be cleaned here: if it
                        // was not, the lease runs out and whoever takes the job up cleans and runs it again.
                        run.cancel.cancel(CancelReason::Lost);
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    async fn publish(&self, run: &Run, outcome: Outcome) -> Result<bool, CatalogError> {
        let succeeded = matches!(outcome, Outcome::Succeeded(_));
        let attempt = match outcome {
            Outcome::Requeued => run.job.attempt.saturating_sub(1),
            _ => run.job.attempt.min(self.options.max_attempts),
        };
        let publication = Publication {
            attempt,
            progress: run.progress.end(succeeded),
            warnings: run.warnings(),
            remains: run.keep_remains(!succeeded).await,
            outcome,
        };
        let published = Jobs(&run.catalog).publish(run.job.id, run.fence, publication).await;
        self.queue.changed();
        published
    }

    /// Gives a job back whose handler would not stop.
    pub(super) async fn give_back(&self, run: &Run) {
        match self.publish(run, Outcome::Requeued).await {
            Ok(_) => log_end(run, &Outcome::Requeued),
            Err(error) => {
                tracing::warn!(job = %run.job.id, %error, "a job could not be given back; it waits until its lease has run out");
            }
        }
    }

    /// Removes what earlier runs and this one may have left; what cannot be removed now stays noted. Returns how
    /// the job has ended, if that was found out.
    async fn clean_remains(&self, run: &Run) -> Option<Outcome> {
        let remains = run.remains().await;
        if remains.is_empty() {
            return None;
        }
        run.progress.phase("cleaning up");
        let mut outcome = None;
        for left in remains {
            let Some(cleaned) = self.clean_surely(run, &left.value).await else { continue };
            match cleaned {
                Cleaned::Gone => {}
                Cleaned::Succeeded(finished) => outcome = Some(Outcome::Succeeded(finished)),
                Cleaned::Undone(text) => {
                    outcome.get_or_insert(Outcome::Failed(text));
                }
            }
            if run.forget_remains(left.fence).await.is_err() {
                break;
            }
        }
        outcome
    }

    /// A restore leaves a portal that is neither old nor new, so it is asked for until it is done.
    async fn clean_surely(&self, run: &Run, remains: &serde_json::Value) -> Option<Cleaned> {
        loop {
            let cleaned = self.clean(&run.job, remains).await;
            let stop =
                matches!(run.cancel.reason(), Some(CancelReason::Lost | CancelReason::Shutdown));
            let restores = matches!(run.job.kind, JobKind::Restore | JobKind::SourceRestore);
            if cleaned.is_some() || stop || !restores {
                return cleaned;
            }
            tokio::time::sleep(CLEAN_AGAIN).await;
        }
    }

    /// What the handler found; None: it could not clean, or not in time.
    pub(super) async fn clean(
        &self,
        job: &crate::jobs::Job,
        remains: &serde_json::Value,
    ) -> Option<Cleaned> {
        let (handler, owned, value) = (self.handler.clone(), job.clone(), remains.clone());
        let task = self.handle.spawn(async move { handler.clean(&owned, &value).await });
        let task = AbortOnDropHandle::new(task);
        // Putting a portal back takes as long as it takes.
        let timeout = match job.kind {
            JobKind::Restore | JobKind::SourceRestore => Duration::from_secs(24 * 3600),
            _ => self.options.clean_timeout,
        };
        let reason = match tokio::time::timeout(timeout, task).await {
            Ok(Ok(Ok(cleaned))) => return Some(cleaned),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(job = %job.id, %reason, "what a job left behind could not be removed; it will be tried again");
        None
    }
}

fn log_end(run: &Run, outcome: &Outcome) {
    let job = run.job.id;
    match outcome {
        Outcome::Succeeded(finished) => {
            let Finished { archive, .. } = &**finished;
            let archive = archive.as_ref().map(|archive| archive.name.as_str());
            tracing::info!(%job, archive, "job succeeded");
        }
        Outcome::Failed(reason) => tracing::error!(%job, reason, "job failed"),
        Outcome::Cancelled => tracing::info!(%job, "job cancelled"),
        Outcome::Requeued => tracing::info!(%job, "job given back to the queue"),
    }
}
