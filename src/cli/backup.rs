//! `backup`: makes a backup and waits for it, here or in a service on the same catalog.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::storage_arg::{StorageArg, parameter};
use super::{CliError, Global, follow, output};
use crate::app::App;
use crate::catalog::CopyState;
use crate::jobs::{Job, JobState};
use crate::ops::backup::{self, Mode, StartBackup};
use crate::ops::copies;
use crate::storage::{StorageParams, started_by_hand};

#[derive(Debug, Args)]
pub struct Backup {
    /// Where the archive goes: local, custom-cloud, data-store, documents, thridparty-documents or third-party-consumer
    #[arg(long, default_value = "local")]
    storage: StorageArg,
    /// A parameter of the storage, as DocSpace names it, for example filePath=/backups/weekly
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,
    /// Store only what has changed since the newest backup in that storage
    #[arg(long)]
    incremental: bool,
}

impl Backup {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let StorageArg(storage_type) = self.storage;
        let mut storage_params = self.params.into_iter().collect::<StorageParams>();
        started_by_hand(storage_type, &mut storage_params);
        let job = backup::start(
            &app,
            StartBackup {
                tenant_id: follow::installation_tenant(&app),
                storage_type,
                storage_params,
                dump: true,
                mode: if self.incremental { Mode::Incremental } else { Mode::Full },
                parent: None,
                full_every: None,
                actor: None,
            },
        )
        .await?;
        let job = follow::run(&app, job, global.json).await?;
        copy(&app, &job, global.json).await?;
        report(&app, &job, global.json).await
    }
}

/// Sends the archive to the further storages; what fails a service on the same catalog tries again.
async fn copy(app: &Arc<App>, job: &Job, quiet: bool) -> Result<(), CliError> {
    let Some(id) = job.archive_id else { return Ok(()) };
    let copies = app.catalog.copies().of(&[id]).await.map_err(CliError::failed)?;
    for copy in copies.into_values().flatten() {
        // A service on the same catalog may have made it meanwhile.
        let Some(job) = copies::start(app, &copy).await? else { continue };
        follow::run(app, job, quiet).await?;
        copies::tick(app).await?;
    }
    Ok(())
}

/// Says what became of a job that makes an archive.
pub async fn report(app: &App, job: &Job, as_json: bool) -> Result<(), CliError> {
    // Of a job that failed it is what it was about.
    let made = job.archive_id.filter(|_| job.state == JobState::Succeeded);
    let record = match made {
        Some(id) => app.catalog.archives().get(id).await.map_err(CliError::failed)?,
        None => None,
    };
    let copies = copies::of(app, &record).await?;
    let copies = record.as_ref().and_then(|record| copies.get(&record.id));
    if as_json {
        output::json(&json!({
            "job": job.id,
            "state": job.state,
            "archive": record.as_ref().map(|record| output::archive_json(record, copies)),
            "error": job.error,
            "warnings": job.warnings,
        }))?;
    } else {
        for warning in &job.warnings {
            output::line(&format!("warning: {warning}"))?;
        }
        if let Some(record) = &record {
            output::line(&format!(
                "{} is stored and verified: {}, archive {}",
                record.url,
                output::bytes(record.size),
                record.id
            ))?;
        }
        for copy in copies.into_iter().flatten() {
            let name = &copy.name;
            output::line(&match (copy.state, &copy.url, &copy.error) {
                (CopyState::Stored, Some(url), _) => format!("{url} is its verified copy {name}"),
                (_, _, Some(error)) => format!("warning: there is no copy {name} yet: {error}"),
                _ => format!("warning: there is no copy {name} yet"),
            })?;
        }
    }
    match job.state {
        JobState::Succeeded => Ok(()),
        JobState::Cancelled => Err(CliError::Failed("the job was cancelled".to_owned())),
        _ => {
            Err(CliError::Failed(job.error.clone().unwrap_or_else(|| "the job failed".to_owned())))
        }
    }
}
