//! Backups: started by a request, run as a job.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::jobs::Job;
use crate::ops::OpError;
use crate::storage::{StorageParams, StorageType};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Full,
    Incremental,
}

#[derive(Debug, Clone)]
pub struct StartBackup {
    pub tenant_id: i64,
    pub storage_type: StorageType,
    pub storage_params: StorageParams,
    pub dump: bool,
    pub mode: Mode,
}

/// Starts a backup; when one runs that excludes it, returns that one.
pub async fn start(_app: &App, _request: StartBackup) -> Result<Job, OpError> {
    todo!()
}

/// Asks the running backups of a tenant, and a running dump, to stop. Returns the latest of them as it is then.
pub async fn cancel(_app: &App, _tenant_id: i64) -> Result<Option<Job>, OpError> {
    todo!()
}

/// The backup a progress request means: the running or else the latest one of the tenant.
/// `dump`: true = the installation's dump, false = the tenant's own, None = whichever is running or newest.
pub async fn latest(
    _app: &App,
    _tenant_id: i64,
    _dump: Option<bool>,
) -> Result<Option<Job>, OpError> {
    todo!()
}
