//! What the worker calls for each kind of job.

use std::sync::{Arc, Weak};

use async_trait::async_trait;

use crate::app::App;
use crate::jobs::{Cleaned, Finished, Handler, Job, JobContext, JobFailure, JobKind};
use crate::notify::{self, Event};
use crate::ops::{backup, copies, index_copies, named, rekey, restore, retention, verify};

/// Runs jobs on behalf of the application that owns the worker.
pub struct OpsHandler(pub Weak<App>);

impl OpsHandler {
    fn app(&self) -> Option<Arc<App>> {
        self.0.upgrade()
    }
}

#[async_trait]
impl Handler for OpsHandler {
    async fn run(&self, ctx: JobContext) -> Result<Finished, JobFailure> {
        let app = self.app().ok_or(JobFailure::Cancelled)?;
        notify::follow(&app, &ctx.job);
        match ctx.job.kind {
            JobKind::Backup => backup::run(&app, &ctx).await,
            JobKind::Verify => verify::run(&app, &ctx).await,
            JobKind::Restore => restore::run(&app, &ctx).await,
            JobKind::Prune => retention::run(&app, &ctx).await,
            JobKind::SourceBackup => named::backup::run(&app, &ctx).await,
            JobKind::SourceRestore => named::restore::run(&app, &ctx).await,
            JobKind::Copy => copies::run(&app, &ctx).await,
            JobKind::Index => index_copies::run(&app, &ctx).await,
            JobKind::Consolidate => backup::consolidate::run(&app, &ctx).await,
            JobKind::Rekey => rekey::run(&app, &ctx).await,
        }
    }

    async fn failed(&self, job: &Job, error: &str) {
        let backup = matches!(job.kind, JobKind::Backup | JobKind::SourceBackup);
        // Of a scheduled one its schedule tells.
        if let (Some(app), true, None) = (self.app(), backup, backup::schedule_of(job)) {
            let error = error.to_owned();
            let Job { id, tenant_id, dump, .. } = *job;
            app.notifier.notify(&Event::BackupFailed { job: id, tenant_id, dump, error }).await;
        }
    }

    async fn clean(&self, job: &Job, remains: &serde_json::Value) -> Result<Cleaned, String> {
        let app = self.app().ok_or("the application has ended")?;
        match job.kind {
            JobKind::Backup => backup::clean(&app, job, remains).await.map(|()| Cleaned::Gone),
            JobKind::Restore => restore::clean(&app, job, remains).await,
            JobKind::Verify => verify::clean(&app, remains).await,
            JobKind::Prune => Ok(Cleaned::Gone),
            JobKind::SourceBackup => named::backup::clean(&app, job, remains).await,
            JobKind::SourceRestore => named::restore::clean(&app, job, remains).await,
            JobKind::Copy => copies::clean(&app, job, remains).await.map(|()| Cleaned::Gone),
            JobKind::Index => index_copies::clean(&app, remains).await,
            JobKind::Consolidate => {
                backup::consolidate::clean(&app, job, remains).await.map(|()| Cleaned::Gone)
            }
            JobKind::Rekey => rekey::clean(&app, job, remains).await,
        }
    }
}
