//! What is inside a stored archive.

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::OpError;

/// One member of an archive, as its manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    /// The manifest's word for what it is.
    pub kind: String,
    /// Bytes, uncompressed.
    pub size: u64,
    /// Lowercase hex; None in an archive without a manifest.
    pub sha256: Option<String>,
    /// Of tables.
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct EntryPage {
    pub entries: Vec<Entry>,
    /// To be given back for the next page; None: this was the last.
    pub next: Option<String>,
}

pub type Content = BoxStream<'static, Result<Bytes, OpError>>;

/// The members whose paths begin with `prefix`, in the order of the archive, at most `limit` of them.
/// A cursor that is not one of ours is `Invalid`.
pub async fn list(
    _app: &App,
    _archive: &ArchiveRecord,
    _prefix: &str,
    _cursor: Option<&str>,
    _limit: u32,
) -> Result<EntryPage, OpError> {
    todo!()
}

/// One member and its content, of exactly `size` bytes; fetches only the frames that hold it.
pub async fn read(
    _app: &App,
    _archive: &ArchiveRecord,
    _path: &str,
) -> Result<(Entry, Content), OpError> {
    todo!()
}
