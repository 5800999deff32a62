//! Archives that exist: listing, reading, linking, deleting.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::{OpError, Page, PageRequest};

/// A tenant's archives, newest first. `dump`: None = both. Records whose object is gone are left out and marked.
pub async fn history(
    _app: &App,
    _tenant_id: i64,
    _dump: Option<bool>,
) -> Result<Vec<ArchiveRecord>, OpError> {
    todo!()
}

/// Archives, newest first. `tenant_id`: None for all tenants'. `dump`: None for both.
pub async fn list(
    _app: &App,
    _tenant_id: Option<i64>,
    _dump: Option<bool>,
    _page: PageRequest,
) -> Result<Page<ArchiveRecord>, OpError> {
    todo!()
}

/// `tenant_id`: None for an administrator of the installation (own keys).
pub async fn get(_app: &App, _tenant_id: Option<i64>, _id: Uuid) -> Result<ArchiveRecord, OpError> {
    todo!()
}

/// Deletes the object and forgets the record. A foreign tenant's archive is `NotFound`.
pub async fn delete(_app: &App, _tenant_id: Option<i64>, _id: Uuid) -> Result<(), OpError> {
    todo!()
}

/// A working download address: presigned for clouds, signed and expiring for files.
pub async fn link(_app: &App, _archive: &ArchiveRecord) -> Result<url::Url, OpError> {
    todo!()
}

/// Checks the token of a signed link to a file; returns the archive it is for.
pub async fn open_link(_app: &App, _id: Uuid, _token: &str) -> Result<ArchiveRecord, OpError> {
    todo!()
}

/// Bytes of the archive file. `range` must lie within `archive.size`.
pub async fn content(
    _app: &App,
    _archive: &ArchiveRecord,
    _range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, OpError>>, OpError> {
    todo!()
}

/// The archive opened for random access; `archive::Archive` gives entries and their contents.
pub async fn open(_app: &App, _archive: &ArchiveRecord) -> Result<Arc<archive::Archive>, OpError> {
    todo!()
}
