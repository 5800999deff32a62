//! Archives and `backup_backup`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::Refused;
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::OpError;
use crate::ops::archives::{WHOSE_STORE, docspace_store};
use crate::ops::backup::Mode;
use crate::ops::schedules::{base_path, mode_word, params_of, slot_id};
use crate::portal::Tenant;
use crate::portal::docspace::backups::{BackupRow, INSTALLATION};
use crate::portal::docspace::identity::Identity;
use crate::storage::{FILE_ID, StorageParams, StorageType, is_secret_param, of_tenant};

/// Among a row's parameters: the archive that an incremental one needs. DocSpace passes over names that it does not
/// know, and a catalog that was lost learns here what must not be deleted.
const PARENT: &str = "parentId";

/// Enters what DocSpace stored, and notes what it deleted.
pub(super) async fn pull(app: &App, identity: &Identity) -> Result<(), OpError> {
    let upkeep = app.catalog.upkeep();
    let known: HashMap<Uuid, _> =
        upkeep.archive_states().await?.into_iter().map(|state| (state.id, state)).collect();
    let mut seen = HashSet::new();
    let mut tenants = None;
    let Some(rows) = identity.backups().await? else { return Ok(()) };
    for row in rows {
        let Ok(id) = Uuid::try_parse(&row.id) else { continue };
        seen.insert(id);
        match known.get(&id) {
            None => {
                if tenants.is_none() {
                    tenants = Some(app.portal.tenants().await?);
                }
                let tenants = tenants.as_deref().unwrap_or_default();
                let Some(record) = record(app, id, &row, tenants).await else { continue };
                if app.catalog.archives().insert(&record).await? {
                    tracing::info!(archive = %id, name = record.name, "a backup of DocSpace's was taken over");
                    // The table says of it what it is to say.
                    upkeep.archive_told(id, 1).await?;
                }
            }
            Some(state) if state.stale => {}
            Some(state) if row.removed && !state.gone() => {
                app.catalog.archives().mark_removed(id, app.clock.now()).await?;
            }
            Some(state) if !row.removed && state.gone() => {
                upkeep.archive_untold(id).await?;
            }
            Some(_) => {}
        }
    }
    // A restore has put back a table that does not know them.
    for state in known.values() {
        if !state.stale && !state.gone() && !seen.contains(&state.id) {
            upkeep.archive_untold(state.id).await?;
        }
    }
    Ok(())
}

/// Writes what the table does not show yet.
pub(super) async fn push(app: &App, identity: &Identity) -> Result<(), OpError> {
    let stale = app.catalog.upkeep().stale_archives().await?;
    if stale.is_empty() {
        return Ok(());
    }
    let tenants: HashSet<i64> =
        app.portal.tenants().await?.into_iter().map(|tenant| tenant.id).collect();
    let mut refused = Refused::default();
    for (record, changes) in stale {
        let row = row(&record, &app.unseal_params(&record.storage_params)?);
        let made_here = record.job_id.is_some();
        // The table takes backups of tenants only.
        if !tenants.contains(&row.tenant_id)
            || refused.note(identity.put_backup(&row, made_here).await)?
        {
            app.catalog.upkeep().archive_told(record.id, changes).await?;
        }
    }
    refused.result()
}

