//! One restore, from the archive to the old state dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remains::{Phase, Remains, drop_old, open_again, settle, undo};

use super::health::{self, Expected};
use super::load::Loaded;
use super::targets::Targets;
use super::{ArchiveChoice, RestoreRequest};
use crate::app::App;
use crate::jobs::{CancelReason, Cleaned, Finished, Job, JobContext, JobFailure};
use crate::ops::{OpError, uploads};
use crate::portal::PortalError;
use crate::portal::docspace::restoring;
use crate::source::database::DatabaseError;
use crate::source::files::FilesError;
use crate::source::restore::{RestoreError, Staged};

mod remains;
mod stage;
mod verified;

pub use verified::verified;

/// Bytes of tables and files a second, as a guess until they are loaded: that is slower than reading the archive.
pub(super) const LOADING: u64 = 30_000_000;
/// How long a last step that failed is left alone before it is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long it is tried.
const TRIED: Duration = Duration::from_secs(600);
const INTERRUPTED: &str = "the service was stopped, or could not reach its catalog, while it restored; the portal was put back as it was: \
                           start the restore again";

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Portal(#[from] PortalError),
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("reading the archive: {0}")]
    Archive(#[from] archive::Error),
    #[error("{0}")]
    Failed(String),
    #[error("the restore was cancelled")]
    Cancelled,
    #[error("{0}")]
    Internal(String),
}

/// Runs the restore that a job asks for. When it fails, [`clean`] puts the portal back.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(app, &ctx.job).map_err(JobFailure::Failed)?;
    run_request(app, ctx, &request).await
}

/// The same, as `request` says.
pub(in crate::ops) async fn run_request(
    app: &Arc<App>,
    ctx: &JobContext,
    request: &RestoreRequest,
) -> Result<Finished, JobFailure> {
    match (Attempt { app, ctx, request }).run().await {
        Ok(finished) => Ok(finished),
        Err(RunError::Cancelled) => Err(JobFailure::Cancelled),
        Err(error) => Err(JobFailure::Failed(error.to_string())),
    }
}

/// Finishes or rolls back what a dead or failed attempt left, by what it noted last.
pub(in crate::ops) async fn clean(
    app: &App,
    job: &Job,
    remains: &serde_json::Value,
) -> Result<Cleaned, String> {
    let request = request(app, job)?;
    clean_into(app, job, request.into.as_deref(), remains).await
}

/// The same, into what `into` names.
pub(in crate::ops) async fn clean_into(
    app: &App,
    job: &Job,
    into: Option<&str>,
    remains: &serde_json::Value,
) -> Result<Cleaned, String> {
    let remains: Remains =
        serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    let targets = Targets::resolve(app, into).map_err(|error| error.to_string())?;
    if remains.phase == Phase::Proved {
        open_again(app, &remains).await.map_err(|error| error.to_string())?;
        drop_old(&targets, &remains).await.map_err(|error| error.to_string())?;
        return Ok(Cleaned::Succeeded(Box::default()));
    }
    undo(app, &targets, &remains).await.map_err(|error| error.to_string())?;
    tracing::info!(job = %job.id, "a restore was rolled back: the portal is as it was");
    Ok(Cleaned::Undone(INTERRUPTED.to_owned()))
}

/// The job's request, with what was sealed.
fn request(app: &App, job: &Job) -> Result<RestoreRequest, String> {
    let request: RestoreRequest = serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))?;
    request.unsealed(app).map_err(|error| error.to_string())
}

struct Attempt<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a RestoreRequest,
}

