//! Whether the service can do its work, and how much of it was done.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{JobKind, JobState};
use crate::ops::{OpError, schedules};

/// Orchestrators ask every few seconds and give up soon.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ok when the catalog answers: without it neither requests nor jobs can be served.
/// The error is a sentence without secrets.
pub async fn ready(app: &App) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, app.catalog.ping()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the catalog does not answer".to_owned()),
    }
}

/// Figures of the catalog for monitoring.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub jobs: Vec<JobCount>,
    pub last_success: Vec<LastSuccess>,
    pub schedules: Vec<ScheduleState>,
}

/// How a schedule does.
#[derive(Debug, Clone)]
pub struct ScheduleState {
    pub id: Uuid,
    pub tenant_id: i64,
    pub dump: bool,
    pub next_run: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    /// In a row.
    pub failures: u32,
}

#[derive(Debug, Clone)]
pub struct JobCount {
    pub kind: JobKind,
    pub state: JobState,
    pub count: u64,
}

/// The newest archive of a tenant.
#[derive(Debug, Clone)]
pub struct LastSuccess {
    pub tenant_id: i64,
    pub dump: bool,
    pub at: Timestamp,
    pub bytes: u64,
    /// From the job's start to its end.
    pub seconds: f64,
}

pub async fn figures(app: &App) -> Result<Figures, OpError> {
    let jobs = app
        .queue
        .counts()
        .await?
        .into_iter()
        .map(|(kind, state, count)| JobCount { kind, state, count })
        .collect();
    let mut last_success = Vec::new();
    for archive in app.catalog.archives().newest().await? {
        let job = match archive.job_id {
            Some(id) => app.queue.get(id).await?,
            None => None,
        };
        let seconds = job
            .and_then(|job| Some(job.finished_on?.duration_since(job.started_on?).as_secs_f64()))
            .unwrap_or_default();
        last_success.push(LastSuccess {
            tenant_id: archive.tenant_id,
            dump: archive.dump,
            at: archive.created_on,
            bytes: archive.size,
            seconds,
        });
    }
    let schedules =
        schedules::list(app, None, None).await?.into_iter().map(|schedule| ScheduleState {
            id: schedule.id,
            tenant_id: schedule.tenant_id,
            dump: schedule.dump,
            next_run: schedule.next_run.filter(|_| schedule.enabled),
            last_success: schedule.last_success,
            failures: schedule.failures,
        });
    Ok(Figures { jobs, last_success, schedules: schedules.collect() })
}
