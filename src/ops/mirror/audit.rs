//! Jobs and `audit_events`.

use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::catalog::Told;
use crate::jobs::{Job, JobKind, JobState};
use crate::ops::{Actor, OpError, backup};
use crate::portal::PortalError;
use crate::portal::docspace::audit::Action;
use crate::portal::docspace::identity::Identity;

/// How long a process may take between its claim to write and the row.
const WRITING: SignedDuration = SignedDuration::from_mins(1);
/// For how long it is made sure that a row was written.
const MENDED: SignedDuration = SignedDuration::from_hours(24);

/// Writes the starts and ends of jobs, each once.
pub(super) async fn push(app: &App, identity: &Identity) -> Result<(), OpError> {
    let upkeep = app.catalog.upkeep();
    for (job, mut told) in upkeep.untold_jobs().await? {
        for (next, at) in moments(&job) {
            let Some(at) = at.filter(|_| (told as u8) < next as u8) else { continue };
            // Claimed first, so that two processes do not both write it; `mend` is for those that are killed here.
            if !upkeep.job_told(job.id, told, next).await? {
                break;
            }
            if let Err(error) = write(identity, &job, next, at).await {
                upkeep.job_told(job.id, next, told).await?;
                return Err(error.into());
            }
            told = next;
        }
    }
    Ok(())
}

/// Writes again what lately was claimed to be written; what stands there stays as it is.
pub(super) async fn mend(app: &App, identity: &Identity) -> Result<(), OpError> {
    let now = app.clock.now();
    let (Ok(from), Ok(to)) = (now.checked_sub(MENDED), now.checked_sub(WRITING)) else {
        return Ok(());
    };
    for (job, told) in app.catalog.upkeep().told_jobs(from, to).await? {
        for (moment, at) in moments(&job).into_iter().filter(|(next, _)| *next as u8 <= told as u8)
        {
            if let Some(at) = at {
                write(identity, &job, moment, at).await?;
            }
        }
    }
    Ok(())
}

fn moments(job: &Job) -> [(Told, Option<Timestamp>); 2] {
    [(Told::Start, Some(job.created_on)), (Told::End, job.finished_on)]
}

async fn write(
    identity: &Identity,
    job: &Job,
    moment: Told,
    at: Timestamp,
) -> Result<(), PortalError> {
    let Some(action) = action(job, moment) else { return Ok(()) };
    let actor = match action {
        Action::BackupCancelled | Action::RestoreCancelled => Actor::cancelling(&job.request),
        _ => Actor::of(&job.request),
    };
    identity.audit(job.tenant_id, action, at, actor.who(), &job.id.to_string()).await
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
