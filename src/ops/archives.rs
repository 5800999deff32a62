//! Archives that exist: listing, reading, linking, deleting.

use std::ops::Range;
use std::sync::Arc;

use archive::{Archive, ReadAt};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::ops::{OpError, Page, PageRequest};
use crate::storage::{Storage, StorageType};

/// How many storages are asked at once whether an archive is still there.
const LOOKUPS: usize = 8;

/// A tenant's archives, newest first. `dump`: None = both. Records whose object is gone are marked and left out.
pub async fn history(
    app: &App,
    tenant_id: i64,
    dump: Option<bool>,
) -> Result<Vec<ArchiveRecord>, OpError> {
    let filter = ArchiveFilter { tenant_id: Some(tenant_id), dump, with_missing: true };
    let records = app.catalog.archives().list(filter, u32::MAX, 0).await?.items;
    let present: Vec<Option<ArchiveRecord>> = futures::stream::iter(records)
        .map(|record| async move {
            if app.presence.is_gone(app, &record).await {
                app.catalog.archives().mark_missing(record.id, Timestamp::now()).await?;
                return Ok::<_, OpError>(None);
            }
            if record.missing_since.is_some() {
                app.catalog.archives().mark_found(record.id).await?;
            }
            Ok(Some(record))
        })
        .buffered(LOOKUPS)
        .try_collect()
        .await?;
    Ok(present.into_iter().flatten().collect())
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

/// Deletes the object and forgets the record. A foreign tenant's archive is `NotFound`.
pub async fn delete(app: &App, tenant_id: Option<i64>, id: Uuid) -> Result<(), OpError> {
    let record = get(app, tenant_id, id).await?;
    storage(app, &record)?.delete(&record.name).await?;
    app.catalog.archives().mark_removed(id, Timestamp::now()).await?;
    Ok(())
}

/// A working download address: presigned for clouds, signed and expiring for files.
pub async fn link(app: &App, archive: &ArchiveRecord) -> Result<url::Url, OpError> {
    if matches!(archive.storage_type, StorageType::Documents | StorageType::ThirdpartyDocuments) {
        // Where only its user could write there, nobody can look now; the address says so when it is used.
        return app.links.sign(archive.id).map_err(OpError::internal);
    }
    let presigned =
        storage(app, archive)?.presigned_link(&archive.name, app.links.lifetime()).await?;
    match presigned {
        Some(url) => Ok(url),
        None => app.links.sign(archive.id).map_err(OpError::internal),
    }
}

/// Checks the token of a signed link to a file; returns the archive it is for.
pub async fn open_link(app: &App, id: Uuid, token: &str) -> Result<ArchiveRecord, OpError> {
    if !app.links.verify(id, token) {
        return Err(OpError::Forbidden);
    }
    get(app, None, id).await
}

/// Bytes of the archive file. `range` must lie within `archive.size`.
pub async fn content(
    app: &App,
    archive: &ArchiveRecord,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, OpError>>, OpError> {
    let stream = storage(app, archive)?.read(&archive.name, range).await?;
    Ok(stream.map_err(OpError::from).boxed())
}

/// The archive opened for random access; `archive::Archive` gives entries and their contents.
pub async fn open(app: &App, archive: &ArchiveRecord) -> Result<Arc<Archive>, OpError> {
    let opened = Archive::open(source(app, archive).await?)
        .await
        .map_err(|error| OpError::Unavailable(format!("{}: {error}", archive.name)))?;
    Ok(Arc::new(opened))
}

/// The archive file itself, to be read at any place.
pub async fn source(app: &App, archive: &ArchiveRecord) -> Result<Arc<dyn ReadAt>, OpError> {
    Ok(Arc::new(storage(app, archive)?.open(&archive.name).await?))
}

/// The storage that a record's archive lies in.
pub(super) fn storage(app: &App, archive: &ArchiveRecord) -> Result<Storage, OpError> {
    let params = app.unseal_params(&archive.storage_params)?;
    let storage = app.storages.resolve(archive.storage_type, &params)?;
    if storage.object_url(&archive.name).as_str() != archive.url {
        return Err(OpError::Unavailable(format!(
            "the archive lies at {}, where the configuration no longer points",
            archive.url
        )));
    }
    Ok(storage)
}
