//! Archives that exist: listing, reading, linking, deleting.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use archive::{Archive, ReadAt};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord, CopyRecord};
use crate::config::LayoutKind;
use crate::encryption::{Keys, Opened};
use crate::ops::chain::{self, Near};
use crate::ops::copies::Readable;
use crate::ops::{OpError, Page, PageRequest, copies, presence, retention, unopened};
use crate::portal::docspace::layout::tenant_path;
use crate::storage::{self, Storage, StorageType};

/// A tenant's archives, newest first. `dump`: None = both. Records whose object is gone are marked and, unless there is a
/// copy, left out. Those who poll ask [`super::recent::Recent`].
pub async fn history(
    app: &Arc<App>,
    tenant_id: i64,
    dump: Option<bool>,
) -> Result<Arc<[ArchiveRecord]>, OpError> {
    let filter = ArchiveFilter { tenant_id: Some(tenant_id), dump, with_missing: true };
    let records = app.catalog.archives().list(filter, u32::MAX, 0).await?.items;
    let (mut there, gone) = app.presence.partition(app, records).await;
    if !gone.is_empty() {
        let copies = copies::of(app, &gone).await?;
        there.extend(gone.into_iter().filter(|record| copies::is_there(copies.get(&record.id))));
        there.sort_by_key(|record| std::cmp::Reverse((record.created_on, record.id)));
    }
    Ok(there.into())
}

/// Looks whether an archive's object is still there, and notes what is seen. None: it is gone.
pub(super) async fn look(
    app: &App,
    record: ArchiveRecord,
) -> Result<Option<ArchiveRecord>, OpError> {
    Ok(presence::look(app, record.clone()).await.then_some(record))
}

/// Archives, newest first, also those whose objects are gone. `tenant_id`: None for all tenants'.
/// `dump`: None for both.
pub async fn list(
    app: &App,
    tenant_id: Option<i64>,
    dump: Option<bool>,
    page: PageRequest,
) -> Result<Page<ArchiveRecord>, OpError> {
    let filter = ArchiveFilter { tenant_id, dump, with_missing: true };
    Ok(app.catalog.archives().list(filter, page.limit, page.offset).await?)
}

