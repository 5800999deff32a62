//! Everything that goes before the swap: the archive is verified, judged and loaded beside what is live.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::remains::{Phase, Remains};
use super::{Attempt, LOADING, Ready, RunError, verified};
use crate::ops::restore::chosen;
use crate::ops::restore::contents::{self, Contents, Only};
use crate::ops::restore::health::Expected;
use crate::ops::restore::kept::Kept;
use crate::ops::restore::load::{Loader, LoadingDatabase};
use crate::ops::restore::targets::Targets;
use crate::ops::restore::{indexes, plan};
use crate::portal::docspace::restoring;
use crate::portal::{INDEXES, KeptBackups, Placed, PortalError};
use crate::source::database::{Staging, Trust};
use crate::source::files::{FilesStaging, Replaced};
use crate::source::restore::{AttemptId, Staged};

impl Attempt<'_> {
    /// Verifies the archive and stages all of it. Nothing that is live is touched.
    pub(super) async fn stage(&self, targets: &mut Targets) -> Result<Ready, RunError> {
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
}

fn unshared<T>(shared: Arc<T>) -> Result<T, RunError> {
    Arc::into_inner(shared)
        .ok_or_else(|| RunError::Internal("a staging place is still in use".to_owned()))
}
