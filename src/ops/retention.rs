//! Retention: gathers what the plan needs, and carries it out as a job.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord, CopyRecord};
use crate::config::LayoutKind;
use crate::jobs::{Finished, Job, JobContext, JobFailure, JobFilter, JobKind, NewJob};
use crate::ops::{OpError, archives, backup, copies, named, schedules};
use crate::schedule::retention::{Action, Item, Policy, Rules, plan as decide};

/// How many storages are asked at once whether an archive is still there.
const LOOKUPS: usize = 8;

/// What is to become of an archive, and why.
#[derive(Debug, Clone)]
pub struct Planned {
    pub archive: ArchiveRecord,
    pub copies: Vec<CopyRecord>,
    pub action: Action,
    pub reasons: Vec<String>,
}

/// What would be kept and removed now, newest first; changes nothing. `tenant_id`: None for everybody's.
/// `dump`: None for both. `rules`: what to try instead of a schedule's own.
pub async fn plan(
    app: &App,
    tenant_id: Option<i64>,
    dump: Option<bool>,
    rules: Option<(Uuid, Rules)>,
) -> Result<Vec<Planned>, OpError> {
    let now = app.clock.now();
    let filter = ArchiveFilter { tenant_id, dump, with_missing: true };
    let records = app.catalog.archives().list(filter, u32::MAX, 0).await?.items;
    let tenants = app.portal.tenants().await?;
    let mut policies = BTreeMap::new();
    for schedule in schedules::list(app, None, None).await? {
        let zone = schedules::zone_of(app, &tenants, &schedule);
        policies.insert(schedule.id, Policy { rules: schedule.retention, zone });
    }
    if let Some((id, rules)) = rules {
        rules.check().map_err(OpError::Invalid)?;
        let policy = policies.get_mut(&id);
        policy.ok_or_else(|| OpError::NotFound(format!("there is no schedule {id}")))?.rules =
            rules;
    }
    let held = held(app).await?;
    let mut copies = copies::of(app, &records).await?;
    let items: Vec<Item> = records
        .iter()
        .map(|record| (record, copies.get(&record.id)))
        .map(|(record, copies)| Item {
            id: record.id,
            created_on: record.created_on,
            expires_on: record.expires_on,
            schedule: record.schedule_id,
            parent: record.parent_id,
            // As long as a copy is there, it is an archive like any other.
            missing: copies::is_gone(record, copies),
            held: held
                .get(&record.id)
                .cloned()
                .or_else(|| archives::locked(record, copies.map_or(&[], Vec::as_slice), now))
                .or_else(|| app.scheduling.refusal(record.id, now)),
        })
        .collect();
    let mut by_id: HashMap<Uuid, ArchiveRecord> =
        records.into_iter().map(|record| (record.id, record)).collect();
    let planned = decide(&items, &policies, now).into_iter().filter_map(|decision| {
        let archive = by_id.remove(&decision.id)?;
        let copies = copies.remove(&decision.id).unwrap_or_default();
        Some(Planned { archive, copies, action: decision.action, reasons: decision.reasons })
    });
    Ok(planned.collect())
}

/// Archives that something under way reads, and what that is.
pub(super) async fn held(app: &App) -> Result<HashMap<Uuid, String>, OpError> {
    held_by(app, |_| true).await
}

/// The same, by those jobs that count.
pub(super) async fn held_by(
    app: &App,
    counts: impl Fn(&Job) -> bool,
) -> Result<HashMap<Uuid, String>, OpError> {
    let filter = JobFilter { unfinished: true, ..JobFilter::default() };
    let jobs = app.queue.list(filter, 1000, 0).await?.items;
    let mut held = HashMap::new();
    for job in jobs.into_iter().filter(counts) {
        let needed: Vec<_> = match job.kind {
            JobKind::Restore
            | JobKind::Verify
            | JobKind::Consolidate
            | JobKind::SourceRestore
            | JobKind::Copy
            | JobKind::Rekey => job.archive_id.into_iter().collect(),
            JobKind::Backup => backup::may_add_to(app, &job).await?,
            JobKind::SourceBackup => named::backup::may_add_to(app, &job).await?,
            JobKind::Prune | JobKind::Index => Vec::new(),
        };
        for id in needed {
            hold(app, id, format!("job {} needs it now", job.id), &mut held).await?;
        }
    }
    Ok(held)
}

