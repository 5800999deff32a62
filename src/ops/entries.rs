//! What is inside a stored archive.

use archive::{EntryKind, EntryRecord};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::{OpError, archives};

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

impl From<&EntryRecord> for Entry {
    fn from(record: &EntryRecord) -> Self {
        Self {
            path: record.path.clone(),
            kind: word(record.kind),
            size: record.size,
            sha256: record.sha256.as_ref().map(ToString::to_string),
            rows: record.rows,
        }
    }
}

fn word(kind: EntryKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
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
    app: &App,
    archive: &ArchiveRecord,
    prefix: &str,
    cursor: Option<&str>,
    limit: u32,
) -> Result<EntryPage, OpError> {
    // A cursor is how many members lie before the page.
    let begin: u64 = match cursor {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| OpError::Invalid(format!("{text:?} is no cursor of this list")))?,
    };
    let opened = archives::open(app, archive).await?;
    let mut records = std::pin::pin!(opened.entries().enumerate());
    let mut page = EntryPage::default();
    while let Some((position, record)) = records.next().await {
        let position = position as u64;
        let record = record.map_err(|error| unreadable(archive, &error))?;
        if position < begin || !record.path.starts_with(prefix) {
            continue;
        }
        if page.entries.len() as u64 == u64::from(limit) {
            page.next = Some(position.to_string());
            break;
        }
        page.entries.push(Entry::from(&record));
    }
    Ok(page)
}

/// One member and its content, of exactly `size` bytes; fetches only the frames that hold it.
pub async fn read(
    app: &App,
    archive: &ArchiveRecord,
    path: &str,
) -> Result<(Entry, Content), OpError> {
    let missing = || OpError::NotFound(format!("the archive has no member {path:?}"));
    // Names that no archive can hold say nothing about this one.
    archive::clean_path(path).map_err(|_| missing())?;
    let opened = archives::open(app, archive).await?;
    let found = opened.find(path).await.map_err(|error| unreadable(archive, &error))?;
    let record = found.ok_or_else(missing)?;
    let name = archive.name.clone();
    let content = opened
        .read(&record, None)
        .map_err(move |error| OpError::Unavailable(format!("{name}: {error}")))
        .boxed();
    Ok((Entry::from(&record), content))
}

fn unreadable(archive: &ArchiveRecord, error: &archive::Error) -> OpError {
    OpError::Unavailable(format!("{}: {error}", archive.name))
}
