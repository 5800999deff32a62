//! How scheduled backups ended: noted in their schedules, told, and tried again.

use jiff::Timestamp;

use crate::app::App;
use crate::catalog::ScheduleRecord;
use crate::jobs::JobState;
use crate::notify::Event;
use crate::ops::OpError;
use crate::schedule::due;

/// Takes note of how a schedule's last job has ended, if it has. True: it has, and this process noted it.
pub(super) async fn settle(
    app: &App,
    record: &ScheduleRecord,
    now: Timestamp,
) -> Result<bool, OpError> {
    let job = match record.last_job {
        Some(id) => app.queue.get(id).await?,
        None => None,
    };
    let mut next = record.clone();
    next.awaited = false;
    let Some(job) = job else {
        failed(app, next, "its job is gone from the catalog".to_owned(), now).await?;
        return Ok(true);
    };
    match job.state {
        JobState::Queued | JobState::Running => return Ok(false),
        JobState::Failed => {
            let error = job.error.unwrap_or_else(|| "it failed without saying why".to_owned());
            failed(app, next, error, now).await?;
            return Ok(true);
        }
        JobState::Cancelled => next.last_error = Some("the last backup was cancelled".to_owned()),
        JobState::Succeeded => {
            next.last_success = job.finished_on;
            next.last_error = None;
            next.failures = 0;
        }
    }
    let noted = app.catalog.schedules().save(&next).await?;
    if noted && next.failures < record.failures {
        let event = Event::ScheduleRecovered {
            schedule: record.id,
            name: record.name.clone(),
            tenant_id: record.tenant_id,
            dump: record.dump,
            after: record.failures,
        };
        tracing::info!(schedule = %record.id, name = record.name, "a schedule works again");
        app.notifier.notify(&event).await;
    }
    Ok(noted)
}

/// Notes a failure, tells of it, and plans to try again unless the next time comes first.
pub(super) async fn failed(
    app: &App,
    mut record: ScheduleRecord,
    error: String,
    now: Timestamp,
) -> Result<(), OpError> {
    record.awaited = false;
    record.failures = record.failures.saturating_add(1);
    let retry = due::retry(record.failures, now);
    record.retry_on = Some(retry)
        .filter(|retry| record.enabled && record.next_run.is_none_or(|next| next > *retry));
    record.last_error = Some(error.clone());
    if !app.catalog.schedules().save(&record).await? {
        // Another process has noted it, or the schedule was changed: the next look tells.
        return Ok(());
    }
    tell_failed(app, &record, error).await;
    Ok(())
}

/// Tells the log, the metrics and whoever is notified that a schedule did not do its work.
pub(in crate::ops) async fn tell_failed(app: &App, record: &ScheduleRecord, error: String) {
    let again_on = record.retry_on.or(record.next_run);
    let ScheduleRecord { id, tenant_id, dump, failures, .. } = *record;
    let name = record.name.clone();
    let again = again_on.map(|at| at.to_string());
    tracing::error!(schedule = %id, name, failures, again, error, "a scheduled backup failed");
    metrics::counter!("portal_backup_schedule_failures_total", "schedule" => id.to_string())
        .increment(1);
    let event =
        Event::ScheduleFailed { schedule: id, name, tenant_id, dump, error, failures, again_on };
    app.notifier.notify(&event).await;
}
