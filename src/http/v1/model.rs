//! Objects of our own API.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::catalog::{ArchiveRecord, CopyRecord, CopyState};
use crate::http::docspace::bind::storage_type_name;
use crate::jobs::{Job, JobKind, JobState};
use crate::ops::Page;
use crate::ops::entries::{Entry, EntryPage};

/// A piece of work. Times are UTC (RFC 3339).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
pub struct JobView {
    pub id: Uuid,
    #[schema(value_type = Kind)]
    pub kind: JobKind,
    #[schema(value_type = State)]
    pub state: JobState,
    pub tenant_id: i64,
    /// Whether it is about the whole installation.
    pub dump: bool,
    /// What is being done just now.
    pub phase: String,
    /// 0 to 100, by bytes; 100 only when the work is done and checked. Never falls.
    #[schema(maximum = 100)]
    pub percent: u8,
    pub bytes_done: u64,
    /// Estimated, and corrected on the way.
    pub bytes_total: u64,
    /// Bytes a second, over the last seconds.
    pub rate: u64,
    #[schema(required)]
    pub eta_seconds: Option<u64>,
    /// The entry being read.
    #[schema(required)]
    pub current: Option<String>,
    /// The archive it made, or is about.
    #[schema(required)]
    pub archive_id: Option<Uuid>,
    /// Why it failed.
    #[schema(required)]
    pub error: Option<String>,
    /// What the archive lacks, or what of it could not be restored.
    pub warnings: Vec<String>,
    /// How often it was begun: more than once if the service was killed meanwhile.
    pub attempt: u32,
    pub cancel_requested: bool,
    #[schema(format = DateTime)]
    pub created_on: String,
    #[schema(required, format = DateTime)]
    pub started_on: Option<String>,
    #[schema(required, format = DateTime)]
    pub finished_on: Option<String>,
}

/// What kind of work it is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `jobs::JobKind`")]
#[schema(as = JobKind, rename_all = "lowercase")]
pub enum Kind {
    Backup,
    Restore,
    Verify,
    Prune,
    SourceBackup,
    SourceRestore,
    Copy,
    /// A copy of the index, by sensenet's API.
    Index,
    Consolidate,
    Rekey,
}

/// How far the work is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `jobs::JobState`")]
#[schema(as = JobState, rename_all = "lowercase")]
pub enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// DocSpace's storage types, spelling included.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `storage::StorageType`")]
#[schema(as = StorageType)]
pub enum StorageTypeName {
    Documents,
    ThridpartyDocuments,
    CustomCloud,
    Local,
    DataStore,
    ThirdPartyConsumer,
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        let progress = job.progress.clone();
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            tenant_id: job.tenant_id,
            dump: job.dump,
            phase: progress.phase,
            percent: progress.percent.min(100),
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            rate: progress.rate,
            eta_seconds: progress.eta_seconds,
            current: progress.current,
            archive_id: job.archive_id,
            error: job.error.clone(),
            warnings: job.warnings.clone(),
            attempt: job.attempt,
            cancel_requested: job.cancel_requested,
            created_on: time(job.created_on),
            started_on: job.started_on.map(time),
            finished_on: job.finished_on.map(time),
        }
    }
}

/// A stored archive. Times are UTC (RFC 3339).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Archive)]
pub struct ArchiveView {
    pub id: Uuid,
    pub tenant_id: i64,
    pub name: String,
    #[schema(value_type = StorageTypeName)]
    pub storage_type: &'static str,
    /// Where it lies, without credentials.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    #[schema(format = DateTime)]
    pub created_on: String,
    #[schema(required, format = DateTime)]
    pub expires_on: Option<String>,
    /// Whether it is of the whole installation.
    pub dump: bool,
    /// `full` or `incremental`.
    pub mode: String,
    /// The archive that an incremental one builds on.
    #[schema(required)]
    pub parent_id: Option<Uuid>,
    /// When it was last read back and compared.
    #[schema(required, format = DateTime)]
    pub verified_on: Option<String>,
    /// When it was last restored into a scratch place and compared.
    #[schema(required, format = DateTime)]
    pub proved_on: Option<String>,
    /// The further storages that it is sent to.
    pub copies: Vec<CopyView>,
}

/// An archive in a further storage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Copy)]
pub struct CopyView {
    /// The storage's name in the configuration.
    pub name: String,
    /// Where it lies, without credentials, once it is there.
    #[schema(required)]
    pub url: Option<String>,
    #[schema(value_type = CopyStateName)]
    pub state: CopyState,
    /// When it was read back and compared.
    #[schema(required, format = DateTime)]
    pub verified_on: Option<String>,
    /// Why the last try failed.
    #[schema(required)]
    pub error: Option<String>,
    /// When it will be tried again.
    #[schema(required, format = DateTime)]
    pub next_try: Option<String>,
}

