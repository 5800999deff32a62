//! `backup`: makes a backup and waits for it, here or in a service on the same catalog.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{CliError, Global, follow, output};
use crate::app::App;
use crate::catalog::CopyState;
use crate::jobs::{Job, JobState};
use crate::ops::backup::{self, Mode, StartBackup};
use crate::ops::copies;
use crate::storage::{StorageParams, StorageType, started_by_hand};

#[derive(Debug, Args)]
pub struct Backup {
    /// Where the archive goes
    #[arg(long, value_enum, default_value = "local")]
    storage: StorageArg,
    /// A parameter of the storage, as DocSpace names it, for example filePath=/backups/weekly
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StorageArg {
    Local,
    CustomCloud,
    DataStore,
    Documents,
    ThridpartyDocuments,
    ThirdPartyConsumer,
}

impl From<StorageArg> for StorageType {
    fn from(storage: StorageArg) -> Self {
        match storage {
            StorageArg::Local => Self::Local,
            StorageArg::CustomCloud => Self::CustomCloud,
            StorageArg::DataStore => Self::DataStore,
            StorageArg::Documents => Self::Documents,
            StorageArg::ThridpartyDocuments => Self::ThirdpartyDocuments,
            StorageArg::ThirdPartyConsumer => Self::ThirdPartyConsumer,
        }
    }
}

pub fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Backup {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let storage_type = self.storage.into();
        let mut storage_params = self.params.into_iter().collect::<StorageParams>();
        started_by_hand(storage_type, &mut storage_params);
        let job = backup::start(
            &app,
            StartBackup {
                tenant_id: follow::installation_tenant(&app),
                storage_type,
                storage_params,
                dump: true,
                mode: Mode::Full,
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
        let job = copies::start(app, copy).await?;
        follow::run(app, job, quiet).await?;
        copies::tick(app).await?;
    }
    Ok(())
}

async fn report(app: &App, job: &Job, as_json: bool) -> Result<(), CliError> {
    let record = match job.archive_id {
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
        JobState::Cancelled => Err(CliError::Failed("the backup was cancelled".to_owned())),
        _ => Err(CliError::Failed(
            job.error.clone().unwrap_or_else(|| "the backup failed".to_owned()),
        )),
    }
}
