//! Proves every n-th archive by a restore into a scratch place (`backup.prove_every`).

use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::jobs::{JobFilter, JobKind};
use crate::ops::named::NO_TENANT;
use crate::ops::{OpError, verify};

const PAGE: u32 = 100;

/// Starts a proof of the newest archive when so many were made since one was last proved.
pub(super) async fn prove_when_due(app: &App) -> Result<(), OpError> {
    let every = app.config.backup.prove_every;
    if every == 0 {
        return Ok(());
    }
    let newest = newest(app, every as usize).await?;
    let Some(archive) = due(&newest, every) else { return Ok(()) };
    // One that failed is not tried again and again: its job says why, and the next archive gets its turn.
    let filter = JobFilter { kind: Some(JobKind::Verify), ..JobFilter::default() };
    let jobs = app.queue.list(filter, PAGE, 0).await?.items;
    let tried = jobs
        .iter()
        .filter(|job| verify::is_proof(job))
        .any(|job| job.archive_id == Some(archive.id) || !job.state.is_finished());
    if tried {
        return Ok(());
    }
    verify::start(app, None, archive.id, true, None).await.map(drop)
}

/// The newest archives of the portal: one source's is no proof of it.
async fn newest(app: &App, count: usize) -> Result<Vec<ArchiveRecord>, OpError> {
    let (mut newest, mut offset) = (Vec::new(), 0);
    while newest.len() < count {
        let page = app.catalog.archives().list(ArchiveFilter::default(), PAGE, offset).await?.items;
        if page.is_empty() {
            break;
        }
        offset += page.len() as u64;
        newest.extend(page.into_iter().filter(|archive| archive.tenant_id != NO_TENANT));
    }
    newest.truncate(count);
    Ok(newest)
}

/// The archive to be proved: the newest, if none of the `every` newest is.
fn due(newest: &[ArchiveRecord], every: u32) -> Option<&ArchiveRecord> {
    let enough = newest.len() >= every as usize;
    let none = newest.iter().all(|archive| archive.proved_on.is_none());
    newest.first().filter(|_| enough && none)
}
