//! `restore ARCHIVE`: puts the portal back, or says what that would do.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::json;

use super::archive_ref::{ArchiveRef, Identity};
use super::progress::Display;
use super::{CliError, Global, follow, output, plan};
use crate::jobs::{Enqueued, Job, JobState, Progress};
use crate::ops::restore::{self, RestorePlan, RestoreRequest};

#[derive(Debug, Args)]
pub struct Restore {
    /// An archive's id, URL or path
    archive: ArchiveRef,
    /// A configured source by its name, or a URL, to restore into instead of the portal's own
    #[arg(long, value_name = "NAME_OR_URL")]
    into: Option<String>,
    /// Restore only these members of the archive, or folders of them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    only: Vec<String>,
    /// Change nothing; print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Run all SQL of an archive that was not made here
    #[arg(long)]
    trust: bool,
    /// Do not ask before it begins
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    identity: Identity,
}

impl Restore {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let tenant = follow::installation_tenant(&app);
        let target = self.into.clone().unwrap_or_else(|| "the portal".to_owned());
        let request = RestoreRequest {
            archive: self.archive.choice()?,
            dump: None,
            only: self.only,
            into: self.into,
            trust: self.trust,
            by_operator: true,
            identity_file: self.identity.absolute()?,
            actor: None,
        };
        if self.dry_run {
            let progress = Progress::default();
            let plan = restore::plan(&app, None, &request, Some(&progress));
            let plan = Display::new(global.json).watch(&progress, plan).await?;
            if global.json {
                output::json(&plan)?;
            } else {
                plan::print(&plan)?;
            }
            return refused(&plan);
        }
        let ask = !self.yes && std::io::stdin().is_terminal();
        if ask {
            let plan = restore::plan(&app, None, &request, None).await?;
            plan::print(&plan)?;
            refused(&plan)?;
            if !confirmed(&target)? {
                return Err(CliError::Failed(format!("not begun: {target} is as it was")));
            }
        }
        let asked = serde_json::to_value(&request.archive).map_err(CliError::failed)?;
        let Enqueued { job, created } = restore::start(&app, tenant, request).await?;
        if !created && job.request["archive"] != asked {
            return Err(CliError::Failed(format!(
                "not begun: another restore is under way (job {}); wait until it has ended, or cancel it",
                job.id
            )));
        }
        let job = follow::run(&app, job, global.json).await?;
        report(&job, &target, global.json)
    }
}

fn refused(plan: &RestorePlan) -> Result<(), CliError> {
    match plan.problems.first() {
        None => Ok(()),
        Some(problem) => Err(CliError::Failed(format!("it would be refused: {problem}"))),
    }
}

fn confirmed(target: &str) -> Result<bool, CliError> {
    eprint!("Replace what {target} holds now? [y/N] ");
    std::io::stderr().flush().map_err(CliError::failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CliError::failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn report(job: &Job, target: &str, as_json: bool) -> Result<(), CliError> {
    if as_json {
        output::json(&json!({
            "job": job.id,
            "state": job.state,
            "archiveId": job.archive_id,
            "error": job.error,
            "warnings": job.warnings,
        }))?;
    } else {
        for warning in &job.warnings {
            output::line(&format!("warning: {warning}"))?;
        }
    }
    match outcome(job, target) {
        Ok(text) if as_json => drop(text),
        Ok(text) => output::line(&text)?,
        Err(text) => return Err(CliError::Failed(text)),
    }
    Ok(())
}

/// How it ended, in a sentence.
fn outcome(job: &Job, target: &str) -> Result<String, String> {
    let was = |reason: &str| Err(format!("{target} is as it was: {reason}"));
    match job.state {
        JobState::Succeeded => Ok(format!("{target} is as the archive says")),
        JobState::Cancelled => was("the restore was cancelled"),
        _ => was(job.error.as_deref().unwrap_or("the restore failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::docspace::model::tests::job;

    #[test]
    fn the_end_in_a_sentence() {
        let text = |state| outcome(&job(state), "the portal");
        assert_eq!(text(JobState::Succeeded).unwrap(), "the portal is as the archive says");
        assert!(text(JobState::Cancelled).unwrap_err().starts_with("the portal is as it was: "));
        let mut failed = job(JobState::Failed);
        failed.error = Some("the disc is full".to_owned());
        let text = outcome(&failed, "copy").unwrap_err();
        assert_eq!(text, "copy is as it was: the disc is full");
    }
}