/// Holds an archive, and all that it builds on.
async fn hold(
    app: &App,
    id: Uuid,
    why: String,
    held: &mut HashMap<Uuid, String>,
) -> Result<(), OpError> {
    let mut next = Some(id);
    while let Some(id) = next
        && held.insert(id, why.clone()).is_none()
    {
        next = app.catalog.archives().get(id).await?.and_then(|record| record.parent_id);
    }
    Ok(())
}

/// Queues a job that carries the plan out, if there is anything to be removed. None: there is not.
pub async fn enqueue(app: &App) -> Result<Option<Job>, OpError> {
    let planned = plan(app, None, None, None).await?;
    if planned.iter().all(|planned| planned.action == Action::Keep) {
        return Ok(None);
    }
    start(app).await.map(Some)
}

/// Queues a job that carries the plan out; returns the one that is under way already.
pub async fn start(app: &App) -> Result<Job, OpError> {
    let tenant_id = match app.config.portal.layout {
        LayoutKind::Plain => 1,
        LayoutKind::Docspace => -1,
    };
    let job = NewJob {
        kind: JobKind::Prune,
        tenant_id,
        dump: true,
        request: json!({}),
        exclusive: Some("prune".to_owned()),
        archive_id: None,
    };
    Ok(app.queue.enqueue(job).await?.job)
}

/// Runs the job. What cannot be removed is a warning.
pub(super) async fn run(app: &App, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let failed = |error: OpError| JobFailure::Failed(error.to_string());
    ctx.progress.restart();
    ctx.progress.phase("looking for archives");
    look(app, ctx).await?;
    ctx.progress.phase("removing");
    let planned = plan(app, None, None, None).await.map_err(failed)?;
    let parents: HashMap<_, _> =
        planned.iter().map(|planned| (planned.archive.id, planned.archive.parent_id)).collect();
    // What archives build on that were to go and stay, and which those are. They come after them in the plan.
    let mut needed: HashMap<Uuid, Uuid> = HashMap::new();
    for Planned { archive, action, reasons, .. } in planned {
        ctx.cancel.check()?;
        if action == Action::Keep {
            continue;
        }
        // A restore may have begun since.
        let stays = if let Some(why) = held(app).await.map_err(failed)?.remove(&archive.id) {
            Some(why)
        } else if let Some(child) = needed.get(&archive.id) {
            Some(format!("the incremental archive {child} builds on it"))
        } else if let Err(error) = archives::remove(app, &archive).await {
            app.scheduling.refuse(archive.id, app.clock.now(), error.to_string());
            Some(format!("it could not be removed: {error}"))
        } else {
            let reasons = reasons.join("; ");
            tracing::info!(archive = %archive.id, name = archive.name, reasons, "an archive was removed");
            None
        };
        if let Some(why) = stays {
            ctx.warn(format!("{} stays: {why}", archive.name));
            let above = archives::ancestors(&parents, archive.id);
            needed.extend(above.into_iter().map(|parent| (parent, archive.id)));
        }
    }
    Ok(Finished::default())
}

/// Marks records whose object has vanished, so that they do not stand for archives that are there.
async fn look(app: &App, ctx: &JobContext) -> Result<(), JobFailure> {
    let filter = ArchiveFilter { with_missing: true, ..ArchiveFilter::default() };
    let records = app.catalog.archives().list(filter, u32::MAX, 0).await;
    let records = records.map_err(|error| JobFailure::Failed(error.to_string()))?.items;
    let looking = futures::stream::iter(records)
        .map(|record| async move {
            copies::look(app, &record).await?;
            archives::look(app, record).await
        })
        .buffer_unordered(LOOKUPS)
        .try_for_each(|_| async { Ok(()) });
    tokio::select! {
        looked = looking => looked.map_err(|error| JobFailure::Failed(error.to_string())),
        () = ctx.cancel.cancelled() => Err(JobFailure::Cancelled),
    }
}
