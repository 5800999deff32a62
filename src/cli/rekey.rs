//! `rekey ARCHIVE…`: encrypts stored archives for the recipients that are configured now.

use std::sync::Arc;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::archive_ref::Identity;
use super::{CliError, Global, follow, output};
use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::jobs::JobState;
use crate::ops::{copies, rekey};

#[derive(Debug, Args)]
pub struct Rekey {
    /// The archives' ids
    #[arg(value_name = "ARCHIVE", required_unless_present = "all")]
    archives: Vec<Uuid>,
    /// Every archive in the catalog, also those that are not encrypted yet
    #[arg(long, conflicts_with = "archives")]
    all: bool,
    #[command(flatten)]
    identity: Identity,
}

impl Rekey {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        // What is encrypted for now is the configuration's; `--identity` is for what was before.
        let app = global.app().await?;
        let archives = match self.all {
            true => all(&app).await?,
            false => self.archives.clone(),
        };
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for id in archives {
            match self.one(&app, id, global.json).await {
                Ok(record) => {
                    if !global.json {
                        output::line(&format!("{id} is now {}", record.url))?;
                    }
                    let copies = copies::of(&app, [&record]).await?;
                    done.push(output::archive_json(&record, copies.get(&record.id)));
                }
                Err(error) => {
                    if !global.json {
                        eprintln!("{id} stays as it is: {error}");
                    }
                    failed.push(json!({"id": id, "reason": error.to_string()}));
                }
            }
        }
        let count = failed.len();
        if global.json {
            output::json(&json!({"rekeyed": done, "failed": failed}))?;
        }
        match count {
            0 => Ok(()),
            count => Err(CliError::Failed(format!("{count} archives were not encrypted anew"))),
        }
    }

    async fn one(&self, app: &Arc<App>, id: Uuid, quiet: bool) -> Result<ArchiveRecord, CliError> {
        let job = rekey::start(app, id, self.identity.absolute()?).await?;
        let job = follow::run(app, job, quiet).await?;
        match (job.state, job.error) {
            (JobState::Succeeded, _) => {}
            (_, Some(error)) => return Err(CliError::Failed(error)),
            (_, None) => return Err(CliError::Failed("it was cancelled".to_owned())),
        }
        let record = app.catalog.archives().get(id).await.map_err(CliError::failed)?;
        record.ok_or_else(|| CliError::Failed("its record is gone".to_owned()))
    }
}

/// The oldest first. Those whose objects are gone are left out.
async fn all(app: &App) -> Result<Vec<Uuid>, CliError> {
    let all = app.catalog.archives().list(ArchiveFilter::default(), u32::MAX, 0).await;
    Ok(all.map_err(CliError::failed)?.items.into_iter().rev().map(|record| record.id).collect())
}
