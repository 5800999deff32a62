//! The work of such a job.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LOOKED_AT, Request, candidates, failed};
use crate::app::App;
use crate::catalog::SourceKind;
use crate::jobs::{CancelReason, Finished, JobContext, JobFailure, JobFilter, JobKind};
use crate::ops::backup::{self, IndexFiles, OneSource};
use crate::ops::named::document;
use crate::ops::named::folder::{ARCHIVE, Folder, STATE, document_name};
use crate::ops::named::sources::{self, NamedSource};

/// How long a portal's restore is left alone before it is looked again whether it has ended.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) struct Run<'a> {
    pub app: &'a Arc<App>,
    pub ctx: &'a JobContext,
    pub request: &'a Request,
    /// What becomes of the index's files.
    pub told: &'a IndexFiles,
}

impl Run<'_> {
    pub async fn run(&self) -> Result<Finished, JobFailure> {
        let Request { source_kind: kind, name, .. } = self.request;
        let source = sources::find(self.app, *kind, name).await.map_err(failed)?;
        let source =
            source.ok_or_else(|| failed(format!("there is no {kind:?} {name} any more")))?;
        let root = Folder::open(self.app, &self.request.location).map_err(failed)?;
        let target = Folder::open(self.app, &self.request.target).map_err(failed)?;
        match self.request.incremental {
            true => self.claim(&source, &root).await?,
            false if target.archive().await.map_err(failed)?.is_some() => {
                return Err(failed(
                    "Denying request to perform a full backup to an existing backup folder. Try doing an \
                     incremental backup instead.",
                ));
            }
            false => {}
        }
        let finished = loop {
            self.wait_for_portal(&source).await?;
            let began = Timestamp::now();
            let finished = self.archive(&source, &root).await?;
            if !self.was_restored_since(&source, began).await? {
                break finished;
            }
            // A portal's restore began meanwhile: half of the archive may be of another time.
            Folder::open(self.app, &self.request.target)
                .map_err(failed)?
                .remove(ARCHIVE)
                .await
                .map_err(failed)?;
        };
        self.store_document(&source, &target).await?;
        Ok(finished)
    }

    /// Makes the archive of this backup. The first increment of a folder without a full backup holds everything.
    async fn archive(&self, source: &NamedSource, root: &Folder) -> Result<Finished, JobFailure> {
        let single = source.single(self.app, std::slice::from_ref(root.url())).map_err(failed)?;
        let kind = self.request.source_kind;
        let whole = match self.request.incremental {
            true => root.whole(self.app, kind, LOOKED_AT).await.map_err(failed)?,
            false => Vec::new(),
        };
        let upon = candidates(self.app, root, &whole).await.map_err(failed)?;
        let one = OneSource { upon: &upon, told: self.told };
        let finished = backup::run_one(&single, self.ctx, Some(one)).await?;
        if upon.is_empty() && !whole.is_empty() {
            self.ctx.warn(
                "a full backup was made, for the catalog knows none of the backups of this folder",
            );
        }
        Ok(finished)
    }

    /// Makes the folder this source's, or finds that it is another's.
    async fn claim(&self, source: &NamedSource, root: &Folder) -> Result<(), JobFailure> {
        let id = source.resource_id(self.app).map_err(failed)?.to_string();
        if let Some(state) = root.read(STATE).await.map_err(failed)? {
            if document::get(&state, "ResourceId").and_then(Value::as_str) == Some(&id) {
                return Ok(());
            }
            let what = match self.request.source_kind {
                SourceKind::Database => "database",
                SourceKind::Filesystem => "file system",
            };
            let other = document::get(&state, "ResourceName").and_then(Value::as_str);
            return Err(failed(format!(
                "Can't perform an incremental backup to a given folder because it already contains incremental \
                 backup data of different {what}. Existing incremental data origins from '{}' {what}.",
                other.unwrap_or_default()
            )));
        }
        let state = json!({"ResourceId": id, "ResourceName": source.name});
        root.write(STATE, state.to_string()).await.map_err(failed)
    }

    /// Last, so that a backup with a document is whole.
    async fn store_document(
        &self,
        source: &NamedSource,
        target: &Folder,
    ) -> Result<(), JobFailure> {
        let supplied = match &self.request.document {
            Some(sealed) => {
                let text = self.app.unseal_text(sealed).map_err(failed)?;
                Some(serde_json::from_str(&text).map_err(failed)?)
            }
            None => None,
        };
        let whole = supplied.unwrap_or_else(|| document::current(source));
        let kind = self.request.source_kind;
        let name = document_name(kind);
        let (mut stored, secrets) = document::stored(kind, whole.clone(), false);
        let with_secrets = secrets && self.app.config.ravendb.store_secrets;
        if with_secrets {
            stored = document::stored(kind, whole, true).0;
        }
        let text = serde_json::to_string_pretty(&stored).map_err(failed)?;
        if !secrets {
            return target.write(name, text).await.map_err(failed);
        }
        self.ctx.warn(match (with_secrets, self.app.keys.encrypts()) {
            (false, _) => format!(
                "Warning: secrets were left out of {name}; ravendb.store_secrets of the configuration allows them"
            ),
            (true, true) => format!("Warning: {name} holds secrets, and is encrypted as the backup is"),
            (true, false) => format!("Warning: {name} holds secrets in clear"),
        });
        match with_secrets {
            true => target.write_sealed(name, text).await.map_err(failed),
            false => target.write(name, text).await.map_err(failed),
        }
    }

    /// A restore of the portal changes its sources under everybody's eyes.
    async fn wait_for_portal(&self, source: &NamedSource) -> Result<(), JobFailure> {
        let filter =
            JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
        while source.is_configured()
            && self.app.queue.latest(filter).await.map_err(failed)?.is_some()
        {
            self.ctx.cancel.check()?;
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn was_restored_since(
        &self,
        source: &NamedSource,
        began: Timestamp,
    ) -> Result<bool, JobFailure> {
        if self.ctx.cancel.reason() == Some(CancelReason::Lost) {
            return Err(JobFailure::Cancelled);
        }
        let filter = JobFilter { kind: Some(JobKind::Restore), ..JobFilter::default() };
        let latest = self.app.queue.latest(filter).await.map_err(failed)?;
        Ok(source.is_configured()
            && latest.is_some_and(|job| {
                !job.state.is_finished() || job.finished_on.is_some_and(|ended| ended > began)
            }))
    }
}
