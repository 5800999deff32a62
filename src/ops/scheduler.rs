//! Runs schedules: starts what is due, takes note of how it went, tries again what failed, and looks after
//! what retention and the portal's own tables need. Several processes may do so on one catalog.

mod outcome;
mod zones;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{Fired, ScheduleRecord};
use crate::config::LayoutKind;
use crate::ops::backup::{self, Mode, StartBackup};
use crate::ops::schedules::{is_due, is_slot, tenants, zone_of};
use crate::ops::{OpError, copies, mirror, proving, retention};
use crate::portal::{Tenant, TenantStatus};
use crate::schedule::{Cron, due};
use outcome::{failed, settle};

pub(super) use outcome::tell_failed;
pub use zones::follow_zones;

/// How often it is looked whether something is due; a job's end is noticed at once.
const LOOK: Duration = Duration::from_secs(10);
/// However many jobs change, looks are at least so far apart.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the portal's tables are read.
const PULL: Duration = Duration::from_secs(60);
/// How often archives are looked through, as DocSpace does it.
const CLEAN: Duration = Duration::from_secs(15 * 60);
/// How long an archive that could not be removed is left alone.
const REFUSED: SignedDuration = SignedDuration::from_hours(1);
/// How long ended jobs are remembered.
const JOB_DAYS: i64 = 90;

/// What a scheduler remembers between its looks.
#[derive(Default)]
pub(crate) struct Scheduling {
    /// Archives that could not be removed, when that was, and why.
    refused: Mutex<HashMap<Uuid, (Timestamp, String)>>,
    /// The tenants as they were last seen, for their time zones.
    tenants: Mutex<Vec<Tenant>>,
}

impl Scheduling {
    /// Why an archive need not be tried to be removed now.
    pub(crate) fn refusal(&self, id: Uuid, now: Timestamp) -> Option<String> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, (at, _)| now.duration_since(*at).abs() < REFUSED);
        let (_, why) = refused.get(&id)?;
        Some(format!("its storage would not let it be removed ({why}); tried again hourly"))
    }

    pub(crate) fn refuse(&self, id: Uuid, now: Timestamp, why: String) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (now, why));
    }

    pub(crate) fn see(&self, tenants: &[Tenant]) {
        *self.tenants.lock().unwrap_or_else(PoisonError::into_inner) = tenants.to_vec();
    }

    pub(crate) fn seen(&self) -> Vec<Tenant> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A scheduler at work; dropping it stops it.
pub struct SchedulerHandle {
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl SchedulerHandle {
    /// Lets what it is at come to an end.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take() {
            // It cannot fail but by a panic, which the log has.
            let _ = task.await;
        }
    }
}

impl Drop for SchedulerHandle {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Begins to run schedules, on the runtime that this is called in.
pub fn start(app: &Arc<App>) -> SchedulerHandle {
    let stopping = CancellationToken::new();
    let task = tokio::spawn(work(Arc::clone(app), stopping.clone()));
    SchedulerHandle { stopping, task: Some(task) }
}

async fn work(app: Arc<App>, stopping: CancellationToken) {
    let (mut pulled, mut cleaned, mut refused) = (None::<Instant>, None::<Instant>, None);
    let long_ago = |at: Option<Instant>, every| at.is_none_or(|at| at.elapsed() >= every);
    let mut changes = app.queue.changes();
    while !stopping.is_cancelled() {
        changes.mark_unchanged();
        if long_ago(pulled, PULL) {
            pulled = Some(Instant::now());
            told("the portal's tables could not be read", mirror::pull(&app).await);
            told("time zones could not be looked at", follow_zones(&app).await);
        }
        told("schedules could not be looked through", tick(&app).await);
        told("copies could not be looked after", copies::tick(&app).await);
        told("no archive could be proved", proving::prove_when_due(&app).await);
        // After a failure the portal is left alone for a while.
        if long_ago(refused, PULL) {
            let pushed = mirror::push(&app).await;
            refused = pushed.is_err().then(Instant::now);
            told("the portal's tables could not be written", pushed);
        }
        if long_ago(cleaned, CLEAN) {
            cleaned = Some(Instant::now());
            told("archives could not be looked through", clean(&app).await);
            told("the audit trail could not be looked through", mirror::mend(&app).await);
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = async {
                tokio::time::sleep(PAUSE).await;
                // The sender lives as long as the queue, which is ours.
                let _ = tokio::time::timeout(LOOK, changes.changed()).await;
            } => {}
        }
    }
}

fn told(what: &str, result: Result<(), OpError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what}; it will be tried again");
    }
}

