//! Verification of stored archives.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{ReadAt, Report};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{self, EncryptionError, Keys, Opened};
use crate::jobs::{Cleaned, Finished, Job, JobContext, JobFailure, JobKind, NewJob, Progress};
use crate::ops::OpError;
use crate::ops::archives::{self, Located};
use crate::ops::chain::{self, Near};
use crate::ops::restore::{ArchiveChoice, RestoreRequest, prove};
use crate::source::restore::AttemptId;

/// Said when only the stored bytes could be checked.
const SEALED: &str = "the archive is encrypted and there is no identity to open it with: its stored bytes are those that \
                      were written, and its contents were not checked";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyRequest {
    archive: ArchiveChoice,
    /// Whether it is also loaded into a scratch place and compared.
    #[serde(default)]
    restore: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_file: Option<PathBuf>,
}

/// Starts the verification of an archive. `restore`: also prove it by a restore into a scratch place.
/// `identity_file`: as of [`RestoreRequest`].
pub async fn start(
    app: &App,
    tenant_id: Option<i64>,
    id: Uuid,
    restore: bool,
    identity_file: Option<PathBuf>,
) -> Result<Job, OpError> {
    let archive = archives::get(app, tenant_id, id).await?;
    let request = VerifyRequest { archive: ArchiveChoice::Id { id }, restore, identity_file };
    let what = if restore { "prove" } else { "verify" };
    let new = NewJob {
        kind: JobKind::Verify,
        tenant_id: archive.tenant_id,
        dump: archive.dump,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: Some(format!("{what}:{id}")),
        archive_id: Some(id),
    };
    Ok(app.queue.enqueue(new).await?.job)
}

/// Starts the proof of an archive that may not be in the catalog: from the command line only.
pub async fn start_elsewhere(
    app: &App,
    tenant_id: i64,
    archive: ArchiveChoice,
    identity_file: Option<PathBuf>,
) -> Result<Job, OpError> {
    let request = VerifyRequest { archive, restore: true, identity_file };
    let new = NewJob {
        kind: JobKind::Verify,
        tenant_id,
        dump: true,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: None,
        archive_id: None,
    };
    Ok(app.queue.enqueue(new).await?.job)
}

/// Whether a job is to prove an archive by a restore.
pub(super) fn is_proof(job: &Job) -> bool {
    job.request["restore"] == true
}

/// Runs the verification that a job asks for.
pub(super) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let failed = |error: &dyn std::fmt::Display| JobFailure::Failed(error.to_string());
    let request: VerifyRequest =
        serde_json::from_value(ctx.job.request.clone()).map_err(|error| failed(&error))?;
    ctx.progress.restart();
    if request.restore {
        return prove(app, ctx, request).await;
    }
    let ArchiveChoice::Id { id } = request.archive else {
        return Err(failed(&"only archives of the catalog are verified by jobs"));
    };
    let archive = archives::get(app, None, id).await.map_err(|error| failed(&error))?;
    ctx.progress.phase("verifying");
    ctx.progress.add_total(archive.size);
    let keys = app.keys_with(request.identity_file.as_deref()).map_err(|error| failed(&error))?;
    let Located { stored, near, notice } =
        archives::located(app, &archive).await.map_err(|error| failed(&error))?;
    notice.into_iter().for_each(|notice| ctx.warn(notice));
    let known = Some(&archive).filter(|archive| !archive.sha256.is_empty());
    let report = tokio::select! {
        report = read(Some(app), &keys, &near, stored, known, &ctx.progress) => report.map_err(JobFailure::Failed)?,
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

async fn prove(
    app: &Arc<App>,
    ctx: &JobContext,
    VerifyRequest { archive, identity_file, .. }: VerifyRequest,
) -> Result<Finished, JobFailure> {
    let failed = |error: &dyn std::fmt::Display| JobFailure::Failed(error.to_string());
    let attempt = attempt_id(&ctx.job).ok_or_else(|| failed(&"no name for the attempt"))?;
    let remains = serde_json::to_value(&attempt).map_err(|error| failed(&error))?;
    ctx.save_remains(remains).await?;
    let mut request = RestoreRequest::of(archive);
    (request.identity_file, request.by_operator) = (identity_file, true);
    let proof = tokio::select! {
        proof = prove::prove(app, &request, &attempt, &ctx.progress) => proof,
        () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
    };
    let proof = proof.map_err(|error| failed(&error))?;
    prove::clean(app, &attempt).await.map_err(|error| failed(&error))?;
    proof.warnings.into_iter().for_each(|warning| ctx.warn(warning));
    Ok(match request.archive {
        ArchiveChoice::Id { id } => Finished::proved(id, Timestamp::now()),
        _ => Finished::default(),
    })
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

/// Reads a stored archive, and all that it needs, whole and checks everything in it. Of an encrypted one that nothing
/// here opens, only the stored bytes can be compared with what was recorded of them (`known`), and a warning says so.
pub async fn read(
    app: Option<&App>,
    keys: &Arc<Keys>,
    near: &Near,
    stored: Arc<dyn ReadAt>,
    known: Option<&ArchiveRecord>,
    progress: &Progress,
) -> Result<Report, String> {
    match Opened::new(Arc::clone(&stored), keys).await {
        Ok(opened) => chain::verify(app, keys, near, &opened, progress)
            .await
            .map_err(|error| error.to_string()),
        Err(EncryptionError::NoIdentity) if known.is_some() => {
            let sha256 = encryption::digest(stored.clone(), |bytes| progress.add(bytes)).await;
            Ok(Report {
                bytes: stored.len(),
                sha256: sha256.map_err(|error| error.to_string())?,
                warnings: vec![SEALED.to_owned()],
                ..Report::default()
            })
        }
        Err(error) => Err(error.to_string()),
    }
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
