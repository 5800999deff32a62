//! What a handler gets to run a job with.

use std::sync::Arc;

use super::run::Run;
use super::{Cancel, Job, JobFailure, Progress};
use crate::catalog::ArchiveRecord;

/// A job being run, and the ways back to the queue. Clones are the same run.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The job as it was claimed; its `attempt` counts this run.
    pub job: Job,
    /// Told to everyone who asks for the job.
    pub progress: Arc<Progress>,
    /// To be obeyed soon.
    pub cancel: Cancel,
    run: Arc<Run>,
}

impl JobContext {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self {
            job: run.job.clone(),
            progress: run.progress.clone(),
            cancel: run.cancel.clone(),
            run,
        }
    }

    /// Writes down what this run may leave behind if it is killed, before it does: when this returns, it
    /// is in the catalog. Replaces what this run saved before; null says that nothing is left.
    ///
    /// Success forgets it. After a failure, a cancellation or a crash, `Handler::clean` gets it.
    /// Errors (`Cancelled`) only when the job was lost to another worker: stop, and write nothing.
    pub async fn save_remains(&self, remains: serde_json::Value) -> Result<(), JobFailure> {
        self.run.save_remains(remains).await
    }

    /// Lets the record of an archive that lies at `from` say what `new` says of its object. Errors: `Cancelled` when
    /// the job was lost to another worker, `Failed` when it was not written, or may not have been.
    pub async fn replace_archive(&self, from: &str, new: ArchiveRecord) -> Result<(), JobFailure> {
        self.run.replace_archive(from, new).await
    }

    /// Something that users should know although the job goes on.
    pub fn warn(&self, text: impl Into<String>) {
        self.run.warn(text.into());
    }

    /// What was warned of was of work that was given up.
    pub fn forget_warnings(&self) {
        self.run.forget_warnings();
    }

    /// What was warned of so far, the first thousand.
    pub fn warnings(&self) -> Vec<String> {
        self.run.warnings().0
    }
}
