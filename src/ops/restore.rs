//! Restores: started by a request, run as a job. The archive is verified first, everything is staged beside the live
//! portal, swapped in, checked, and only then is the old state dropped.

mod plan;
mod run;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Job, JobFilter, JobKind};
use crate::ops::OpError;
use crate::storage::{StorageParams, StorageType};

pub use plan::{FilesystemPlan, RestorePlan, TableAction, TablePlan};
pub(super) use run::{clean, run};

/// Where the archive of a restore lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum ArchiveChoice {
    /// In the catalog.
    Id { id: Uuid },
    /// In a storage as a request names it; `path`: the archive's name or path in it, as DocSpace's `filePath`.
    #[serde(rename_all = "camelCase")]
    Stored { storage_type: StorageType, storage_params: StorageParams, path: String },
    /// What the tenant has uploaded.
    Uploaded { tenant: i64 },
    /// At a URL; a request may name only those that the configuration allows.
    Url { url: Url },
    /// A file of this machine: from the command line only.
    Path { path: PathBuf },
}

/// What a caller asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRequest {
    pub archive: ArchiveChoice,
    /// None: whatever the archive is.
    pub dump: Option<bool>,
    /// Members, or folders of them; empty: everything.
    #[serde(default)]
    pub only: Vec<String>,
    /// A configured source by its name, or a URL, to restore into instead of the portal's own.
    #[serde(default)]
    pub into: Option<String>,
    /// Run the SQL of an archive that the catalog does not know as if it were our own.
    #[serde(default)]
    pub trust: bool,
    /// Whether the URL was named by the operator (on the command line), so that nothing is refused.
    #[serde(default)]
    pub by_operator: bool,
}

/// Starts a restore. When one is under way, returns that one; [`OpError::Conflict`] while a backup runs.
pub async fn start(_app: &App, _tenant_id: i64, _request: RestoreRequest) -> Result<Job, OpError> {
    todo!()
}

/// What a restore would do; changes nothing.
pub async fn plan(
    _app: &App,
    _tenant_id: i64,
    _request: &RestoreRequest,
) -> Result<RestorePlan, OpError> {
    todo!()
}

/// The restore that a progress request means: the running or else the latest one. A dump's is everybody's.
/// `dump`: None = whichever is running or newest.
pub async fn latest(app: &App, tenant_id: i64, dump: Option<bool>) -> Result<Option<Job>, OpError> {
    let tenant_id = (dump == Some(false)).then_some(tenant_id);
    let filter =
        JobFilter { kind: Some(JobKind::Restore), tenant_id, dump, ..JobFilter::default() };
    Ok(app.queue.latest(filter).await?)
}
