//! Comparing what a storage holds with what was sent to it.

use futures::TryStreamExt;
use twox_hash::XxHash3_128;

use crate::jobs::Progress;
use crate::limits::Rate;
use crate::storage::Storage;

/// A running checksum of an archive's bytes. It finds accidents, at memory speed; what guards against
/// malice is the SHA-256 that the catalog keeps.
#[derive(Default)]
pub struct Fingerprint {
    hasher: XxHash3_128,
    bytes: u64,
}

impl Fingerprint {
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.write(piece);
        self.bytes += piece.len() as u64;
    }
}

/// Reads an archive that was just stored from its first byte to its last, and compares it with what was sent.
pub async fn read_back(
    storage: &Storage,
    name: &str,
    sent: &Fingerprint,
    progress: &Progress,
    limit: &Rate,
) -> Result<(), String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("reading the archive back failed: {error}");
    let size = storage.size(name).await.map_err(|error| failed(&error))?;
    if size != Some(sent.bytes) {
        return Err(match size {
            Some(size) => {
                format!("the storage holds {size} bytes of the {} that were sent", sent.bytes)
            }
            None => "the storage does not have the archive that it took".to_owned(),
        });
    }
    let mut stored = Fingerprint::default();
    let mut pieces = storage.read(name, 0..sent.bytes).await.map_err(|error| failed(&error))?;
    while let Some(piece) = pieces.try_next().await.map_err(|error| failed(&error))? {
        limit.take(piece.len()).await;
        stored.update(&piece);
        progress.add(piece.len() as u64);
    }
    if stored.bytes != sent.bytes || stored.hasher.finish_128() != sent.hasher.finish_128() {
        return Err("the storage gives back other bytes than were sent".to_owned());
    }
    Ok(())
}