/// An archive as DocSpace would record it. Secrets stay here.
fn row(record: &ArchiveRecord, params: &StorageParams) -> BackupRow {
    let mut params: StorageParams =
        params.clone().into_iter().filter(|(name, _)| !is_secret_param(name)).collect();
    let url = url::Url::parse(&record.url).ok();
    let path = match record.storage_type {
        StorageType::Local => url
            .filter(|url| url.scheme() == "file")
            .and_then(|url| url.to_file_path().ok())
            .map(|path| path.display().to_string()),
        // Of a file in the portal, its id ends the address.
        StorageType::Documents | StorageType::ThirdpartyDocuments => url
            .and_then(|url| url.path_segments()?.next_back().map(str::to_owned))
            .and_then(|id| Some(percent_decode_str(&id).decode_utf8().ok()?.into_owned()))
            .filter(|id| !id.is_empty()),
        _ => None,
    };
    let folder = base_path(record.storage_type, &params);
    if let Some(parent) = record.parent_id {
        params.insert(PARENT.to_owned(), parent.to_string());
    }
    BackupRow {
        id: record.id.to_string(),
        tenant_id: if record.dump { INSTALLATION } else { record.tenant_id },
        // DocSpace trims what is scheduled by the rule of its own schedule, which is not that of others.
        is_scheduled: record.schedule_id == Some(slot_id(record.tenant_id, record.dump)),
        name: record.name.clone(),
        storage_type: record.storage_type as i64,
        base_path: match (record.storage_type, &path) {
            // DocSpace knows absolute folders only.
            (StorageType::Local, Some(path)) => {
                Path::new(path).parent().map(|folder| folder.display().to_string())
            }
            _ => folder,
        },
        path: path.unwrap_or_else(|| record.name.clone()),
        created_on: record.created_on,
        expires_on: record.expires_on,
        params,
        // facts §6: "hash column = uppercase hex SHA-256".
        hash: record.sha256.to_ascii_uppercase(),
        removed: record.removed_on.is_some()
            || (record.missing_since.is_some() && record.job_id.is_some()),
    }
}

/// A backup of DocSpace's as the catalog keeps it. None: of no storage type that is known here.
async fn record(app: &App, id: Uuid, row: &BackupRow, tenants: &[Tenant]) -> Option<ArchiveRecord> {
    let dump = row.tenant_id == INSTALLATION;
    let storage_type = storage_type(row.storage_type)?;
    let mut name = row.name.clone();
    let mut params = params_of(storage_type, row.base_path.as_deref(), &row.params);
    params.remove(PARENT);
    let parent_id = row.params.get(PARENT).and_then(|id| Uuid::try_parse(id).ok());
    let mut url = format!("docspace:{}/{}", row.storage_type, row.path);
    if storage_type == StorageType::Local {
        let path = Path::new(&row.path);
        if let (Some(folder), Some(file)) = (path.parent(), path.file_name()) {
            params = [("filePath".to_owned(), folder.display().to_string())].into();
            name = file.to_string_lossy().into_owned();
        }
        if let Ok(file) = url::Url::from_file_path(path) {
            url = file.to_string();
        }
    }
    if matches!(storage_type, StorageType::Documents | StorageType::ThirdpartyDocuments) {
        params.insert(FILE_ID.to_owned(), row.path.clone());
    }
    of_tenant(storage_type, &mut params, row.tenant_id, dump);
    let mut size = 0;
    // Where the configuration does not reach, the record shows in the history all the same.
    if let Ok(storage) = app.storages.resolve(storage_type, &params) {
        url = storage.object_url(&name).to_string();
        if !row.removed {
            match storage.size(&name).await {
                Ok(Some(found)) => size = found,
                Ok(None) if storage_type == StorageType::DataStore => {
                    // Of a dump the row does not say which tenant asked for it.
                    for tenant in tenants {
                        let Some(own) = docspace_store(app, tenant.id) else { break };
                        if let Ok(Some(found)) = own.size(&name).await {
                            size = found;
                            url = own.object_url(&name).to_string();
                            params.insert(WHOSE_STORE.to_owned(), tenant.id.to_string());
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Some(ArchiveRecord {
        id,
        tenant_id: row.tenant_id,
        name,
        storage_type,
        storage_params: app.seal_params(&params).ok()?,
        url,
        size,
        sha256: row.hash.to_ascii_lowercase(),
        created_on: row.created_on,
        expires_on: row.expires_on,
        dump,
        mode: mode_word(if parent_id.is_some() { Mode::Incremental } else { Mode::Full })
            .to_owned(),
        parent_id,
        verified_on: None,
        proved_on: None,
        removed_on: row.removed.then_some(row.created_on),
        missing_since: None,
        warnings: 0,
        job_id: None,
        schedule_id: row.is_scheduled.then(|| slot_id(row.tenant_id, dump)),
    })
}

/// By its number.
pub(super) fn storage_type(number: i64) -> Option<StorageType> {
    use StorageType::{
        CustomCloud, DataStore, Documents, Local, ThirdPartyConsumer, ThirdpartyDocuments,
    };
    [Documents, ThirdpartyDocuments, CustomCloud, Local, DataStore, ThirdPartyConsumer]
        .into_iter()
        .find(|known| *known as i64 == number)
}