/// How far a copy is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `catalog::CopyState`")]
#[schema(as = CopyState, rename_all = "lowercase")]
pub enum CopyStateName {
    Waiting,
    Stored,
    Failed,
    Cancelled,
    Missing,
    Unreachable,
}

impl From<&CopyRecord> for CopyView {
    fn from(copy: &CopyRecord) -> Self {
        Self {
            name: copy.name.clone(),
            url: copy.url.clone(),
            state: copy.state,
            verified_on: copy.verified_on.map(time),
            error: copy.error.clone(),
            next_try: copy.next_try.map(time),
        }
    }
}

impl ArchiveView {
    pub fn new(archive: &ArchiveRecord, copies: Option<&Vec<CopyRecord>>) -> Self {
        Self {
            copies: copies.into_iter().flatten().map(CopyView::from).collect(),
            id: archive.id,
            tenant_id: archive.tenant_id,
            name: archive.name.clone(),
            storage_type: storage_type_name(archive.storage_type),
            url: archive.url.clone(),
            size: archive.size,
            sha256: archive.sha256.clone(),
            created_on: time(archive.created_on),
            expires_on: archive.expires_on.map(time),
            dump: archive.dump,
            mode: archive.mode.clone(),
            parent_id: archive.parent_id,
            verified_on: archive.verified_on.map(time),
            proved_on: archive.proved_on.map(time),
        }
    }
}

/// Jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    pub items: Vec<JobView>,
    /// How many there are in all.
    pub total: u64,
}

impl From<Page<Job>> for JobList {
    fn from(page: Page<Job>) -> Self {
        Self { items: page.items.iter().map(JobView::from).collect(), total: page.total }
    }
}

/// Archives, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArchiveList {
    pub items: Vec<ArchiveView>,
    /// How many there are in all.
    pub total: u64,
}

impl ArchiveList {
    pub fn new(page: &Page<ArchiveRecord>, copies: &HashMap<Uuid, Vec<CopyRecord>>) -> Self {
        let view = |archive: &ArchiveRecord| ArchiveView::new(archive, copies.get(&archive.id));
        Self { items: page.items.iter().map(view).collect(), total: page.total }
    }
}

/// One member of an archive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryView {
    pub path: String,
    /// What it is, such as a file, or a table's rows.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex; null if the archive has no manifest.
    #[schema(required)]
    pub sha256: Option<String>,
    /// Of tables.
    #[schema(required)]
    pub rows: Option<u64>,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let Entry { path, kind, size, sha256, rows } = entry;
        Self { path, kind, size, sha256, rows }
    }
}

/// Members of an archive, in its order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryList {
    pub items: Vec<EntryView>,
    /// Give it back as `cursor` for the next part; null: this was the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl From<EntryPage> for EntryList {
    fn from(page: EntryPage) -> Self {
        let items = page.entries.into_iter().map(EntryView::from).collect();
        Self { items, next_cursor: page.next }
    }
}

/// RFC 3339, UTC.
pub fn time(at: Timestamp) -> String {
    at.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::docspace::model::tests::{archive, job};

    #[test]
    fn a_job_has_all_that_the_contract_names() {
        let value = serde_json::to_value(JobView::from(&job(JobState::Running))).unwrap();
        for name in [
            "id",
            "kind",
            "state",
            "phase",
            "percent",
            "bytesDone",
            "bytesTotal",
            "rate",
            "etaSeconds",
            "current",
            "archiveId",
            "error",
            "warnings",
        ] {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert_eq!((&value["kind"], &value["state"]), (&json!("backup"), &json!("running")));
        assert_eq!(value["createdOn"], "1970-01-01T00:00:00Z");
        assert_eq!(value["startedOn"], Value::Null);
    }

    #[test]
    fn an_archive_has_all_that_the_contract_names() {
        let value = serde_json::to_value(ArchiveView::new(&archive(), None)).unwrap();
        for name in [
            "id",
            "name",
            "storageType",
            "url",
            "size",
            "sha256",
            "createdOn",
            "expiresOn",
            "dump",
            "mode",
            "parentId",
            "verifiedOn",
            "provedOn",
        ] {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert_eq!(value["storageType"], "Local");
        assert_eq!(value["createdOn"], "2026-03-01T02:15:00.75Z");
    }
}
