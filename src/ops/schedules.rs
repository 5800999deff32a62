//! Schedules as their users set and see them. Running them is `ops::scheduler`.

mod slot;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::ScheduleRecord;
use crate::config::LayoutKind;
use crate::ops::backup::{self, Mode, StartBackup};
use crate::ops::{Actor, OpError};
use crate::portal::{PortalError, Tenant};
use crate::schedule::retention::Rules;
use crate::schedule::{Cron, due, zones};
use crate::storage::{StorageParams, StorageType};

pub use slot::{base_path, is_due, is_slot, params_of, slot_id};

const LONGEST_NAME: usize = 200;
/// How often a change is tried that others keep changing under us.
const TRIES: usize = 8;

/// What a schedule is to be.
#[derive(Debug, Clone)]
pub struct SetSchedule {
    /// None: DocSpace's one of the tenant, or of the installation.
    pub id: Option<Uuid>,
    /// Of a dump: the tenant that it is set up from.
    pub tenant_id: i64,
    pub dump: bool,
    pub name: String,
    pub cron: String,
    /// None: the portal's own.
    pub timezone: Option<String>,
    pub enabled: bool,
    pub storage_type: StorageType,
    pub storage_params: StorageParams,
    pub mode: Mode,
    /// Of increments: how old the last full backup may become, such as `7d`.
    pub full_every: Option<String>,
    pub retention: Rules,
}

/// Schedules, the oldest first. `tenant_id`: None for everybody's. `dump`: None for both.
pub async fn list(
    app: &App,
    tenant_id: Option<i64>,
    dump: Option<bool>,
) -> Result<Vec<ScheduleRecord>, OpError> {
    let mut records = app.catalog.schedules().all().await?;
    records.retain(|record| {
        record.deleted_on.is_none()
            && tenant_id.is_none_or(|tenant| record.dump || record.tenant_id == tenant)
            && dump.is_none_or(|dump| record.dump == dump)
    });
    Ok(records)
}

/// One schedule; another tenant's is `NotFound`, but a dump's is everybody's: the caller checks who may see it.
pub async fn get(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<ScheduleRecord, OpError> {
    find(app, id)
        .await?
        .filter(|record| tenant_id.is_none_or(|tenant| record.dump || record.tenant_id == tenant))
        .ok_or_else(|| OpError::NotFound(format!("there is no schedule {id}")))
}

/// One schedule, whoever's it is.
pub async fn find(app: &App, id: Uuid) -> Result<Option<ScheduleRecord>, OpError> {
    let record = app.catalog.schedules().get(id).await?;
    Ok(record.filter(|record| record.deleted_on.is_none()))
}

/// Makes a schedule, or writes over the one that has the id. Its first run is the next time that comes;
/// what its runs before were is forgotten only when DocSpace's own is written, as DocSpace does.
pub async fn set(app: &App, wanted: SetSchedule) -> Result<ScheduleRecord, OpError> {
    let slot = slot_id(wanted.tenant_id, wanted.dump);
    let id = wanted.id.unwrap_or(slot);
    let now = app.clock.now();
    let (cron, zone) = check(app, &wanted, now).await?;
    let next_run = if wanted.enabled { due::first_run(&cron, &zone, now) } else { None };
    for _ in 0..TRIES {
        let present = app.catalog.schedules().get(id).await?;
        let kept =
            present.clone().filter(|present| present.deleted_on.is_none() && wanted.id.is_some());
        let record = ScheduleRecord {
            id,
            tenant_id: wanted.tenant_id,
            dump: wanted.dump,
            name: wanted.name.trim().to_owned(),
            cron: cron.as_str().to_owned(),
            timezone: wanted.timezone.clone(),
            enabled: wanted.enabled,
            storage_type: wanted.storage_type,
            storage_params: app.seal_params(&wanted.storage_params)?,
            mode: mode_word(wanted.mode).to_owned(),
            full_every: wanted.full_every.clone(),
            retention: wanted.retention.clone(),
            created_on: kept.as_ref().map_or(now, |kept| kept.created_on),
            next_run,
            retry_on: None,
            last_run: kept.as_ref().and_then(|kept| kept.last_run),
            last_success: kept.as_ref().and_then(|kept| kept.last_success),
            last_job: kept.as_ref().and_then(|kept| kept.last_job),
            awaited: kept.as_ref().is_some_and(|kept| kept.awaited),
            last_error: kept.as_ref().and_then(|kept| kept.last_error.clone()),
            failures: kept.as_ref().map_or(0, |kept| kept.failures),
            stale: present.as_ref().map_or(0, |present| present.stale) + 1,
            mirrored: present.as_ref().and_then(|present| present.mirrored.clone()),
            synced_on: present.as_ref().and_then(|present| present.synced_on),
            deleted_on: None,
            deleted_by: None,
            revision: present.as_ref().map_or(0, |present| present.revision),
        };
        if app.catalog.schedules().save(&record).await? {
            app.queue.wake();
            return find(app, id)
                .await?
                .ok_or_else(|| OpError::NotFound(format!("there is no schedule {id}")));
        }
    }
    Err(OpError::Conflict("somebody else is changing the schedule: try again".to_owned()))
}

/// Deletes a schedule; its archives stay. False: there was none.
pub async fn delete(app: &App, id: Uuid, by: Option<Actor>) -> Result<bool, OpError> {
    for _ in 0..TRIES {
        let Some(mut record) = find(app, id).await? else { return Ok(false) };
        let schedules = app.catalog.schedules();
        let done = if app.portal.layout() == LayoutKind::Docspace
            && app.config.portal.docspace.mirror
            && is_slot(&record)
        {
            record.deleted_on = Some(app.clock.now());
            record.deleted_by = by.as_ref().and_then(|by| serde_json::to_value(by).ok());
            record.next_run = None;
            record.retry_on = None;
            record.awaited = false;
            record.stale += 1;
            schedules.save(&record).await?
        } else {
            schedules.forget(id, record.revision).await?
        };
        if done {
            app.queue.wake();
            tracing::info!(schedule = %id, name = record.name, "a schedule was deleted");
            return Ok(true);
        }
    }
    Err(OpError::Conflict("somebody else is changing the schedule: try again".to_owned()))
}

async fn check(
    app: &App,
    wanted: &SetSchedule,
    now: Timestamp,
) -> Result<(Cron, TimeZone), OpError> {
    let name = wanted.name.trim();
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(OpError::Invalid(format!(
            "name: it must have 1 to {LONGEST_NAME} bytes, none of them control characters"
        )));
    }
    wanted.retention.check().map_err(OpError::Invalid)?;
    let cron: Cron = wanted.cron.parse().map_err(invalid)?;
    let zone = match &wanted.timezone {
        Some(zone) => zones::find(zone)
            .ok_or_else(|| OpError::Invalid(format!("timezone: {zone:?} is not known")))?,
        None => portal_zone(app, &app.portal.tenants().await?, wanted.tenant_id, wanted.dump),
    };
    cron.must_come(now, &zone).map_err(invalid)?;
    if wanted.dump && wanted.storage_params.keys().any(|key| key.eq_ignore_ascii_case("tenantId")) {
        return Err(OpError::Invalid(
            "storageParams: tenantId cannot be set for a dump: it is the portal that asks"
                .to_owned(),
        ));
    }
    let needs_folder =
        matches!(wanted.storage_type, StorageType::Documents | StorageType::ThirdpartyDocuments);
    if needs_folder && base_path(wanted.storage_type, &wanted.storage_params).is_none() {
        return Err(OpError::Invalid("storageParams: folderId is missing".to_owned()));
    }
    backup::check(app, &start_of(wanted))?;
    Ok((cron, zone))
}

