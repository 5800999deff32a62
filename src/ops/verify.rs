//! Verification of stored archives.

use std::sync::Arc;

use archive::Report;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Cleaned, Finished, Job, JobContext, JobFailure, JobKind, NewJob, Progress};
use crate::ops::chain::{self, Near};
use crate::ops::restore::{ArchiveChoice, RestoreRequest, prove};
use crate::ops::{OpError, archives};
use crate::source::restore::AttemptId;
use crate::storage::Storage;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyRequest {
    archive_id: Uuid,
    /// Whether it is also loaded into a scratch place and compared.
    #[serde(default)]
    restore: bool,
}

/// Starts the verification of an archive. `restore`: also prove it by a restore into a scratch place.
pub async fn start(
    app: &App,
    tenant_id: Option<i64>,
    id: Uuid,
    restore: bool,
) -> Result<Job, OpError> {
    let archive = archives::get(app, tenant_id, id).await?;
    let request = VerifyRequest { archive_id: id, restore };
    let enqueued = app
        .queue
        .enqueue(NewJob {
            kind: JobKind::Verify,
            tenant_id: archive.tenant_id,
            dump: archive.dump,
            request: serde_json::to_value(request).map_err(OpError::internal)?,
            exclusive: Some(format!("verify:{id}")),
            archive_id: Some(id),
        })
        .await?;
    Ok(enqueued.job)
}

/// Runs the verification that a job asks for.
pub(super) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let failed = |error: &dyn std::fmt::Display| JobFailure::Failed(error.to_string());
    let request: VerifyRequest =
        serde_json::from_value(ctx.job.request.clone()).map_err(|error| failed(&error))?;
    let archive = archives::get(app, None, request.archive_id).await.map_err(|e| failed(&e))?;
    ctx.progress.restart();
    if request.restore {
        return prove(app, ctx, archive.id).await;
    }
    ctx.progress.phase("verifying");
    ctx.progress.add_total(archive.size);
    let storage = archives::storage(app, &archive).map_err(|error| failed(&error))?;
    let report = tokio::select! {
        report = check(app, &storage, &archive.name, &ctx.progress) => report.map_err(JobFailure::Failed)?,
        () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
    };
    for warning in &report.warnings {
        ctx.warn(warning.clone());
    }
    match verdict(&report, &archive.sha256, archive.size) {
        Ok(()) => Ok(Finished::verified(archive.id, Timestamp::now())),
        Err(problem) => Err(JobFailure::Failed(problem)),
    }
}

async fn prove(app: &Arc<App>, ctx: &JobContext, archive: Uuid) -> Result<Finished, JobFailure> {
    let failed = |error: &dyn std::fmt::Display| JobFailure::Failed(error.to_string());
    let attempt = attempt_id(&ctx.job).ok_or_else(|| failed(&"no name for the attempt"))?;
    let remains = serde_json::to_value(&attempt).map_err(|error| failed(&error))?;
    ctx.save_remains(remains).await?;
    let request = RestoreRequest::of(ArchiveChoice::Id { id: archive });
    let proof = tokio::select! {
        proof = prove::prove(app, &request, &attempt, &ctx.progress) => proof,
        () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
    };
    let proof = proof.map_err(|error| failed(&error))?;
    prove::clean(app, &attempt).await.map_err(|error| failed(&error))?;
    proof.warnings.into_iter().for_each(|warning| ctx.warn(warning));
    Ok(Finished::proved(archive, Timestamp::now()))
}

/// What a proof stages is named after its job.
fn attempt_id(job: &Job) -> Option<AttemptId> {
    AttemptId::new(&job.id.simple().to_string()[..16])
}

/// Drops what a dead or failed proof left.
pub(super) async fn clean(app: &App, remains: &serde_json::Value) -> Result<Cleaned, String> {
    let attempt: AttemptId =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    prove::clean(app, &attempt).await.map_err(|error| error.to_string())?;
    Ok(Cleaned::Gone)
}

/// Reads a stored archive, and all that it needs, whole and checks everything in it.
async fn check(
    app: &App,
    storage: &Storage,
    name: &str,
    progress: &Progress,
) -> Result<Report, String> {
    let object = storage.open(name).await.map_err(|error| error.to_string())?;
    let near = Near::Storage(storage.clone());
    chain::verify(Some(app), &near, Arc::new(object), progress)
        .await
        .map_err(|error| error.to_string())
}

/// Whether a report says that the archive is whole and the very one that was recorded.
pub fn verdict(report: &Report, sha256: &str, size: u64) -> Result<(), String> {
    if let Some(problem) = report.problems.first() {
        return Err(match report.problem_count {
            1 => format!("the archive is damaged: {problem}"),
            count => format!("the archive is damaged: {problem}; and {} more", count - 1),
        });
    }
    if report.bytes != size {
        return Err(format!("the archive has {} bytes, {size} were recorded", report.bytes));
    }
    // DocSpace kept none of some of its archives.
    if !sha256.is_empty() && hex::encode(report.sha256) != sha256.to_ascii_lowercase() {
        return Err("the archive is not the one that was recorded: its SHA-256 differs".to_owned());
    }
    Ok(())
}
