//! The digest of an entry's content.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::stream::TarStream;
use crate::{Digest, Result};

/// Content up to this is hashed at once: that takes less time (under 0.1 ms) than asking another thread.
const AT_ONCE: u64 = 128 << 10;
/// Pieces are gathered up to this before they go to the hashing thread.
const BATCH: usize = 128 << 10;

pub(super) enum ContentDigest {
    AtOnce(Sha256),
    Elsewhere { running: Arc<Mutex<Sha256>>, pieces: Vec<Bytes>, gathered: usize },
    Done(Digest),
}

impl ContentDigest {
    /// `size`: of the whole content.
    pub(super) fn new(size: u64) -> Self {
        if size <= AT_ONCE {
            return Self::AtOnce(Sha256::new());
        }
        Self::Elsewhere { running: Arc::default(), pieces: Vec::new(), gathered: 0 }
    }

    pub(super) async fn update(&mut self, data: Bytes, stream: &TarStream) -> Result<()> {
        match self {
            Self::AtOnce(digest) => digest.update(&data),
            Self::Elsewhere { running, pieces, gathered } => {
                *gathered += data.len();
                pieces.push(data);
                if *gathered >= BATCH {
                    *gathered = 0;
                    hash(running, std::mem::take(pieces), stream).await?;
                }
            }
            Self::Done(_) => {}
        }
        Ok(())
    }

    pub(super) async fn finish(self, stream: &TarStream) -> Result<Digest> {
        match self {
            Self::AtOnce(digest) => Ok(Digest(digest.finalize().into())),
            Self::Elsewhere { running, pieces, .. } => {
                hash(&running, pieces, stream).await?;
                stream.hash(move || Digest(lock(&running).clone().finalize().into())).await
            }
            Self::Done(digest) => Ok(digest),
        }
    }
}

async fn hash(running: &Arc<Mutex<Sha256>>, pieces: Vec<Bytes>, stream: &TarStream) -> Result<()> {
    for piece in pieces {
        // Large pieces in several steps, so that none needs more than the whole share.
        let step = stream.frame_size();
        for start in (0..piece.len()).step_by(step) {
            let part = piece.slice(start..piece.len().min(start + step));
            let running = Arc::clone(running);
            stream.hash_later(part.len(), move || lock(&running).update(&part)).await?;
        }
    }
    Ok(())
}

fn lock(running: &Mutex<Sha256>) -> std::sync::MutexGuard<'_, Sha256> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
