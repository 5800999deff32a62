//! Telling others what happens: one file a channel. Nothing here may delay or fail a job.

pub mod socket;

use std::sync::Arc;

use crate::app::App;
use crate::jobs::Job;

/// A job has begun to run in this process.
pub fn job_began(app: &Arc<App>, job: &Job) {
    if let Some(socket) = &app.socket {
        Arc::clone(socket).follow(&app.queue, job);
    }
}
