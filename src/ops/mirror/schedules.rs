//! Schedules and `backup_schedule`. Who changed a schedule last is told by what its row said when both were
//! last equal.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Refused;
use super::archives::storage_type;
use crate::app::App;
use crate::catalog::ScheduleRecord;
use crate::ops::scheduler::tell_failed;
use crate::ops::schedules::{base_path, is_slot, params_of, portal_zone, slot_id, zone_of};
use crate::ops::{Actor, OpError};
use crate::portal::docspace::audit::Action;
use crate::portal::docspace::backups::INSTALLATION;
use crate::portal::docspace::identity::Identity;
use crate::portal::docspace::schedules::ScheduleRow;
use crate::portal::{PortalError, Tenant};
use crate::schedule::retention::Rules;
use crate::schedule::{Cron, due};
use crate::storage::{StorageParams, StorageType, is_secret_param};

/// The tenant that a dump's schedule was set up from (facts §9).
const CREATOR: &str = "tenantId";

/// Takes over what DocSpace set, changed and deleted.
pub(super) async fn pull(
    app: &App,
    identity: &Identity,
    restored_on: Option<Timestamp>,
) -> Result<(), OpError> {
    let Some(rows) = identity.schedules().await? else { return Ok(()) };
    let records = app.catalog.schedules().all().await?;
    let mut slots: HashMap<_, _> =
        records.into_iter().filter(is_slot).map(|record| (record.id, record)).collect();
    let tenants = app.portal.tenants().await?;
    for row in rows {
        let dump = row.dump || row.tenant_id == INSTALLATION;
        let present = slots.remove(&slot_id(row.tenant_id, dump));
        let ours = present.as_ref().is_some_and(|record| {
            record.stale > 0
                || record.mirrored.as_deref() == Some(row.settings().as_str())
                || was_restored(record, restored_on)
        });
        if !ours {
            take_over(app, &tenants, &row, present).await?;
        } else if let Some(record) = present.filter(|record| record.stale == 0) {
            note(app, &tenants, record, &row).await?;
        }
    }
    for (_, mut record) in slots {
        if record.stale > 0 || record.deleted_on.is_some() {
            continue;
        }
        if was_restored(&record, restored_on) {
            record.stale += 1;
            app.catalog.schedules().save(&record).await?;
        } else if app.catalog.schedules().forget(record.id, record.revision).await? {
            tracing::warn!(schedule = %record.id, "a schedule was deleted because DocSpace's table has it no more");
        }
    }
    Ok(())
}

/// Writes what the table does not show yet.
pub(super) async fn push(app: &App, identity: &Identity) -> Result<(), OpError> {
    let records = app.catalog.schedules().all().await?;
    let mut refused = Refused::default();
    for mut record in records.into_iter().filter(|record| record.stale > 0 && is_slot(record)) {
        if let Some(deleted) = record.deleted_on {
            let tenant = if record.dump { INSTALLATION } else { record.tenant_id };
            // Told first: once the record is forgotten nobody knows of it.
            if refused.note(delete(identity, &record, tenant, deleted).await)? {
                app.catalog.schedules().forget(record.id, record.revision).await?;
            }
            continue;
        }
        let row = row(app, &record)?;
        if !refused.note(identity.put_schedule(&row).await)? {
            continue;
        }
        record.stale = 0;
        // As the table took it: a server that is not strict cuts what is too long.
        let read = identity.schedule(row.tenant_id).await?;
        record.mirrored = Some(read.unwrap_or(row).settings());
        record.synced_on = Some(app.clock.now());
        // Changed meanwhile: the next look writes it again.
        app.catalog.schedules().save(&record).await?;
    }
    refused.result()
}

/// Deletes a schedule's row, with a line in the audit trail.
async fn delete(
    identity: &Identity,
    record: &ScheduleRecord,
    tenant: i64,
    at: Timestamp,
) -> Result<(), PortalError> {
    identity.delete_schedule(tenant).await?;
    let actor = record.deleted_by.as_ref().map(Actor::read).unwrap_or_default();
    let target = record.id.to_string();
    identity.audit(record.tenant_id, Action::ScheduleDeleted, at, actor.who(), &target).await
}

/// Whether the table was put back to another time since both were equal.
fn was_restored(record: &ScheduleRecord, restored_on: Option<Timestamp>) -> bool {
    match (restored_on, record.synced_on) {
        (Some(restored), Some(synced)) => restored > synced,
        _ => false,
    }
}