/// One look: takes note of jobs that have ended, then starts what is due.
pub async fn tick(app: &App) -> Result<(), OpError> {
    let now = app.clock.now();
    let mut pending = app.catalog.schedules().pending(now).await?;
    let mut ended = false;
    for record in pending.iter().filter(|record| record.awaited) {
        ended |= settle(app, record, now).await?;
    }
    if ended {
        pending = app.catalog.schedules().pending(now).await?;
        retention::enqueue(app).await?;
    }
    let due: Vec<_> = pending.iter().filter(|record| is_due(record, now)).collect();
    if due.is_empty() {
        return Ok(());
    }
    match tenants(app).await {
        Ok(tenants) => {
            for record in due {
                fire(app, record, &tenants, now).await?;
            }
        }
        // Which portals may be backed up nobody can tell now, and there is nothing to be read.
        Err(error) => {
            for record in due {
                let next = planned(app, record, &app.scheduling.seen(), now);
                failed(app, next, error.to_string(), now).await?;
            }
        }
    }
    Ok(())
}

/// A schedule whose time has come, with its next one.
fn planned(
    app: &App,
    record: &ScheduleRecord,
    tenants: &[Tenant],
    now: Timestamp,
) -> ScheduleRecord {
    let mut next = record.clone();
    next.retry_on = None;
    if let Some(due) = record.next_run.filter(|due| *due <= now) {
        let cron: Result<Cron, _> = record.cron.parse();
        next.next_run = match &cron {
            Ok(cron) => due::following(cron, &zone_of(app, tenants, record), due, now),
            Err(error) => {
                next.last_error = Some(error.to_string());
                None
            }
        };
    }
    next
}

/// What is done rarely: retention, and forgetting what nobody needs any more.
pub async fn clean(app: &App) -> Result<(), OpError> {
    retention::enqueue(app).await?;
    copies::remove_left(app).await?;
    let before = app.clock.now().checked_sub(SignedDuration::from_hours(24 * JOB_DAYS));
    let forgotten = app.catalog.upkeep().forget_jobs(before.map_err(OpError::internal)?).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "jobs that ended more than {JOB_DAYS} days ago were forgotten");
    }
    Ok(app.catalog.memos().forget_orphans().await?)
}

/// Starts a schedule's backup. Of several processes one alone does.
async fn fire(
    app: &App,
    record: &ScheduleRecord,
    tenants: &[Tenant],
    now: Timestamp,
) -> Result<(), OpError> {
    let mut next = planned(app, record, tenants, now);
    next.stale += i64::from(is_slot(record));
    if let Some(reason) = closed(app, tenants, record) {
        // Not a failure, and nothing to be tried again before the next time.
        tracing::warn!(schedule = %record.id, name = record.name, reason, "a scheduled backup is left out");
        next.last_error = Some(reason);
        app.catalog.schedules().save(&next).await?;
        return Ok(());
    }
    next.last_run = Some(now);
    let job = match job(app, record) {
        Ok(job) => job,
        Err(error) => return failed(app, next, error.to_string(), now).await,
    };
    next.awaited = true;
    match app.catalog.schedules().fire(&next, job).await? {
        Fired::Started(job) => {
            app.queue.wake();
            tracing::info!(schedule = %record.id, name = record.name, %job, "a scheduled backup was started");
        }
        Fired::Taken => {}
        Fired::Busy => {
            tracing::debug!(schedule = %record.id, "a scheduled backup waits for a job that excludes it");
        }
    }
    Ok(())
}

fn job(app: &App, record: &ScheduleRecord) -> Result<crate::jobs::NewJob, OpError> {
    let request = StartBackup {
        tenant_id: record.tenant_id,
        storage_type: record.storage_type,
        storage_params: app.unseal_params(&record.storage_params)?,
        dump: record.dump,
        mode: if record.mode == "incremental" { Mode::Incremental } else { Mode::Full },
        parent: None,
        full_every: record.full_every.clone(),
        actor: None,
    };
    backup::job(app, &request, Some(record.id))
}

/// DocSpace backs up active portals only.
fn closed(app: &App, tenants: &[Tenant], record: &ScheduleRecord) -> Option<String> {
    if app.portal.layout() == LayoutKind::Plain || record.dump {
        return None;
    }
    match tenants.iter().find(|tenant| tenant.id == record.tenant_id) {
        Some(tenant) if tenant.status == TenantStatus::Active => None,
        Some(_) => Some("the portal is not active".to_owned()),
        None => Some("the portal does not exist any more".to_owned()),
    }
}
