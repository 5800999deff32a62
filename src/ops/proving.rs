//! Proves every n-th archive by a restore into a scratch place (`backup.prove_every`).

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::jobs::{JobFilter, JobKind};
use crate::ops::named::NO_TENANT;
use crate::ops::{OpError, verify};

/// Starts a proof of the newest archive when so many were made since one was last proved.
pub(super) async fn prove_when_due(app: &App) -> Result<(), OpError> {
    let every = app.config.backup.prove_every;
    if every == 0 {
        return Ok(());
    }
    let mut newest = app.catalog.archives().list(ArchiveFilter::default(), every, 0).await?.items;
    // One source's archive is no proof of the portal's.
    newest.retain(|archive| archive.tenant_id != NO_TENANT);
    let Some(archive) = due(&newest, every) else { return Ok(()) };
    // One that failed is not tried again and again: its job says why, and the next archive gets its turn.
    let filter = JobFilter { kind: Some(JobKind::Verify), ..JobFilter::default() };
    let last = app.queue.latest(filter).await?;
    if last.is_some_and(|job| job.archive_id == Some(archive.id) || !job.state.is_finished()) {
        return Ok(());
    }
    verify::start(app, None, archive.id, true, None).await.map(drop)
}

/// The archive to be proved: the newest, if none of the `every` newest is.
fn due(newest: &[ArchiveRecord], every: u32) -> Option<&ArchiveRecord> {
    let enough = newest.len() >= every as usize;
    let none = newest.iter().all(|archive| archive.proved_on.is_none());
    newest.first().filter(|_| enough && none)
}