/// After a restore, a row that differs is to be written again. A run that DocSpace made itself counts as one of
/// ours.
async fn note(
    app: &App,
    tenants: &[Tenant],
    mut record: ScheduleRecord,
    row: &ScheduleRow,
) -> Result<(), OpError> {
    if record.mirrored != Some(row.settings()) {
        record.stale += 1;
    } else if row.last_backup > record.last_run {
        record.last_run = row.last_backup;
        record.retry_on = None;
        let zone = zone_of(app, tenants, &record);
        let cron: Option<Cron> = record.cron.parse().ok();
        record.next_run =
            cron.and_then(|cron| due::taken_over(&cron, &zone, row.last_backup, app.clock.now()));
    } else {
        return Ok(());
    }
    app.catalog.schedules().save(&record).await?;
    Ok(())
}

fn row(app: &App, record: &ScheduleRecord) -> Result<ScheduleRow, OpError> {
    let params = &app.unseal_params(&record.storage_params)?;
    let mut shown: StorageParams =
        params.clone().into_iter().filter(|(name, _)| !is_secret_param(name)).collect();
    if record.dump {
        shown.insert(CREATOR.to_owned(), record.tenant_id.to_string());
    }
    let rules = &record.retention;
    let stored = rules.backups_stored.or(rules.keep_last).map_or(30, |count| count.min(30));
    let folder = match record.storage_type {
        // DocSpace knows absolute folders only.
        StorageType::Local => {
            app.storages.resolve(StorageType::Local, params).ok().and_then(|own| own.local_path())
        }
        _ => None,
    };
    Ok(ScheduleRow {
        tenant_id: if record.dump { INSTALLATION } else { record.tenant_id },
        cron: record.cron.clone(),
        backups_stored: i64::from(stored),
        storage_type: record.storage_type as i64,
        base_path: folder
            .map(|folder| folder.display().to_string())
            .or_else(|| base_path(record.storage_type, params)),
        params: shown,
        last_backup: record.last_run,
        dump: record.dump,
    })
}

/// Makes DocSpace's schedule ours.
async fn take_over(
    app: &App,
    tenants: &[Tenant],
    row: &ScheduleRow,
    present: Option<ScheduleRecord>,
) -> Result<(), OpError> {
    let dump = row.dump || row.tenant_id == INSTALLATION;
    let now = app.clock.now();
    let mut params = row.params.clone();
    let creator = params.remove(CREATOR).and_then(|id| id.parse().ok());
    let tenant_id = if dump { creator.unwrap_or(INSTALLATION) } else { row.tenant_id };
    let known = storage_type(row.storage_type);
    let storage_type = known.unwrap_or(StorageType::Documents);
    let (next_run, last_error) = match row.cron.parse::<Cron>() {
        _ if known.is_none() => {
            (None, Some(format!("storage type {} is unknown", row.storage_type)))
        }
        Ok(cron) => {
            let zone = portal_zone(app, tenants, tenant_id, dump);
            (due::taken_over(&cron, &zone, row.last_backup, now), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    let stored = u32::try_from(row.backups_stored).ok().filter(|count| *count > 0);
    let record = ScheduleRecord {
        id: slot_id(row.tenant_id, dump),
        tenant_id,
        dump,
        name: "DocSpace".to_owned(),
        cron: row.cron.clone(),
        timezone: None,
        enabled: true,
        storage_params: app.seal_params(&params_of(
            storage_type,
            row.base_path.as_deref(),
            &params,
        ))?,
        storage_type,
        mode: "full".to_owned(),
        full_every: None,
        retention: stored.map_or_else(Rules::default, |count| Rules::stored(count.min(30))),
        created_on: present.as_ref().map_or(now, |present| present.created_on),
        next_run,
        retry_on: None,
        last_run: row.last_backup,
        last_success: present.as_ref().and_then(|present| present.last_success),
        last_job: present.as_ref().and_then(|present| present.last_job),
        awaited: present.as_ref().is_some_and(|present| present.awaited),
        failures: u32::from(last_error.is_some()),
        last_error,
        stale: 0,
        mirrored: Some(row.settings()),
        synced_on: Some(now),
        deleted_on: None,
        deleted_by: None,
        revision: present.as_ref().map_or(0, |present| present.revision),
    };
    if app.catalog.schedules().save(&record).await? {
        tracing::info!(schedule = %record.id, cron = record.cron, "a schedule of DocSpace's was taken over");
        if let Some(error) = record.last_error.clone() {
            // It will never run as it is, so somebody has to hear of it now.
            tell_failed(app, &record, error).await;
        }
    }
    Ok(())
}
