//! Keeps DocSpace's own tables and the catalog equal: what is made here is written there, and what was made
//! there is taken over, so that the services can be swapped either way. The catalog is told what is still
//! to be written by counters in its rows, so nothing is lost when DocSpace's database is away.

mod archives;
mod schedules;

use jiff::Timestamp;

use crate::app::App;
use crate::catalog::Told;
use crate::jobs::{Job, JobFilter, JobKind, JobState};
use crate::ops::{OpError, backup};
use crate::portal::docspace::audit::Action;
use crate::portal::docspace::identity::Identity;

/// Takes over what was changed in DocSpace's tables. Does nothing in the plain layout.
pub async fn pull(app: &App) -> Result<(), OpError> {
    let Some(identity) = reachable(app).await? else { return Ok(()) };
    let restored_on = last_restore(app).await?;
    schedules::pull(app, identity, restored_on).await?;
    archives::pull(app, identity).await
}

/// Writes what DocSpace's tables do not show yet. Does nothing in the plain layout.
pub async fn push(app: &App) -> Result<(), OpError> {
    let Some(identity) = reachable(app).await? else { return Ok(()) };
    schedules::push(app, identity).await?;
    archives::push(app, identity).await?;
    audit(app, identity).await
}

/// DocSpace's tables, unless a restore is about to put others in their place.
async fn reachable(app: &App) -> Result<Option<&Identity>, OpError> {
    let Some(identity) = app.portal.identity() else { return Ok(None) };
    if !app.config.portal.docspace.mirror {
        return Ok(None);
    }
    let filter =
        JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
    let restoring = app.queue.latest(filter).await?;
    Ok(restoring.is_none().then_some(identity))
}

/// A restore puts back the tables of another time: what they say then is not what anybody wants now.
async fn last_restore(app: &App) -> Result<Option<Timestamp>, OpError> {
    let filter = JobFilter {
        kind: Some(JobKind::Restore),
        state: Some(JobState::Succeeded),
        ..JobFilter::default()
    };
    let jobs = app.queue.list(filter, 1, 0).await?.items;
    Ok(jobs.first().and_then(|job| job.finished_on))
}

/// Writes the starts and ends of jobs into the audit trail, each once.
async fn audit(app: &App, identity: &Identity) -> Result<(), OpError> {
    let upkeep = app.catalog.upkeep();
    for (job, mut told) in upkeep.untold_jobs().await? {
        for (next, at) in [(Told::Start, Some(job.created_on)), (Told::End, job.finished_on)] {
            let Some(at) = at.filter(|_| (told as u8) < next as u8) else { continue };
            // Claimed first, so that two processes do not both write it.
            if !upkeep.job_told(job.id, told, next).await? {
                break;
            }
            if let Some(action) = action(&job, next)
                && let Err(error) = identity.audit(job.tenant_id, action, at).await
            {
                upkeep.job_told(job.id, next, told).await?;
                return Err(error.into());
            }
            told = next;
        }
    }
    Ok(())
}

/// What DocSpace calls it; None: it has no word for it.
fn action(job: &Job, told: Told) -> Option<Action> {
    let scheduled = backup::schedule_of(job).is_some();
    match (job.kind, told, job.state) {
        (JobKind::Backup, Told::Start, _) if scheduled => Some(Action::ScheduledBackupStarted),
        (JobKind::Backup, Told::Start, _) => Some(Action::BackupStarted),
        (JobKind::Backup, _, JobState::Cancelled) => Some(Action::BackupCancelled),
        (JobKind::Backup, _, JobState::Failed) if scheduled => Some(Action::ScheduledBackupFailed),
        (JobKind::Backup, _, JobState::Failed) => Some(Action::BackupFailed),
        (JobKind::Backup, ..) if scheduled => Some(Action::ScheduledBackupCompleted),
        (JobKind::Backup, ..) => Some(Action::BackupCompleted),
        (JobKind::Restore, Told::Start, _) => Some(Action::RestoreStarted),
        (JobKind::Restore, _, JobState::Cancelled) => Some(Action::RestoreCancelled),
        _ => None,
    }
}
