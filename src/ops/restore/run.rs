//! One restore, from the archive to the old state dropped.

use std::sync::Arc;

use crate::app::App;
use crate::jobs::{Cleaned, Finished, Job, JobContext, JobFailure};

/// Runs the restore that a job asks for.
pub(in crate::ops) async fn run(
    _app: &Arc<App>,
    _ctx: &JobContext,
) -> Result<Finished, JobFailure> {
    todo!()
}

/// Finishes or rolls back what a dead or failed attempt left.
pub(in crate::ops) async fn clean(
    _app: &App,
    _job: &Job,
    _remains: &serde_json::Value,
) -> Result<Cleaned, String> {
    todo!()
}