/// Everything that is ready to go live.
struct Ready {
    remains: Remains,
    sources: Vec<Box<dyn Staged>>,
    loaded: Loaded,
    /// What the databases must have afterwards, by their positions.
    tables: Vec<(usize, Expected)>,
    /// For each filesystem its replaced folders.
    folders: BTreeMap<usize, Vec<String>>,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Finished, RunError> {
        let mut targets = Targets::resolve(self.app, self.request.into.as_deref())?;
        // Until the swap begins, the portal is untouched, and the work may be dropped anywhere.
        let ready = tokio::select! {
            ready = self.stage(&mut targets) => ready?,
            () = self.ctx.cancel.cancelled() => return Err(RunError::Cancelled),
        };
        let mut remains = ready.remains.clone();
        remains.phase = Phase::Swapping;
        self.note(&remains).await?;
        self.ctx.progress.phase("swapping");
        for source in &ready.sources {
            source.swap().await?;
        }
        for warning in settle(&ready.sources).await? {
            self.ctx.warn(warning);
        }
        self.ctx.progress.phase("checking");
        self.check(&targets, &ready).await?;
        remains.phase = Phase::Proved;
        self.note(&remains).await?;
        self.ctx.progress.phase("cleaning up");
        let job = self.ctx.job.id;
        while let Err(error) = open_again(self.app, &remains).await {
            tracing::warn!(%job, %error, "the portal could not be opened; trying again");
            self.pause().await?;
        }
        let begun = Instant::now();
        while let Err(error) = drop_old(&targets, &remains).await {
            tracing::warn!(%job, %error, "the old state could not be dropped; trying again");
            if begun.elapsed() > TRIED {
                // The portal is as it should be.
                self.ctx.warn(format!(
                    "the old state could not be dropped: what is called portal_backup_{} is of no use any more ({error})",
                    remains.attempt
                ));
                break;
            }
            self.pause().await?;
        }
        if let ArchiveChoice::Uploaded { tenant } = self.request.archive {
            uploads::remove(self.app, tenant).await;
        }
        if remains.closed {
            self.ctx.warn(restoring::AFTERWARDS);
        }
        tracing::info!(
            job = %self.ctx.job.id, tables = ready.loaded.tables, rows = ready.loaded.rows,
            "the portal is as the archive says"
        );
        Ok(Finished::default())
    }

    /// Leaves a last step that failed alone for a while; errors where others are to go on with it.
    async fn pause(&self) -> Result<(), RunError> {
        if let Some(CancelReason::Lost | CancelReason::Shutdown) = self.ctx.cancel.reason() {
            return Err(RunError::Cancelled);
        }
        tokio::time::sleep(AGAIN).await;
        Ok(())
    }

    async fn note(&self, remains: &Remains) -> Result<(), RunError> {
        let value =
            serde_json::to_value(remains).map_err(|error| RunError::Internal(error.to_string()))?;
        self.ctx.save_remains(value).await.map_err(|_| RunError::Cancelled)
    }

    /// Whether the portal is now what the archive says.
    async fn check(&self, targets: &Targets, ready: &Ready) -> Result<(), RunError> {
        let unhealthy = |why: String| RunError::Failed(format!("after the swap {why}"));
        let (mut faults, mut changes) = (Vec::new(), Vec::new());
        for (position, expected) in &ready.tables {
            let (missing, changed) = expected.compare(&targets.databases[*position]).await?;
            faults.extend(missing);
            changes.extend(changed);
        }
        for (position, counted) in &ready.loaded.files {
            let Some(target) = targets.filesystem(*position) else { continue };
            changes.extend(ready.loaded.sample.compare(target).await);
            let Some(folders) = ready.folders.get(position) else { continue };
            let (files, bytes) = health::count(target, folders).await?;
            // Others may have written new ones since.
            if files < counted.files || bytes < counted.bytes {
                faults.push(format!(
                    "filesystem {} has {files} files of {bytes} bytes, and the archive {} of {}",
                    target.name, counted.files, counted.bytes
                ));
            }
        }
        // Where the portal is open, its users may be at work again.
        match ready.remains.closed {
            true => faults.append(&mut changes),
            false => changes.iter().for_each(|changed| {
                self.ctx.warn(format!("soon after it was put in place, {changed}"));
            }),
        }
        if let Some(identity) = self.app.portal.identity()
            && ready.remains.closed
        {
            faults.extend(identity.faults().await?);
        }
        match faults.into_iter().next() {
            Some(fault) => Err(unhealthy(fault)),
            None => Ok(()),
        }
    }
}
