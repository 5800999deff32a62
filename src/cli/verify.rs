//! `verify ARCHIVE`: reads all of it and checks everything.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::archive_ref::ArchiveRef;
use super::progress::Display;
use super::{CliError, Global, output};
use crate::jobs::Progress;
use crate::ops::verify::verdict;

#[derive(Debug, Args)]
pub struct Verify {
    /// An archive's id, URL or path
    archive: ArchiveRef,
}

impl Verify {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let found = self.archive.find(global).await?;
        let progress = Arc::new(Progress::default());
        progress.phase("verifying");
        progress.add_total(found.source.len());
        let mut display = Display::new(global.json);
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let counter = Arc::clone(&progress);
        let check = archive::verify(found.source, workers, move |bytes| counter.add(bytes));
        tokio::pin!(check);
        let report = loop {
            tokio::select! {
                report = &mut check => break report,
                () = tokio::time::sleep(std::time::Duration::from_millis(200)) => display.show(&progress.view()),
            }
        };
        display.finish();
        let report = report.map_err(CliError::failed)?;
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
        if global.json {
            output::json(&json!({
                "name": found.name,
                "ok": result.is_ok(),
                "size": report.bytes,
                "sha256": sha256,
                "entries": report.entries,
                "files": report.files,
                "tables": report.tables,
                "rows": report.rows,
                "problems": report.problems,
                "warnings": report.warnings,
            }))?;
        } else {
            for warning in &report.warnings {
                output::line(&format!("warning: {warning}"))?;
            }
            for problem in &report.problems {
                output::line(&format!("problem: {problem}"))?;
            }
            if result.is_ok() {
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
