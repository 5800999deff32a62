//! Telling others what happens: how far a job is, and what nobody is looking at, such as a backup that was
//! to make itself and did not. Nothing here may delay or fail a job.

pub mod socket;
pub mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::Job;

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A scheduled backup failed, or could not even be begun.
    ScheduleFailed {
        schedule: Uuid,
        name: String,
        tenant_id: i64,
        dump: bool,
        error: String,
        /// How many failed in a row.
        failures: u32,
        /// When it is tried again.
        again_on: Option<Timestamp>,
    },
    /// A schedule works again after it had failed.
    ScheduleRecovered { schedule: Uuid, name: String, tenant_id: i64, dump: bool, after: u32 },
    /// A backup that somebody had asked for failed.
    BackupFailed { job: Uuid, tenant_id: i64, dump: bool, error: String },
}

/// Tells events to somebody. What cannot be told must not stop what it is about, so there is no error.
#[async_trait]
pub trait Notifier: Send + Sync {
    async fn notify(&self, event: &Event);
}

/// Tells nobody beyond the log, which hears of every event anyway.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn notify(&self, _event: &Event) {}
}

/// Tells a job's progress and its end to who watches: it has begun to run in this process, or ended without.
pub fn follow(app: &Arc<App>, job: &Job) {
    if let Some(socket) = &app.socket {
        Arc::clone(socket).follow(&app.queue, job);
    }
}
