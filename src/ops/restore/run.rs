//! One restore, from the archive to the old state dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remains::{Phase, Remains, drop_old, open_again, settle, undo};

use super::chosen;
use super::contents::{self, Contents, Only};
use super::health::{self, Expected};
use super::kept::Kept;
use super::load::{Loaded, Loader, LoadingDatabase};
use super::targets::Targets;
use super::{ArchiveChoice, RestoreRequest, indexes, plan};
use crate::app::App;
use crate::jobs::{CancelReason, Cleaned, Finished, Job, JobContext, JobFailure};
use crate::ops::{OpError, uploads};
use crate::portal::docspace::restoring;
use crate::portal::{INDEXES, KeptBackups, Placed, PortalError};
use crate::source::database::{DatabaseError, Staging, Trust};
use crate::source::files::{FilesError, FilesStaging, Replaced};
use crate::source::restore::{AttemptId, RestoreError, Staged};

mod remains;
mod verified;

pub use verified::verified;

/// Bytes of tables and files a second, as a guess until they are loaded: that is slower than reading the archive.
pub(super) const LOADING: u64 = 30_000_000;
/// How long a last step that failed is left alone before it is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long it is tried.
const TRIED: Duration = Duration::from_secs(600);
const INTERRUPTED: &str = "the service was stopped while it restored; the portal was put back as it was: \
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

    /// Verifies the archive and stages all of it. Nothing that is live is touched.
    async fn stage(&self, targets: &mut Targets) -> Result<Ready, RunError> {
        let (app, ctx) = (self.app, self.ctx);
        let only = Only::new(&self.request.only).map_err(RunError::Failed)?;
        ctx.progress.restart();
        let chosen = chosen::find(app, None, self.request).await?;
        chosen.notice.iter().for_each(|notice| ctx.warn(notice.clone()));
        // Loading is the longer part: it is counted from the start.
        let expected = chosen.contents_bytes(app).await;
        ctx.progress.add_total(chosen.size() + expected);
        ctx.progress.later(expected, LOADING);
        let verified = verified(app, &chosen, self.request.trust, &ctx.progress).await?;
        let placing = app.portal.placing();
        let temp_dir = &app.config.backup.temp_dir;
        let contents = contents::read(&verified.archive, placing, &only, temp_dir).await;
        let mut contents = contents.map_err(RunError::Failed)?;
        let backups = match only.is_everything() {
            true => targets.keep_backups(app).await?,
            false => KeptBackups::default(),
        };
        targets.keep_archives(app).await?;
        let trust = Some(verified.trust);
        let plan =
            plan::make(app, self.request, &only, &chosen, &mut contents, targets, trust).await?;
        for warning in &plan.warnings {
            ctx.warn(warning.clone());
        }
        if !plan.problems.is_empty() {
            return Err(RunError::Failed(plan.problems.join("; ")));
        }
        ctx.progress.correct_total(contents.bytes() as i64 - expected as i64);

        let own = contents.databases.iter().any(|database| database.name.is_none());
        let closes = targets.live && only.is_everything() && own && app.portal.identity().is_some();
        let mut remains = self.begin().await?;
        // DocSpace answers nobody while its tenants are closed, and its API may be where the archive is read.
        if closes && !chosen.is_read_through_portal(&verified.archive) {
            self.close_tenants(&mut remains).await?;
        }
        let databases =
            self.stage_databases(targets, &mut contents, &remains, verified.trust).await?;
        let (files, folders) = self.stage_files(targets, &contents, &remains, &only).await?;
        let mut tables = Vec::new();
        contents.placing.restart();
        let mut placing = contents.placing;
        let kept = Arc::new(Kept::of(targets));
        let keeps = Arc::clone(&kept);
        let loaded = Loader {
            archive: verified.archive,
            databases: databases.iter().map(|(_, loading)| loading.clone()).collect(),
            files: files.clone(),
            place: Box::new(move |member| match placing.place(member) {
                Placed::Files(mut places) => {
                    places.retain(|place| keeps.yields(place));
                    places
                }
                Placed::Skipped(_) => Vec::new(),
            }),
            repeated: contents.repeated,
            only: only.clone(),
            progress: Arc::clone(&ctx.progress),
        }
        .run()
        .await?;
        if closes && !remains.closed {
            self.close_tenants(&mut remains).await?;
        }
        ctx.progress.phase("preparing the swap");
        let mut indexes: Vec<Box<dyn Staged>> = Vec::new();
        let mut sources: Vec<Box<dyn Staged>> = Vec::new();
        for (position, loading) in databases {
            let mut adjusted = Vec::new();
            if closes && loading.archived.is_none() {
                for adjustment in restoring::adjustments(&backups) {
                    loading.staging.adjust(&adjustment).await?;
                    adjusted.push(adjustment.table().to_owned());
                }
            }
            tables.push((position, Expected::of(&loading, &adjusted).await?));
            let (staged, warnings) = unshared(loading.staging)?.ready().await?;
            warnings.into_iter().for_each(|warning| ctx.warn(warning));
            sources.push(staged);
        }
        for (position, staging) in files {
            let kept = kept.paths(position);
            let replaced = match folders.get(&position) {
                Some(folders) => Replaced::Folders { folders: folders.clone(), kept },
                None => Replaced::Staged,
            };
            let staging = unshared(staging)?;
            let warnings = staging.warnings();
            let ready = staging.ready(replaced).await?;
            warnings.sentences().into_iter().for_each(|warning| ctx.warn(warning));
            if position < INDEXES { &mut sources } else { &mut indexes }.push(ready);
        }
        indexes.append(&mut sources);
        Ok(Ready { remains, sources: indexes, loaded, tables, folders })
    }

    /// Notes that the restore begins.
    async fn begin(&self) -> Result<Remains, RunError> {
        let attempt = self.attempt_id()?;
        let phase = Phase::Staging;
        let remains = Remains { attempt, phase, closed: false, tenants: Vec::new() };
        self.note(&remains).await?;
        Ok(remains)
    }

    /// Closes the tenants that are open.
    async fn close_tenants(&self, remains: &mut Remains) -> Result<(), RunError> {
        let Some(identity) = self.app.portal.identity() else { return Ok(()) };
        remains.tenants = identity.open_tenants().await?;
        remains.closed = true;
        self.note(remains).await?;
        let closed = identity.close_tenants(&remains.tenants).await;
        if let Err(PortalError::Locked(_)) = closed {
            // Nothing is to be undone where nothing can be done.
            remains.closed = false;
            self.note(remains).await?;
        }
        Ok(closed?)
    }

    /// Unique for the job; a later attempt drops what an earlier one of the same name left.
    fn attempt_id(&self) -> Result<AttemptId, RunError> {
        let id = &self.ctx.job.id.simple().to_string()[..16];
        AttemptId::new(id).ok_or_else(|| RunError::Internal("no name for the attempt".to_owned()))
    }

    async fn stage_databases(
        &self,
        targets: &Targets,
        contents: &mut Contents,
        remains: &Remains,
        trust: Trust,
    ) -> Result<Vec<(usize, LoadingDatabase)>, RunError> {
        let mut loading = Vec::new();
        for database in std::mem::take(&mut contents.databases) {
            let archived = database.name.as_deref();
            let position =
                targets.databases.iter().position(|target| target.archived.as_deref() == archived);
            let Some(position) = position else { continue };
            let mut tables = database.tables;
            tables.retain(|name, _| !crate::catalog::is_own_table(name));
            let staging: Box<dyn Staging> =
                targets.databases[position].database.stage(&remains.attempt).await?;
            staging.objects(database.objects, trust).await?;
            loading.push((
                position,
                LoadingDatabase {
                    archived: database.name,
                    staging: Arc::new(staging),
                    tables: Arc::new(tables),
                    trust,
                    rows: Arc::default(),
                },
            ));
        }
        Ok(loading)
    }

    /// The staging places of all filesystems that the archive has, and of all indexes, and for each the folders that
    /// are replaced; of filesystems none when only parts are restored.
    async fn stage_files(
        &self,
        targets: &Targets,
        contents: &Contents,
        remains: &Remains,
        only: &Only,
    ) -> Result<(BTreeMap<usize, Arc<FilesStaging>>, BTreeMap<usize, Vec<String>>), RunError> {
        let (mut stagings, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for target in &targets.filesystems {
            let is_index = indexes::action(contents, only, targets, target).is_some();
            if !is_index && !contents.has_filesystem(target.position, &target.name, only) {
                continue;
            }
            let staging = target.filesystem.stage(&remains.attempt).await?;
            let staging = staging.limited(&self.app.limits.upload);
            stagings.insert(target.position, Arc::new(staging));
            if is_index || only.is_everything() {
                folders.insert(target.position, plan::replaced(self.app, contents, target).await);
            }
        }
        Ok((stagings, folders))
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

fn unshared<T>(shared: Arc<T>) -> Result<T, RunError> {
    Arc::into_inner(shared)
        .ok_or_else(|| RunError::Internal("a staging place is still in use".to_owned()))
}
