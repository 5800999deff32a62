//! What a restore leaves from step to step, and how that is undone or completed.

use serde::{Deserialize, Serialize};

use super::super::targets::Targets;
use super::RunError;
use crate::app::App;
use crate::portal::INDEXES;
use crate::source::restore::{AttemptId, Staged};

/// What a restore notes in the catalog before each of its steps, so that any process can finish it or undo it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remains {
    pub attempt: AttemptId,
    pub phase: Phase,
    /// Whether DocSpace's tenants are closed meanwhile, and which of them were open.
    pub closed: bool,
    pub tenants: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// The portal is as it was.
    Staging,
    /// It may be anything.
    Swapping,
    /// It is as the archive says.
    Proved,
}

/// All that an attempt may have staged, in the order in which it is swapped: indexes, databases, files.
async fn staged(targets: &Targets, attempt: &AttemptId) -> Result<Vec<Box<dyn Staged>>, RunError> {
    let (files, indexes): (Vec<_>, Vec<_>) =
        targets.filesystems.iter().partition(|target| target.position < INDEXES);
    let mut all: Vec<_> = indexes.iter().map(|target| target.filesystem.staged(attempt)).collect();
    for target in &targets.databases {
        all.push(target.database.staged(attempt).await?);
    }
    all.extend(files.iter().map(|target| target.filesystem.staged(attempt)));
    Ok(all)
}

/// Everything as it was, the last step first.
pub(super) async fn undo(app: &App, targets: &Targets, remains: &Remains) -> Result<(), RunError> {
    let mut waiting = staged(targets, &remains.attempt).await?;
    waiting.reverse();
    // What one source gets back may need what another one is yet to get back.
    loop {
        let before = waiting.len();
        let mut last = None;
        for staged in std::mem::take(&mut waiting) {
            if let Err(error) = staged.roll_back().await {
                tracing::warn!(%error, "a source could not be rolled back");
                waiting.push(staged);
                last = Some(error);
            }
        }
        match last {
            None => break,
            Some(error) if waiting.len() == before => return Err(error.into()),
            Some(_) => {}
        }
    }
    if let Some(identity) = app.portal.identity()
        && remains.closed
    {
        identity.open_again(Some(&remains.tenants)).await?;
    }
    Ok(())
}

/// As often as one source's new state lets another one be completed; what is left in the end.
pub(super) async fn settle(sources: &[Box<dyn Staged>]) -> Result<Vec<String>, RunError> {
    let mut left = None;
    loop {
        let mut now = Vec::new();
        for source in sources {
            now.extend(source.settle().await?);
        }
        if now.is_empty() || left.as_ref() == Some(&now) {
            return Ok(now);
        }
        left = Some(now);
    }
}

/// Opens what was closed for the restore.
pub(super) async fn open_again(app: &App, remains: &Remains) -> Result<(), RunError> {
    match app.portal.identity() {
        Some(identity) if remains.closed => Ok(identity.open_again(None).await?),
        _ => Ok(()),
    }
}

/// Drops what was replaced, of every source: one that cannot keeps no other from it.
pub(super) async fn drop_old(targets: &Targets, remains: &Remains) -> Result<(), RunError> {
    let mut last = Ok(());
    for staged in staged(targets, &remains.attempt).await? {
        if let Err(error) = staged.finish().await {
            last = Err(error.into());
        }
    }
    last
}
