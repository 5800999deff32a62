//! Reading an archive before anything of it is believed.

use archive::Archive;

use super::super::chosen::Chosen;
use super::RunError;
use crate::app::App;
use crate::jobs::Progress;
use crate::ops::{OpError, chain, verify};
use crate::source::database::Trust;

/// An archive that was read whole and found good.
pub struct Verified {
    pub archive: Archive,
    pub trust: Trust,
}

/// Reads every byte of the archive. Errors say what is wrong with it.
pub async fn verified(
    app: &App,
    chosen: &Chosen,
    trusted: bool,
    progress: &Progress,
) -> Result<Verified, RunError> {
    progress.phase("verifying");
    if is_as_verified(chosen, progress).await? {
        return Ok(Verified { archive: chosen.open(app).await?, trust: Trust::Own });
    }
    let Chosen { opened, keys, near, .. } = chosen;
    let report = chain::verify(Some(app), keys, near, opened, progress).await?;
    let sha256 = hex::encode(report.sha256);
    let (expected, size) = match &chosen.record {
        Some(record) => (record.sha256.as_str(), record.size),
        None => (sha256.as_str(), report.bytes),
    };
    verify::verdict(&report, expected, size).map_err(RunError::Failed)?;
    let ours = app.catalog.archives().by_sha256(sha256).await.map_err(OpError::from)?;
    let trust = if trusted || ours.is_some() { Trust::Own } else { Trust::Foreign };
    Ok(Verified { archive: chosen.open(app).await?, trust })
}

/// Whether the archive is, to the byte, one that was found good before. Its frames' and entries' digests are then
/// checked as they are staged. If it is not, nothing is said yet: a whole verification tells what is wrong.
async fn is_as_verified(chosen: &Chosen, progress: &Progress) -> Result<bool, RunError> {
    let Some(record) = &chosen.record else { return Ok(false) };
    if record.verified_on.is_none() || record.sha256.is_empty() {
        return Ok(false);
    }
    // All that an increment needs is read before anything is touched.
    if record.parent_id.is_some() || record.size != chosen.size() {
        return Ok(false);
    }
    let sha256 = archive::sha256(&**chosen.opened.stored(), |bytes| progress.add(bytes)).await?;
    if hex::encode(sha256) == record.sha256.to_ascii_lowercase() {
        return Ok(true);
    }
    // It is read once more.
    progress.add_total(chosen.size());
    Ok(false)
}
