//! Restores: started by a request, run as a job. The archive is verified first, everything is staged beside the live
//! portal, swapped in, checked, and only then is the old state dropped.

mod chosen;
mod contents;
mod count;
mod foreign;
mod health;
mod indexes;
mod kept;
mod load;
mod plan;
pub mod prove;
mod run;
mod space;
mod targets;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Enqueued, Job, JobFilter, JobKind, NewJob, Progress};
use crate::ops::backup::INSTALLATION;
use crate::ops::{Actor, OpError};
use crate::source::database::Trust;
use crate::storage::{StorageParams, StorageType};

use contents::Only;
use run::RunError;
use targets::Targets;

pub use indexes::{IndexAction, IndexPlan};
pub(super) use plan::family;
pub use plan::{FilesystemPlan, ObjectPlan, RestorePlan, TableAction, TablePlan};
pub(super) use run::{clean, clean_into, run, run_request};

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
    /// Identities to open the archive with, instead of the configured ones: from the command line only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// Starts a restore. When one is under way, returns that one, though not before the archive was found: who must not
/// fail for that asks [`running`] first. [`OpError::Conflict`] while a backup runs. What cannot be seen without reading
/// the archive fails the job.
pub async fn start(
    app: &App,
    tenant_id: i64,
    request: RestoreRequest,
) -> Result<Enqueued, OpError> {
    check(&request)?;
    Targets::resolve(app, request.into.as_deref())?;
    let chosen = chosen::find(app, None, &request).await?;
    if let (Some(record), Some(dump)) = (&chosen.record, request.dump)
        && record.dump != dump
    {
        return Err(OpError::Invalid(plan::wrong_dump(record.dump)));
    }
    let dump = request.dump.or(chosen.record.as_ref().map(|record| record.dump)).unwrap_or(true);
    let enqueued = app
        .queue
        .enqueue(NewJob {
            kind: JobKind::Restore,
            tenant_id,
            dump,
            request: serde_json::to_value(request.sealed(app)?).map_err(OpError::internal)?,
            // The same as a backup's: neither may see the other's half-done work.
            exclusive: Some(INSTALLATION.to_owned()),
            archive_id: chosen.record.map(|record| record.id),
        })
        .await?;
    match enqueued.job.kind {
        JobKind::Restore => Ok(enqueued),
        _ => Err(OpError::Conflict(
            "a backup is running: wait until it has ended, or cancel it".to_owned(),
        )),
    }
}

/// The restore of the portal that is under way, if one is.
pub async fn running(app: &App) -> Result<Option<Job>, OpError> {
    let filter = JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..Default::default() };
    Ok(app.queue.list(filter, 1, 0).await?.items.into_iter().next())
}

/// What a restore would do; changes nothing. `tenant_id`: None for an administrator of the installation. `progress`:
/// None to believe the archive unread.
pub async fn plan(
    app: &App,
    tenant_id: Option<i64>,
    request: &RestoreRequest,
    progress: Option<&Progress>,
) -> Result<RestorePlan, OpError> {
    check(request)?;
    let only = Only::new(&request.only).map_err(OpError::Invalid)?;
    let mut targets = Targets::resolve(app, request.into.as_deref())?;
    let chosen = chosen::find(app, tenant_id, request).await?;
    let unreadable = |error: String| OpError::Invalid(format!("{}: {error}", chosen.name));
    let mut damage = None;
    let mut trust = (request.trust || chosen.record.is_some()).then_some(Trust::Own);
    if let Some(progress) = progress {
        progress.add_total(chosen.size());
        match run::verified(app, &chosen, request.trust, progress).await {
            Ok(verified) => trust = Some(verified.trust),
            Err(RunError::Op(error)) => return Err(error),
            Err(error) => damage = Some(error.to_string()),
        }
    }
    let listed = async {
        let archive = chosen.open(app).await.map_err(|error| error.to_string())?;
        let (placing, temp_dir) = (app.portal.placing(), &app.config.backup.temp_dir);
        let contents = contents::read(&archive, placing, &only, temp_dir).await?;
        Ok((archive, contents))
    };
    let (archive, mut contents) = match (listed.await, &damage) {
        (Ok(listed), _) => listed,
        (Err(_), Some(damage)) => return Err(unreadable(damage.clone())),
        (Err(error), None) => return Err(unreadable(error)),
    };
    if only.is_everything() {
        // A database that cannot be asked is named by the plan.
        targets.keep_backups(app).await.unwrap_or_default();
    }
    targets.keep_archives(app).await?;
    let mut plan = plan::make(app, request, &only, &chosen, &mut contents, &targets, trust).await?;
    plan.verified = progress.is_some() && damage.is_none();
    plan.problems.extend(damage);
    plan.warnings.extend(chosen.notice.clone());
    if only.is_everything() && targets.live {
        plan::count_removed(&archive, &mut contents, &targets, &mut plan).await?;
    }
    Ok(plan)
}

fn check(request: &RestoreRequest) -> Result<(), OpError> {
    Only::new(&request.only).map_err(OpError::Invalid)?;
    let has_url = request.into.as_deref().is_some_and(|into| into.contains(':'));
    if has_url && !request.by_operator {
        return Err(OpError::Invalid(
            "\"into\" must be the name of a configured database, filesystem or index".to_owned(),
        ));
    }
    if matches!(request.archive, ArchiveChoice::Path { .. }) && !request.by_operator {
        return Err(OpError::Invalid("a path cannot be named in a request".to_owned()));
    }
    Ok(())
}

impl RestoreRequest {
    /// Everything of an archive, whatever it is.
    pub fn of(archive: ArchiveChoice) -> Self {
        Self {
            archive,
            dump: None,
            only: Vec::new(),
            into: None,
            trust: false,
            by_operator: false,
            identity_file: None,
            actor: None,
        }
    }

    /// As the catalog may hold it: secrets sealed.
    fn sealed(mut self, app: &App) -> Result<Self, OpError> {
        if let ArchiveChoice::Stored { storage_params, .. } = &mut self.archive {
            *storage_params = app.seal_params(storage_params)?;
        }
        // A URL may hold a password.
        self.into = self.into.map(|into| app.seal_text(&into)).transpose()?;
        Ok(self)
    }

    fn unsealed(mut self, app: &App) -> Result<Self, OpError> {
        if let ArchiveChoice::Stored { storage_params, .. } = &mut self.archive {
            *storage_params = app.unseal_params(storage_params)?;
        }
        self.into = self.into.map(|into| app.unseal_text(&into)).transpose()?;
        Ok(self)
    }
}

/// The restore that a progress request means: the running or else the latest one. A dump's is everybody's.
/// `dump`: None = whichever is running or newest.
pub async fn latest(app: &App, tenant_id: i64, dump: Option<bool>) -> Result<Option<Job>, OpError> {
    let tenant_id = (dump == Some(false)).then_some(tenant_id);
    let filter =
        JobFilter { kind: Some(JobKind::Restore), tenant_id, dump, ..JobFilter::default() };
    Ok(app.queue.latest(filter).await?)
}
