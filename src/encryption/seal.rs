//! Encrypting an archive while it is written.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::payload::{CHUNK, PayloadKey, SEALED, TAG};
use super::{EncryptionError, Keys, OwnKey};

/// What is handed on at once.
const PIECE: usize = 16 * SEALED;

/// An archive as the storage gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// An archive that was encrypted, and what opens it for as long as this process remembers it.
pub struct Sealed {
    pub stored: Stored,
    pub key: OwnKey,
}

/// The end of an encryption under way.
pub struct Sealing(Option<JoinHandle<Result<Sealed, EncryptionError>>>);

impl Sealing {
    /// Encrypts pieces as they come, on a thread of its own, within 3 MiB of memory; hands them on as they are when
    /// nothing is to be encrypted.
    pub fn start(keys: &Arc<Keys>, clear: mpsc::Receiver<Bytes>) -> (mpsc::Receiver<Bytes>, Self) {
        if !keys.encrypts() {
            return (clear, Self(None));
        }
        let (sender, sealed) = mpsc::channel(1);
        let keys = Arc::clone(keys);
        let thread = tokio::task::spawn_blocking(move || seal(&keys, clear, &sender));
        (sealed, Self(Some(thread)))
    }

    /// What was handed on, after the last piece; None: what came in.
    pub async fn finish(self) -> Result<Option<Sealed>, EncryptionError> {
        match self.0 {
            None => Ok(None),
            Some(thread) => thread.await.map_err(|_| EncryptionError::Failed)?.map(Some),
        }
    }
}

/// A small content encrypted, or as it is when nothing is to be encrypted.
pub async fn sealed(keys: &Arc<Keys>, clear: Bytes) -> Result<Bytes, EncryptionError> {
    let (sender, pieces) = mpsc::channel(1);
    let (mut pieces, sealing) = Sealing::start(keys, pieces);
    let send = async move {
        // Who is gone has failed, and says why.
        let _ = sender.send(clear).await;
    };
    let gather = async {
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let ((), all) = tokio::join!(send, gather);
    sealing.finish().await?;
    Ok(all.into())
}

fn seal(
    keys: &Keys,
    mut clear: mpsc::Receiver<Bytes>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<Sealed, EncryptionError> {
    let (head, key) = keys.lock()?;
    let own = OwnKey { payload: head.len() as u64, key: Arc::new(key) };
    let key = Arc::clone(&own.key);
    let mut out =
        Out { key, sender, digest: Sha256::new(), bytes: 0, number: 0, buffer: head, start: 0 };
    out.start = out.buffer.len();
    while let Some(mut piece) = clear.blocking_recv() {
        while !piece.is_empty() {
            let room = CHUNK - (out.buffer.len() - out.start);
            // A full chunk is sealed only when more follows: the last one is marked.
            if room == 0 {
                out.seal(false)?;
                continue;
            }
            let part = piece.split_to(room.min(piece.len()));
            out.buffer.extend_from_slice(&part);
        }
    }
    out.seal(true)?;
    out.send()?;
    let stored = Stored { bytes: out.bytes, sha256: out.digest.finalize().into() };
    Ok(Sealed { stored, key: own })
}

struct Out<'a> {
    key: Arc<PayloadKey>,
    sender: &'a mpsc::Sender<Bytes>,
    digest: Sha256,
    bytes: u64,
    /// Of the chunk that is being filled, which begins at `start`.
    number: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Out<'_> {
    fn seal(&mut self, last: bool) -> Result<(), EncryptionError> {
        self.key.seal(self.number, last, &mut self.buffer, self.start)?;
        self.number += 1;
        self.start = self.buffer.len();
        if self.start + CHUNK + TAG > PIECE {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), EncryptionError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        self.start = 0;
        self.digest.update(&piece);
        self.bytes += piece.len() as u64;
        // Who is gone has failed, and knows why.
        self.sender.blocking_send(piece).map_err(|_| EncryptionError::Failed)
    }
}
