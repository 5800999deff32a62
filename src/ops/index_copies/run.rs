//! One copy: the index captured, staged in the target, and put in the place of the earlier copy when it is whole.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::target::Target;
use super::{CANCELLED, CopyRequest, failure};
use crate::app::App;
use crate::jobs::{CancelReason, Cleaned, Finished, JobContext, JobFailure};
use crate::ops::OpError;
use crate::source::files::{FilesError, Replaced};
use crate::source::index::{Capture, IndexError};
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// What a run may leave in its target.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remains {
    attempt: AttemptId,
    target: String,
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("{0}")]
    Failed(&'static str),
    #[error("cancelled")]
    Cancelled,
}

/// Makes the copy that a job asks for.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let failed = |error: &dyn std::fmt::Display| JobFailure::Failed(error.to_string());
    let request: CopyRequest =
        serde_json::from_value(ctx.job.request.clone()).map_err(|error| failed(&error))?;
    ctx.progress.restart();
    let record =
        Record::begin(app, ctx.job.id, &request.target).await.map_err(|error| failed(&error))?;
    let copied = tokio::select! {
        copied = copy(app, ctx, &request, &record) => copied,
        () = record.keep(app) => Ok(()),
    };
    let reason = ctx.cancel.reason();
    let message = match (&copied, reason) {
        (Ok(()), _) => None,
        // It will be run again.
        (Err(_), Some(CancelReason::Shutdown | CancelReason::Lost)) => {
            return Err(JobFailure::Cancelled);
        }
        (Err(_), Some(CancelReason::User)) | (Err(CopyError::Cancelled), None) => {
            Some(CANCELLED.to_owned())
        }
        (Err(error), None) => Some(failure(&error.to_string())),
    };
    record.end(app, message).await.map_err(|error| failed(&error))?;
    match copied {
        Ok(()) => Ok(Finished::default()),
        Err(_) if reason.is_some() => Err(JobFailure::Cancelled),
        Err(error) => Err(failed(&error)),
    }
}

/// Puts a target back as it was before a run that did not end.
pub(in crate::ops) async fn clean(
    app: &App,
    remains: &serde_json::Value,
) -> Result<Cleaned, String> {
    let remains: Remains =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    let target = Target::resolve(app, &remains.target).map_err(|error| error.to_string())?;
    let staged = target.place.staged(&remains.attempt);
    staged.roll_back().await.map_err(|error| error.to_string())?;
    Ok(Cleaned::Gone)
}

async fn copy(
    app: &Arc<App>,
    ctx: &JobContext,
    request: &CopyRequest,
    record: &Record,
) -> Result<(), CopyError> {
    // Until the swap the target is as it was, and the work may be dropped anywhere.
    let staged = tokio::select! {
        staged = stage(app, ctx, request, record) => staged?,
        () = ctx.cancel.cancelled() => return Err(CopyError::Cancelled),
    };
    ctx.progress.phase("swapping");
    staged.swap().await?;
    Ok(staged.finish().await?)
}

async fn stage(
    app: &Arc<App>,
    ctx: &JobContext,
    request: &CopyRequest,
    record: &Record,
) -> Result<Box<dyn Staged>, CopyError> {
    let source = app.portal.indexes().first();
    let source = source.ok_or(CopyError::Failed("no index is configured any more"))?;
    let target = Target::resolve(app, &request.target)?;
    let present = target.check().await?;
    ctx.progress.phase("capturing");
    let capture = source.index.capture_current(ctx.cancel.token()).await?;
    let files = capture.files().filter(|file| !file.is_directory).count() as u64;
    if files == 0 {
        return Err(CopyError::Failed("the index's folder is empty"));
    }
    capture.warnings().iter().for_each(|warning| ctx.warn(warning.clone()));
    record.expect(files, capture.bytes());
    ctx.progress.add_total(capture.bytes());

    let attempt = AttemptId::new(&ctx.job.id.simple().to_string()[..16])
        .ok_or(CopyError::Failed("no name for the attempt"))?;
    let remains = Remains { attempt: attempt.clone(), target: request.target.clone() };
    let remains = serde_json::to_value(remains).map_err(OpError::internal)?;
    ctx.save_remains(remains).await.map_err(|_| CopyError::Cancelled)?;
    ctx.progress.phase("copying");
    let staging = target.place.stage(&attempt).await?.limited(&app.limits.upload);
    put_all(app, &capture, &staging, ctx, record).await?;
    capture.unchanged().await?;
    let replaced = Replaced::Folders { folders: vec![String::new()], kept: present.folders };
    Ok(staging.ready(replaced).await?)
}

async fn put_all(
    app: &App,
    capture: &Capture,
    staging: &crate::source::files::FilesStaging,
    ctx: &JobContext,
    record: &Record,
) -> Result<(), CopyError> {
    for file in capture.files().filter(|file| !file.is_directory) {
        record.file(&file.path);
        ctx.progress.current(&file.path);
        let content = app.limits.read.slow(capture.read(file).await?);
        let (sender, mut counted) = tokio::sync::mpsc::unbounded_channel();
        let content = content.inspect_ok(move |piece| {
            // Whoever counts goes on as long as there is content.
            let _ = sender.send(piece.len() as u64);
        });
        let content = content.boxed();
        let put = staging.put(file, content);
        let count = async {
            while let Some(bytes) = counted.recv().await {
                record.add(bytes);
                ctx.progress.add(bytes);
            }
        };
        // The counting ends with the content.
        let (put, ()) = tokio::join!(put, count);
        put?;
        record.file_done();
    }
    Ok(())
}
