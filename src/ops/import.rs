//! Rebuilding a lost catalog from the archives themselves.

use std::collections::HashSet;
use std::sync::Arc;

use archive::Report;
use futures::TryStreamExt;
use jiff::Timestamp;
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::config::LayoutKind;
use crate::jobs::{JobState, Progress};
use crate::ops::chain::Near;
use crate::ops::{OpError, verify};
use crate::storage::{Storage, StorageParams, StorageType, in_record};

/// What became of one archive that was found.
#[derive(Debug)]
pub enum Imported {
    Added(Box<ArchiveRecord>),
    Known(String),
    /// Not whole, or no archive at all: it is left alone.
    Refused {
        name: String,
        reason: String,
    },
}

/// Reads every archive of a storage, in `Local` also of the folders in it, verifies it, and enters those that
/// the catalog lacks. `each` hears of every archive as it is done.
pub async fn import(
    app: &App,
    kind: StorageType,
    params: StorageParams,
    mut each: impl FnMut(&Imported),
) -> Result<(), OpError> {
    let filter = ArchiveFilter { with_missing: true, ..ArchiveFilter::default() };
    let known = app.catalog.archives().list(filter, u32::MAX, 0).await?.items;
    let known: HashSet<String> = known.into_iter().map(|record| record.url).collect();
    let first = Place { kind, storage: app.storages.resolve(kind, &params)?, params };
    let mut places = look(app, &first, &known, &mut each).await?;
    while let Some(url) = places.pop() {
        match within(app, &url, &known, &mut each).await {
            Ok(below) => places.extend(below),
            Err(error) => {
                each(&Imported::Refused { name: url.to_string(), reason: error.to_string() });
            }
        }
    }
    Ok(())
}

async fn within(
    app: &App,
    url: &Url,
    known: &HashSet<String>,
    each: &mut impl FnMut(&Imported),
) -> Result<Vec<Url>, OpError> {
    let (kind, params) = app.storages.named(url)?;
    let place = Place { kind, storage: app.storages.resolve(kind, &params)?, params };
    look(app, &place, known, each).await
}

/// Enters the archives that lie directly in a place; the folders in it.
async fn look(
    app: &App,
    place: &Place,
    known: &HashSet<String>,
    each: &mut impl FnMut(&Imported),
) -> Result<Vec<Url>, OpError> {
    let mut objects = place.storage.list().await?;
    while let Some((name, size)) = objects.try_next().await? {
        let imported = if known.contains(place.storage.object_url(&name).as_str()) {
            Imported::Known(name)
        } else {
            match read(app, place, &name, size).await {
                Ok(record) => {
                    app.catalog.archives().insert(&record).await?;
                    Imported::Added(Box::new(record))
                }
                Err(reason) => Imported::Refused { name, reason },
            }
        };
        each(&imported);
    }
    if place.kind != StorageType::Local {
        return Ok(Vec::new());
    }
    let mut folders = place.storage.folders().await?;
    // A file system's own, which only root may read.
    folders.retain(|name| name != "lost+found");
    let url = |name: &String| place.storage.object_url(name);
    Ok(folders.iter().rev().map(url).collect())
}

/// A storage as a request names it.
struct Place {
    kind: StorageType,
    params: StorageParams,
    storage: Storage,
}

async fn read(app: &App, place: &Place, name: &str, size: u64) -> Result<ArchiveRecord, String> {
    let storage = &place.storage;
    let object = storage.open(name).await.map_err(|error| error.to_string())?;
    let near = Near::Storage(storage.clone());
    // Who it is stands inside, so nothing is known of one that cannot be opened.
    let (stored, progress) = (Arc::new(object), Progress::default());
    let report = verify::read(Some(app), &app.keys, &near, stored, None, &progress).await?;
    if let Some(problem) = report.problems.first() {
        return Err(problem.clone());
    }
    let info = report.info.as_ref();
    if info.is_none() && !report.marker && !(report.tables > 0 && report.restore_info) {
        let text = "it is no backup of a portal: it has no manifest of ours, and neither DocSpace's \
                    marker of a dump nor tables with storage/restore_info";
        return Err(text.to_owned());
    }
    let (id, created_on) = identity(&report);
    let locked_until = storage.locked_until(name, created_on).await;
    let locked_until = locked_until.map_err(|error| error.to_string())?;
    let params = in_record(&place.params, None, locked_until);
    // An archive has the id of its job: while that runs, or before its remains are cleaned, it is not ours.
    if let Ok(Some(job)) = app.queue.get(id).await
        && job.state != JobState::Succeeded
    {
        return Err("a backup that has not ended well is writing it".to_owned());
    }
    let id = match app.catalog.archives().get(id).await {
        // The same archive may lie in two storages; each copy has a record of its own.
        Ok(Some(_)) => Uuid::new_v4(),
        _ => id,
    };
    let dump = info.map_or(report.marker, |info| info.dump);
    let tenant_id = match (app.config.portal.layout, info.and_then(|info| info.tenants.first())) {
        (LayoutKind::Plain, _) => 1,
        (LayoutKind::Docspace, Some(tenant)) if !dump => tenant.id,
        (LayoutKind::Docspace, _) => -1,
    };
    Ok(ArchiveRecord {
        id,
        tenant_id,
        name: name.to_owned(),
        storage_type: place.kind,
        storage_params: app.seal_params(&params).map_err(|error| error.to_string())?,
        url: storage.object_url(name).to_string(),
        size,
        sha256: hex::encode(report.sha256),
        created_on,
        expires_on: place.kind.expires_on(created_on),
        dump,
        mode: info.map_or_else(|| "full".to_owned(), |info| info.mode.clone()),
        parent_id: info.and_then(|info| info.parent.as_deref()?.parse().ok()),
        verified_on: Some(Timestamp::now()),
        proved_on: None,
        removed_on: None,
        missing_since: None,
        warnings: info.map_or(0, |info| info.warnings.len() as u64),
        job_id: None,
        schedule_id: info.and_then(|info| info.schedule.as_deref()?.parse().ok()),
    })
}

/// Our manifests tell who an archive is; DocSpace's archives do not.
fn identity(report: &Report) -> (Uuid, Timestamp) {
    let info = report.info.as_ref();
    let id = info.and_then(|info| info.id.parse().ok()).unwrap_or_else(Uuid::new_v4);
    let created = info.and_then(|info| info.started_on.parse().ok());
    (id, created.unwrap_or_else(Timestamp::now))
}
