//! The tar stream being cut into frames, which are compressed side by side and leave in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::WriterOptions;
use crate::budget::Budget;
use crate::emit::{Emitter, Held, Output};
use crate::pool::Pool;
use crate::sample::{Class, Sampler};
use crate::spool::Shared;
use crate::spool_store::Store;
use crate::{Compression, Digest, Error, Result};

/// How many places of a small file are looked at before it joins others.
const SLICES: usize = 2;
/// Less content than this may join any other: it matters less than a frame of its own would.
const LITTLE: usize = 1024;

pub(super) struct TarStream {
    shared: Arc<Shared>,
    /// Kept to see whether the receiver is gone.
    sink: mpsc::Sender<Bytes>,
    position: Arc<AtomicU64>,
    emitter: Option<Running>,
    frame: Option<Filling>,
    tar_offset: u64,
    /// None when everything is stored anyhow.
    sampler: Option<Sampler>,
    /// One thread, so that pieces are hashed in order.
    hashing: Pool,
}

struct Running {
    outputs: mpsc::UnboundedSender<Output>,
    task: JoinHandle<Result<Digest>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The frame being filled.
struct Filling {
    raw: Vec<u8>,
    permit: OwnedSemaphorePermit,
    /// Of the content in it; None while there are only headers.
    class: Option<Class>,
}

impl TarStream {
    pub(super) fn new(options: WriterOptions, sink: mpsc::Sender<Bytes>) -> Self {
        let workers = options.workers.max(1);
        let pool = Pool::new(workers, options.compression);
        let budget = Budget::new(options.memory, workers);
        let sampler = (options.compression != Compression::None).then(Sampler::new);
        Self {
            shared: Arc::new(Shared::new(pool, budget, options.temp_dir)),
            sink,
            position: Arc::default(),
            emitter: None,
            frame: None,
            tar_offset: 0,
            sampler,
            hashing: Pool::new(1, Compression::None),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Bytes of the tar stream so far.
    pub(super) fn tar_offset(&self) -> u64 {
        self.tar_offset
    }

    pub(super) fn frame_size(&self) -> usize {
        self.shared.budget.frame
    }

    /// Errors when the archive can no longer be written.
    pub(super) fn check(&self) -> Result<()> {
        if self.sink.is_closed() {
            return Err(Error::SinkClosed);
        }
        self.shared.failure().map_or(Ok(()), Err)
    }

    /// Adds content, after its header if that is still to be written. Content joins only a frame with content of its
    /// own class.
    pub(super) async fn content(&mut self, header: Option<Vec<u8>>, data: &[u8]) -> Result<()> {
        if data.len() < LITTLE {
            if let Some(header) = header {
                self.put(&header).await?;
            }
            return self.put(data).await;
        }
        let settled = self.frame.as_ref().and_then(|frame| frame.class);
        // The rest of a file follows its beginning; whether a whole frame of it compresses is seen when it is full.
        if header.is_some() || settled.is_none() {
            let class =
                self.sampler.as_mut().map_or(Class::Stored, |sampler| sampler.class(data, SLICES));
            if settled.is_some_and(|settled| settled != class) {
                self.flush()?;
            }
            if let Some(header) = header {
                self.put(&header).await?;
            }
            if let Some(frame) = &mut self.frame {
                frame.class = Some(class);
            }
        }
        self.put(data).await
    }

    /// Ends an entry: its header, if there was no content, and its padding.
    pub(super) async fn end_content(
        &mut self,
        header: Option<Vec<u8>>,
        padding: u64,
    ) -> Result<()> {
        if let Some(header) = header {
            self.put(&header).await?;
        }
        self.put(&[0; crate::BLOCK as usize][..padding as usize]).await
    }

    /// Adds bytes as they are.
    pub(super) async fn put(&mut self, mut data: &[u8]) -> Result<()> {
        let size = self.shared.budget.frame;
        while !data.is_empty() {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => {
                    let frame = self.new_frame().await?;
                    self.frame.insert(frame)
                }
            };
            let (now, later) = data.split_at(data.len().min(size - frame.raw.len()));
            frame.raw.extend_from_slice(now);
            let full = frame.raw.len() == size;
            self.tar_offset += now.len() as u64;
            data = later;
            if full {
                self.flush()?;
            }
        }
        Ok(())
    }

    async fn new_frame(&self) -> Result<Filling> {
        let budget = &self.shared.budget;
        let permit = Arc::clone(&budget.window).acquire_many_owned(budget.frame as u32).await;
        let permit = permit.map_err(|_| self.stopped())?;
        Ok(Filling { raw: budget.buffer(), permit, class: None })
    }

    /// Why nobody waits for memory any more.
    fn stopped(&self) -> Error {
        self.shared.failure().unwrap_or(Error::SinkClosed)
    }

    /// Sends the frame being filled, if any, to be compressed.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(Filling { raw, mut permit, .. }) = self.frame.take() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let pending = self.shared.pool.submit(move |encoder| {
            let frame = encoder.encode(&raw);
            shared.ratio.add(raw.len() as u64, frame.bytes.len() as u64);
            shared.budget.give_back(raw);
            let surplus = permit.num_permits().saturating_sub(frame.bytes.len());
            drop(permit.split(surplus));
            Held { frame, permit }
        })?;
        self.output(Output::Compressing(pending))
    }

    /// Adds a header and then a spool's frames.
    pub(super) async fn embed(&mut self, header: Option<Vec<u8>>, store: Store) -> Result<()> {
        if let Some(header) = header {
            self.put(&header).await?;
        }
        self.flush()?;
        let mut frames = store.into_frames();
        let shared = self.shared();
        while let Some((frame, permit)) = frames.next(&shared.budget, &shared.pool).await? {
            self.tar_offset += u64::from(frame.tar_length);
            self.output(Output::Ready(Held { frame, permit }))?;
        }
        Ok(())
    }

    pub(super) fn output(&mut self, output: Output) -> Result<()> {
        let running = match &self.emitter {
            Some(running) => running,
            None => {
                let runtime =
                    tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
                let emitter =
                    Emitter::new(self.shared(), self.sink.clone(), Arc::clone(&self.position));
                let (outputs, receiver) = mpsc::unbounded_channel();
                let task = runtime.spawn(emitter.run(receiver));
                self.emitter.insert(Running { outputs, task })
            }
        };
        running.outputs.send(output).map_err(|_| self.stopped())
    }

    /// Ends the stream; returns the digest of the whole file when all of it is in the sink.
    pub(super) async fn end(mut self) -> Result<Digest> {
        self.flush()?;
        let Some(mut running) = self.emitter.take() else { return Err(Error::Closed) };
        // The emitter ends when no one can send to it any more.
        running.outputs = mpsc::unbounded_channel().0;
        let ended = (&mut running.task).await;
        ended.map_err(|_| Error::Closed)?
    }

    /// Runs something on the hashing thread, after everything that was given to it before.
    pub(super) async fn hash<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.hashing.run(move |_| job()).await
    }

    /// As [`Self::hash`], but waits only until the thread is not too far behind. `len`: the bytes that `job` holds, at
    /// most a frame.
    pub(super) async fn hash_later(
        &self,
        len: usize,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let hashing = Arc::clone(&self.shared.budget.hashing);
        let permit = hashing.acquire_many_owned(len as u32).await.map_err(|_| self.stopped())?;
        self.hashing.submit(move |_| {
            job();
            drop(permit);
        })?;
        Ok(())
    }
}

impl Drop for TarStream {
    fn drop(&mut self) {
        // Spools may outlive the writer, and would keep the threads busy for nothing.
        self.shared.pool.close();
        self.shared.budget.window.close();
    }
}