/// One archive; another tenant's is `NotFound`, but a dump is everybody's: the caller checks who may see
/// dumps. `tenant_id`: None for an administrator of the installation (own keys).
pub async fn get(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<ArchiveRecord, OpError> {
    app.catalog
        .archives()
        .get(id)
        .await?
        .filter(|record| record.removed_on.is_none())
        .filter(|record| tenant_id.is_none_or(|tenant| record.dump || record.tenant_id == tenant))
        .ok_or_else(|| OpError::NotFound(format!("there is no archive {id}")))
}

/// A record as the one who asks reaches the archive: one in the portal's documents with their own credential, if
/// DocSpace shows them the file, because the configured key may be missing or not see it. Never to be kept.
pub async fn lent(app: &App, record: ArchiveRecord, credential: Option<String>) -> ArchiveRecord {
    let Some(credential) = credential.filter(|_| record.storage_type.is_documents()) else {
        return record;
    };
    let mut own = record.clone();
    let origin = app.portal.origin_of(record.tenant_id).await;
    storage::lend(&mut own.storage_params, credential, origin);
    match storage(app, &own) {
        Ok(storage) if matches!(storage.size(&own.name).await, Ok(Some(_))) => own,
        _ => record,
    }
}

/// Why an archive's storage, or that of a copy, will not let it go yet; None: it will.
pub(super) fn locked(
    record: &ArchiveRecord,
    copies: &[CopyRecord],
    now: Timestamp,
) -> Option<String> {
    let own = storage::locked_until(&record.storage_params);
    let until = copies.iter().filter_map(|copy| copy.locked_until).chain(own).max()?;
    let day = until.strftime("%Y-%m-%d %H:%M UTC");
    (until > now).then(|| format!("it is locked in its storage until {day}"))
}

/// Deletes the object and forgets the record. A foreign tenant's archive is `NotFound`; one that something
/// under way reads, that an incremental archive builds on, or that its storage has locked, is `Conflict`.
/// `credential`: see [`lent`].
pub async fn delete(
    app: &App,
    tenant_id: Option<i64>,
    id: Uuid,
    credential: Option<String>,
) -> Result<(), OpError> {
    let record = get(app, tenant_id, id).await?;
    if let Some(why) = retention::held(app).await?.remove(&id) {
        return Err(OpError::Conflict(format!("{}: {why}", record.name)));
    }
    let copies = copies::of(app, [&record]).await?.remove(&id).unwrap_or_default();
    if let Some(why) = locked(&record, &copies, app.clock.now()) {
        return Err(OpError::Conflict(format!("{}: {why}", record.name)));
    }
    if let Some(child) = needs(app, id).await? {
        let text = format!("{}: the incremental archive {child} builds on it", record.name);
        return Err(OpError::Conflict(text));
    }
    remove(app, &lent(app, record, credential).await).await
}

/// An archive that is there and cannot be read without `id`, by way of others or not.
async fn needs(app: &App, id: Uuid) -> Result<Option<Uuid>, OpError> {
    let all = ArchiveFilter { with_missing: true, ..ArchiveFilter::default() };
    let all = app.catalog.archives().list(all, u32::MAX, 0).await?.items;
    let parents: HashMap<Uuid, Option<Uuid>> =
        all.iter().map(|record| (record.id, record.parent_id)).collect();
    let mut needing: Vec<_> =
        all.iter().filter(|record| ancestors(&parents, record.id).contains(&id)).collect();
    let copies = copies::of(app, needing.iter().copied()).await?;
    needing.retain(|record| !copies::is_gone(record, copies.get(&record.id)));
    // The list is newest first, and what builds on it directly says most.
    Ok(needing.last().map(|record| record.id))
}

/// All that an archive builds on, its parent first.
pub(super) fn ancestors(parents: &HashMap<Uuid, Option<Uuid>>, of: Uuid) -> Vec<Uuid> {
    let mut found = Vec::new();
    let mut next = of;
    while let Some(parent) = parents.get(&next).copied().flatten()
        && parent != of
        && !found.contains(&parent)
    {
        found.push(parent);
        next = parent;
    }
    found
}

/// Deletes a tenant's archives. `dump`: None for both its own and those of the installation. Goes on after a
/// failure; the first one is the error.
pub async fn delete_history(
    app: &App,
    tenant_id: i64,
    dump: Option<bool>,
    credential: Option<String>,
) -> Result<(), OpError> {
    let filter = ArchiveFilter { tenant_id: Some(tenant_id), dump, with_missing: true };
    let mut records = app.catalog.archives().list(filter, u32::MAX, 0).await?.items;
    // Newest first, so that an incremental one goes before what it builds on.
    records.sort_by_key(|record| std::cmp::Reverse(record.created_on));
    let mut first = None;
    for record in records {
        match delete(app, Some(tenant_id), record.id, credential.clone()).await {
            Ok(()) | Err(OpError::NotFound(_)) => {}
            Err(error) => {
                tracing::warn!(archive = %record.id, %error, "an archive could not be deleted");
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Deletes the object, then its copies, and forgets the record. While its own storage will not let it go, the copies
/// stay too.
pub(super) async fn remove(app: &App, record: &ArchiveRecord) -> Result<(), OpError> {
    let there = app.catalog.archives().by_url(record.url.clone()).await?;
    match storage(app, record) {
        // Its object was taken away by hand, and the name was used again.
        _ if there.is_some_and(|there| there.id != record.id) => {}
        Ok(storage) => delete_object(app, record, &storage).await?,
        // Its object is gone already, wherever it was.
        Err(error) if record.missing_since.is_some() => {
            tracing::debug!(archive = %record.id, %error, "the record of a missing archive is removed");
        }
        Err(error) => return Err(error),
    }
    copies::remove(app, record).await?;
    app.catalog.archives().mark_removed(record.id, Timestamp::now()).await?;
    // The portal's own tables are to hear of it.
    app.queue.wake();
    Ok(())
}

/// Noted before it is gone: whoever is killed then leaves no record of a good archive.
async fn delete_object(
    app: &App,
    record: &ArchiveRecord,
    storage: &Storage,
) -> Result<(), OpError> {
    let archives = app.catalog.archives();
    if record.missing_since.is_none() {
        archives.mark_missing(record.id, Timestamp::now()).await?;
    }
    let deleted = storage.delete(&record.name).await;
    if deleted.is_err()
        && record.missing_since.is_none()
        && let Err(error) = archives.mark_found(record.id).await
    {
        tracing::warn!(archive = %record.id, %error, "cannot note that an archive still exists");
    }
    deleted?;
    Ok(())
}

/// A working download address: presigned for clouds, signed and expiring for files.
pub async fn link(app: &App, archive: &ArchiveRecord) -> Result<url::Url, OpError> {
    if archive.storage_type.is_documents() {
        // Where only its user could write there, nobody can look now; the address says so when it is used.
        return app.links.sign(archive.id).map_err(OpError::internal);
    }
    if archive.missing_since.is_none()
        && let Some(url) = presigned(app, archive).await
    {
        return Ok(url);
    }
    app.links.sign(archive.id).map_err(OpError::internal)
}

/// None: the storage's credentials cannot sign, or it is not to be had now. Whoever opens a link of ours is told then.
async fn presigned(app: &App, archive: &ArchiveRecord) -> Option<url::Url> {
    let asked = async {
        let storage = storage(app, archive)?;
        Ok::<_, OpError>(storage.presigned_link(&archive.name, app.links.lifetime()).await?)
    };
    asked.await.unwrap_or_else(|error| {
        tracing::info!(archive = %archive.id, %error, "no link of the storage can be made, so it is one of ours");
        None
    })
}

/// Checks the token of a signed link to a file; returns the archive it is for.
pub async fn open_link(app: &App, id: Uuid, token: &str) -> Result<ArchiveRecord, OpError> {
    if !app.links.verify(id, token) {
        return Err(OpError::Forbidden);
    }
    get(app, None, id).await
}

/// The archive with its size: of one that was taken over from DocSpace while its storage was away it is not known yet.
pub async fn measured(app: &App, archive: ArchiveRecord) -> Result<ArchiveRecord, OpError> {
    if archive.size > 0 {
        return Ok(archive);
    }
    presence::look(app, archive.clone()).await;
    get(app, None, archive.id).await
}

/// Bytes of the archive file as it is stored, or of a copy. `range` must lie within `archive.size`.
pub async fn content(
    app: &App,
    archive: &ArchiveRecord,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, OpError>>, OpError> {
    let stream = copies::find(app, archive).await?.object.stream(range)?;
    Ok(stream.map_err(OpError::from).boxed())
}

/// The archive opened for random access, an increment as the whole that it stands for; `archive::Archive` gives entries and their contents.
pub async fn open(app: &App, archive: &ArchiveRecord) -> Result<Arc<Archive>, OpError> {
    open_with(app, archive, &app.keys).await
}

/// The same with other identities.
pub async fn open_with(
    app: &App,
    archive: &ArchiveRecord,
    keys: &Arc<Keys>,
) -> Result<Arc<Archive>, OpError> {
    let Located { stored, near, .. } = located(app, archive).await?;
    let source =
        Opened::new(stored, keys).await.map_err(|error| unopened(&archive.name, &error))?;
    let opened = chain::open(Some(app), keys, &near, &source)
        .await
        .map_err(|error| OpError::Unavailable(format!("{}: {error}", archive.name)))?;
    Ok(Arc::new(opened))
}

/// The archive file as it is stored, to be read at any place; when it is gone, a copy of it.
pub async fn stored(app: &App, archive: &ArchiveRecord) -> Result<Arc<dyn ReadAt>, OpError> {
    Ok(located(app, archive).await?.stored)
}

/// An archive file as it is stored, and where.
pub struct Located {
    pub stored: Arc<dyn ReadAt>,
    pub near: Near,
    /// Why it is read from elsewhere than where it was stored.
    pub notice: Option<String>,
}

/// The same, and where it lies.
pub async fn located(app: &App, archive: &ArchiveRecord) -> Result<Located, OpError> {
    let Readable { object, storage, notice } = copies::open(app, archive).await?;
    Ok(Located { stored: Arc::new(object), near: Near::Storage(storage), notice })
}

/// Names the tenant in whose [`docspace_store`] an archive lies.
pub(super) const WHOSE_STORE: &str = "tenantId";

/// Where DocSpace itself keeps what a tenant stores for a day, beside the files that are backed up.
pub(super) fn docspace_store(app: &App, tenant: i64) -> Option<Storage> {
    let files = app.config.portal.filesystem.first()?;
    if app.portal.layout() != LayoutKind::Docspace || files.url.scheme() != "file" {
        return None;
    }
    let mut url = files.url.clone();
    let tenant = tenant_path(tenant);
    let folders = ["Studio"].into_iter().chain(tenant.split('/')).chain(["backup"]);
    url.path_segments_mut().ok()?.pop_if_empty().extend(folders);
    app.storages.folder_by_url(&url).ok()
}

/// The storage that a record's archive lies in.
pub fn storage(app: &App, archive: &ArchiveRecord) -> Result<Storage, OpError> {
    let params = app.unseal_params(&archive.storage_params)?;
    let mut storage = app.storages.resolve(archive.storage_type, &params)?;
    if archive.storage_type == StorageType::DataStore
        && storage.object_url(&archive.name).as_str() != archive.url
        && let Some(tenant) = params.get(WHOSE_STORE).and_then(|tenant| tenant.parse().ok())
        && let Some(docspace) = docspace_store(app, tenant)
    {
        storage = docspace;
    }
    if storage.object_url(&archive.name).as_str() != archive.url {
        return Err(OpError::Unavailable(format!(
            "the archive lies at {}, where the configuration no longer points",
            archive.url
        )));
    }
    Ok(storage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Options, Secret, UrlConfig};

    #[tokio::test]
    async fn where_a_storage_cannot_sign_the_link_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.catalog.url = Secret::new(format!("sqlite://{}/c.db", dir.path().display()));
        config.storage.local.root = dir.path().join("backups");
        let options = [("account_name", "some"), ("skip_signature", "true")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = Options(options.into_iter().collect());
        let url = "az://archives/x".parse().unwrap();
        config.storage.custom_cloud = Some(UrlConfig { url, options });
        let app = App::build(config).await.unwrap();
        let record = ArchiveRecord {
            name: "a.tar.gz".to_owned(),
            storage_type: StorageType::CustomCloud,
            url: "az://archives/x/a.tar.gz".to_owned(),
            ..ArchiveRecord::sample()
        };
        storage(&app, &record).unwrap();
        let ours = link(&app, &record).await.unwrap();
        assert!(app.links.path_of(&ours).is_some(), "{ours}");
        // Nor is it that where the configuration has changed since.
        let moved = ArchiveRecord { url: "az://archives/y/a.tar.gz".to_owned(), ..record };
        link(&app, &moved).await.unwrap();
    }
}
