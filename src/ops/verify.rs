//! Verification of a stored archive, as a job.

use uuid::Uuid;

use crate::app::App;
use crate::jobs::Job;
use crate::ops::OpError;

/// Starts the verification of an archive. `restore`: also prove it by a restore into a scratch place (not yet: `Invalid`).
pub async fn start(
    _app: &App,
    _tenant_id: Option<i64>,
    _id: Uuid,
    _restore: bool,
) -> Result<Job, OpError> {
    todo!()
}
