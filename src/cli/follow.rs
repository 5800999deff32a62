//! Running a job from the command line: here, or in a service on the same catalog.

use std::sync::Arc;
use std::time::Duration;

use super::progress::Display;
use super::{CliError, serve};
use crate::app::App;
use crate::config::LayoutKind;
use crate::jobs::{Job, WorkerOptions};

const POLL: Duration = Duration::from_millis(250);
/// How long the job may take to stop and clean up.
const SHUTDOWN: Duration = Duration::from_secs(25);

/// The tenant that work on the whole installation is kept under when nobody's request names one.
pub fn installation_tenant(app: &App) -> i64 {
    match app.config.portal.layout {
        LayoutKind::Docspace => -1,
        LayoutKind::Plain => 1,
    }
}

/// Works on a queued job and shows its progress until it has ended, whoever ends it. Ctrl-C cancels it.
pub async fn run(app: &Arc<App>, job: Job, quiet: bool) -> Result<Job, CliError> {
    let worker = app
        .start_worker(WorkerOptions { only: Some(job.id), ..Default::default() })
        .map_err(CliError::failed)?;
    let job = follow(app, job, quiet).await;
    worker.shutdown(SHUTDOWN).await;
    job
}

async fn follow(app: &Arc<App>, job: Job, quiet: bool) -> Result<Job, CliError> {
    let mut display = Display::new(quiet);
    let mut interrupted = Box::pin(serve::signal());
    let mut cancelled = false;
    loop {
        let current = app
            .queue
            .get(job.id)
            .await
            .map_err(CliError::failed)?
            .ok_or_else(|| CliError::Failed("the job is gone from the catalog".to_owned()))?;
        display.show(&current.progress);
        if current.state.is_finished() {
            display.finish();
            return Ok(current);
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            result = &mut interrupted, if !cancelled => {
                result?;
                cancelled = true;
                app.queue.request_cancel(job.id).await.map_err(CliError::failed)?;
            }
        }
    }
}