fn start_of(wanted: &SetSchedule) -> StartBackup {
    StartBackup {
        tenant_id: wanted.tenant_id,
        storage_type: wanted.storage_type,
        storage_params: wanted.storage_params.clone(),
        dump: wanted.dump,
        mode: wanted.mode,
        parent: None,
        full_every: wanted.full_every.clone(),
        actor: None,
    }
}

fn invalid(error: crate::schedule::CronError) -> OpError {
    OpError::Invalid(error.to_string())
}

pub fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "full",
        Mode::Incremental => "incremental",
    }
}

/// The tenants, or, while the portal's database is away, as this process saw them last.
pub async fn tenants_seen(app: &App) -> Vec<Tenant> {
    match tenants(app).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::warn!(%error, "schedules are shown by the time zones that were known last");
            app.scheduling.seen()
        }
    }
}

/// The tenants as they are now.
pub(super) async fn tenants(app: &App) -> Result<Vec<Tenant>, PortalError> {
    let tenants = app.portal.tenants().await?;
    app.scheduling.see(&tenants);
    Ok(tenants)
}

/// The zone that a schedule without one of its own follows: of its tenant; a dump's is that of the
/// tenant that holds the installation's settings.
pub fn portal_zone(app: &App, tenants: &[Tenant], tenant_id: i64, dump: bool) -> TimeZone {
    let whose = match app.portal.layout() {
        LayoutKind::Plain => 1,
        LayoutKind::Docspace if dump => -1,
        LayoutKind::Docspace => tenant_id,
    };
    let tenant = tenants.iter().find(|tenant| tenant.id == whose);
    let name = tenant.and_then(|tenant| tenant.timezone.as_deref());
    match name.map(|name| (name, zones::find(name))) {
        Some((_, Some(zone))) => zone,
        Some((name, None)) => {
            tracing::warn!(
                tenant = whose,
                zone = name,
                "an unknown time zone: UTC is taken instead"
            );
            TimeZone::UTC
        }
        None => TimeZone::UTC,
    }
}

/// The zone that a schedule follows.
pub fn zone_of(app: &App, tenants: &[Tenant], record: &ScheduleRecord) -> TimeZone {
    let own = record.timezone.as_deref().and_then(zones::find);
    own.unwrap_or_else(|| portal_zone(app, tenants, record.tenant_id, record.dump))
}
