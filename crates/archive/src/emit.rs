//! The end of the writer's pipeline: frames leave in order, are listed, and go into the digest of the whole file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::frame::Encoded;
use crate::pool::{Pending, Pool};
use crate::spool::{Shared, Spool};
use crate::{Digest, Error, FrameRecord, Result};

/// A frame and what it holds of the window.
pub(crate) struct Held {
    pub(crate) frame: Encoded,
    pub(crate) permit: OwnedSemaphorePermit,
}

pub(crate) enum Output {
    Compressing(Pending<Held>),
    Ready(Held),
    /// No more frames are to be listed: gives back the list. What follows goes into the manifest's digest.
    EndOfList(oneshot::Sender<Listed>),
    /// Gives the manifest's digest.
    EndOfManifest(oneshot::Sender<Result<Digest>>),
    /// Bytes that are no frame.
    Tail(Bytes),
}

pub(crate) struct Listed {
    /// [`FrameRecord`]s as lines of the manifest.
    pub(crate) lines: Spool,
    pub(crate) frames: u64,
    /// Where the next frame will be.
    pub(crate) offset: u64,
}

pub(crate) struct Emitter {
    shared: Arc<Shared>,
    sink: mpsc::Sender<Bytes>,
    /// Compressed bytes sent so far.
    position: Arc<AtomicU64>,
    /// One thread, so that pieces are hashed in order.
    hashing: Pool,
    whole: Running,
    manifest: Running,
    lines: Option<Spool>,
    frames: u64,
    tar_offset: u64,
}

/// A digest that grows on another thread.
type Running = Arc<Mutex<Sha256>>;

impl Emitter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sink: mpsc::Sender<Bytes>,
        position: Arc<AtomicU64>,
    ) -> Self {
        let lines = Some(Spool::new(Arc::clone(&shared), false));
        Self {
            shared,
            sink,
            position,
            hashing: Pool::new(1, crate::Compression::None),
            whole: Running::default(),
            manifest: Running::default(),
            lines,
            frames: 0,
            tar_offset: 0,
        }
    }

    /// Sends everything, and returns the digest of the whole file. After an error nobody waits for memory any more.
    pub(crate) async fn run(
        mut self,
        mut outputs: mpsc::UnboundedReceiver<Output>,
    ) -> Result<Digest> {
        let result = self.send_all(&mut outputs).await;
        if let Err(error) = &result {
            self.shared.fail(error.clone());
        }
        result
    }

    async fn send_all(&mut self, outputs: &mut mpsc::UnboundedReceiver<Output>) -> Result<Digest> {
        while let Some(output) = outputs.recv().await {
            match output {
                Output::Compressing(pending) => {
                    let held = pending.wait().await?;
                    self.frame(held).await?;
                }
                Output::Ready(held) => self.frame(held).await?,
                Output::EndOfList(reply) => {
                    let lines = self.lines.take().ok_or(Error::Closed)?;
                    let offset = self.position.load(Ordering::Relaxed);
                    // Nobody listens when the writer was dropped.
                    drop(reply.send(Listed { lines, frames: self.frames, offset }));
                }
                Output::EndOfManifest(reply) => drop(reply.send(self.digest(&self.manifest).await)),
                Output::Tail(bytes) => self.bytes(bytes, None).await?,
            }
        }
        self.digest(&self.whole).await
    }

    async fn frame(&mut self, held: Held) -> Result<()> {
        let Held { frame, permit } = held;
        let record = FrameRecord {
            offset: self.position.load(Ordering::Relaxed),
            length: frame.bytes.len() as u32,
            tar_offset: self.tar_offset,
            tar_length: frame.tar_length,
            sha256: frame.sha256,
        };
        self.tar_offset += u64::from(frame.tar_length);
        self.frames += 1;
        if let Some(lines) = &mut self.lines {
            push_line(lines, &record).await?;
        }
        self.bytes(frame.bytes, Some(permit)).await
    }

    async fn bytes(&mut self, bytes: Bytes, permit: Option<OwnedSemaphorePermit>) -> Result<()> {
        let hashed = bytes.clone();
        let whole = Arc::clone(&self.whole);
        let manifest = self.lines.is_none().then(|| Arc::clone(&self.manifest));
        self.hashing.submit(move |_| {
            for running in std::iter::once(whole).chain(manifest) {
                running.lock().unwrap_or_else(PoisonError::into_inner).update(&hashed);
            }
            drop((hashed, permit));
        })?;
        let length = bytes.len() as u64;
        self.sink.send(bytes).await.map_err(|_| Error::SinkClosed)?;
        self.position.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// The digest of everything up to here.
    async fn digest(&self, running: &Running) -> Result<Digest> {
        let running = Arc::clone(running);
        let digest = move || {
            running.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize().into()
        };
        self.hashing.run(move |_| Digest(digest())).await
    }
}

/// Adds a record as a line of one of the manifest's lists.
pub(crate) async fn push_line(lines: &mut Spool, record: &impl serde::Serialize) -> Result<()> {
    let mut line = Vec::with_capacity(256);
    if !lines.is_empty() {
        line.extend_from_slice(b",\n");
    }
    serde_json::to_writer(&mut line, record)
        .map_err(|_| Error::TooLarge("a line of the manifest"))?;
    lines.write(&line).await
}
