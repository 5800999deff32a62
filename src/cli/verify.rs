//! `verify ARCHIVE`: reads all of it and checks everything.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::archive_ref::{ArchiveRef, Identity};
use super::progress::Display;
use super::{CliError, Global, follow, output};
use crate::jobs::{JobState, Progress};
use crate::ops::restore::ArchiveChoice;
use crate::ops::verify::{self, verdict};

#[derive(Debug, Args)]
pub struct Verify {
    /// An archive's id, URL or path
    archive: ArchiveRef,
    /// Also restore it into a scratch place, and compare that with the archive
    #[arg(long)]
    restore: bool,
    #[command(flatten)]
    identity: Identity,
}

impl Verify {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        if self.restore {
            return prove(global, &self.archive, &self.identity).await;
        }
        let found = self.archive.find(global, &self.identity).await?;
        let progress = Arc::new(Progress::default());
        progress.phase("verifying");
        progress.add_total(found.stored.len());
        let app = found.record.as_ref().map(|(app, _)| &**app);
        let known = found.record.as_ref().map(|(_, record)| record);
        let known = known.filter(|record| !record.sha256.is_empty());
        let check = verify::read(app, &found.keys, &found.near, found.stored, known, &progress);
        let report = Display::new(global.json).watch(&progress, check).await;
        let report =
            report.map_err(|error| CliError::Failed(format!("{}: {error}", found.name)))?;
        // Otherwise only the stored bytes were compared.
        let read = report.format.is_some();
        let sha256 = hex::encode(report.sha256);
        let result = match &found.record {
            Some((_, record)) => verdict(&report, &record.sha256, record.size),
            None => verdict(&report, &sha256, report.bytes),
        };
        if result.is_ok()
            && let Some((app, record)) = &found.record
        {
            let now = Timestamp::now();
            app.catalog.archives().mark_verified(record.id, now).await.map_err(CliError::failed)?;
        }
        let warnings: Vec<_> = found.notice.iter().chain(&report.warnings).collect();
        if global.json {
            output::json(&json!({
                "name": found.name,
                "ok": result.is_ok(),
                "contentsChecked": read,
                "size": report.bytes,
                "sha256": sha256,
                "entries": report.entries,
                "files": report.files,
                "tables": report.tables,
                "rows": report.rows,
                "problems": report.problems,
                "warnings": warnings,
            }))?;
        } else {
            for warning in warnings {
                output::line(&format!("warning: {warning}"))?;
            }
            for problem in &report.problems {
                output::line(&format!("problem: {problem}"))?;
            }
            if result.is_ok() && read {
                output::line(&format!(
                    "{} is whole: {} entries, {} files, {} tables, {} rows, {}",
                    found.name,
                    report.entries,
                    report.files,
                    report.tables,
                    report.rows,
                    output::bytes(report.bytes)
                ))?;
            }
        }
        result.map_err(CliError::Failed)
    }
}

/// Runs the job that also restores the archive into a scratch place.
async fn prove(global: &Global, archive: &ArchiveRef, identity: &Identity) -> Result<(), CliError> {
    let app = global.app().await?;
    let (choice, identity) = (archive.choice()?, identity.absolute()?);
    let job = match choice {
        ArchiveChoice::Id { id } => verify::start(&app, None, id, true, identity).await?,
        elsewhere => {
            let tenant = follow::installation_tenant(&app);
            verify::start_elsewhere(&app, tenant, elsewhere, identity).await?
        }
    };
    let job = follow::run(&app, job, global.json).await?;
    let ok = job.state == JobState::Succeeded;
    if global.json {
        output::json(&json!({
            "job": job.id,
            "archiveId": job.archive_id,
            "ok": ok,
            "state": job.state,
            "error": job.error,
            "warnings": job.warnings,
        }))?;
    } else {
        for warning in &job.warnings {
            output::line(&format!("warning: {warning}"))?;
        }
        if ok {
            let name = job.archive_id.map_or_else(|| "the archive".to_owned(), |id| id.to_string());
            output::line(&format!("{name} is proved: it was restored into a scratch place"))?;
        }
    }
    if ok {
        return Ok(());
    }
    Err(CliError::Failed(job.error.unwrap_or_else(|| "the archive was not proved".to_owned())))
}
