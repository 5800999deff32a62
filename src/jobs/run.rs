//! One run of a job in this process: what its handler and its heartbeat share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Cancel, CancelReason, Job, JobFailure, JobState, Progress};
use crate::catalog::jobs::{Jobs, Remains, Replaced, Row};
use crate::catalog::{ArchiveRecord, Catalog};

/// More warnings than this are only counted: nobody reads them, and every heartbeat would carry them.
const MOST_WARNINGS: usize = 1000;
/// Characters of one warning.
const LONGEST_WARNING: usize = 1000;

#[derive(Debug)]
pub(super) struct Run {
    pub(super) catalog: Catalog,
    /// As it was claimed.
    pub(super) job: Job,
    pub(super) fence: i64,
    pub(super) progress: Arc<Progress>,
    pub(super) cancel: Cancel,
    warnings: Mutex<Warnings>,
    /// As they are in the catalog: first those of earlier runs, then this one's.
    remains: tokio::sync::Mutex<Vec<Remains>>,
}

#[derive(Debug, Default)]
struct Warnings {
    texts: Vec<String>,
    omitted: u64,
    /// Whether the catalog lacks some.
    unsaved: bool,
}

impl Run {
    pub(super) fn new(catalog: Catalog, row: Row) -> Self {
        let progress = Progress::resume(row.job.progress.percent, Instant::now());
        progress.phase("starting");
        Self {
            catalog,
            progress: Arc::new(progress),
            cancel: Cancel::new(),
            warnings: Mutex::default(),
            remains: tokio::sync::Mutex::new(row.remains),
            job: row.job,
            fence: row.fence,
        }
    }

    pub(super) fn warn(&self, mut text: String) {
        if let Some((end, _)) = text.char_indices().nth(LONGEST_WARNING) {
            text.truncate(end);
            text.push('…');
        }
        let mut warnings = self.lock();
        warnings.unsaved = true;
        if warnings.texts.len() < MOST_WARNINGS {
            warnings.texts.push(text);
        } else {
            warnings.omitted += 1;
        }
    }

    pub(super) fn forget_warnings(&self) {
        *self.lock() = Warnings { unsaved: true, ..Warnings::default() };
    }

    pub(super) fn warnings(&self) -> (Vec<String>, u64) {
        let warnings = self.lock();
        (warnings.texts.clone(), warnings.omitted)
    }

    /// The warnings if the catalog lacks some; `keep_unsaved` must follow if they did not get there.
    pub(super) fn unsaved_warnings(&self) -> Option<(Vec<String>, u64)> {
        let mut warnings = self.lock();
        std::mem::take(&mut warnings.unsaved).then(|| (warnings.texts.clone(), warnings.omitted))
    }

    pub(super) fn keep_unsaved(&self) {
        self.lock().unsaved = true;
    }

    fn lock(&self) -> MutexGuard<'_, Warnings> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what this process knows better into a job as it was read from the catalog.
    pub(super) fn tell(&self, job: &mut Job) {
        job.state = JobState::Running;
        job.progress = self.progress.told();
        (job.warnings, job.warnings_omitted) = self.warnings();
        job.cancel_requested |= self.cancel.reason() == Some(CancelReason::User);
    }

    pub(super) async fn remains(&self) -> Vec<Remains> {
        self.remains.lock().await.clone()
    }

    /// Those of this run stay only with `own`.
    pub(super) async fn keep_remains(&self, own: bool) -> Vec<Remains> {
        let mut remains = self.remains().await;
        remains.retain(|remains| own || remains.fence != self.fence);
        remains
    }

    /// This run's remains become `value`; null: there are none any more.
    pub(super) async fn save_remains(&self, value: serde_json::Value) -> Result<(), JobFailure> {
        self.change_remains(self.fence, value).await
    }

    pub(super) async fn forget_remains(&self, fence: i64) -> Result<(), JobFailure> {
        self.change_remains(fence, serde_json::Value::Null).await
    }

    pub(super) async fn replace_archive(
        &self,
        from: &str,
        new: ArchiveRecord,
    ) -> Result<(), JobFailure> {
        let jobs = Jobs(&self.catalog);
        let replaced = jobs.replace_archive(self.job.id, self.fence, from.to_owned(), new).await;
        match replaced {
            Ok(Replaced::Done) => Ok(()),
            Ok(Replaced::Lost) => {
                self.cancel.cancel(CancelReason::Lost);
                Err(JobFailure::Cancelled)
            }
            Ok(Replaced::Changed) => {
                Err(JobFailure::Failed("the archive was removed or moved meanwhile".to_owned()))
            }
            Err(error) => Err(JobFailure::Failed(error.to_string())),
        }
    }

    /// Returns when it is written down. Errors only when the job is lost: a catalog that does not
    /// answer is asked again until then.
    async fn change_remains(&self, fence: i64, value: serde_json::Value) -> Result<(), JobFailure> {
        let mut present = self.remains.lock().await;
        let mut wanted = present.clone();
        wanted.retain(|remains| remains.fence != fence);
        if !value.is_null() {
            wanted.push(Remains { fence, value });
        }
        // Noted here before it is written there: whoever stops waiting meanwhile must not make us forget it.
        present.clone_from(&wanted);
        loop {
            if self.cancel.reason() == Some(CancelReason::Lost) {
                return Err(JobFailure::Cancelled);
            }
            let jobs = Jobs(&self.catalog);
            match jobs.save_remains(self.job.id, self.fence, wanted.clone()).await {
                Ok(true) => return Ok(()),
                Ok(false) => self.cancel.cancel(CancelReason::Lost),
                Err(error) => {
                    tracing::warn!(job = %self.job.id, %error, "what a job may leave behind could not be noted; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            }
        }
    }
}
