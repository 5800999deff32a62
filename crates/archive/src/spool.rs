//! Content whose size is not known before its end: compressed as it comes, and held until it is appended.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::Sha256;
use tokio::sync::OwnedSemaphorePermit;

use crate::budget::Budget;
use crate::frame::Encoded;
use crate::pool::{Pending, Pool};
use crate::spool_store::Store;
use crate::turns::{Turn, Turns};
use crate::{Error, Ratio, Result};

/// What each spool may hold without asking, so that none ever waits for another.
const FREE: usize = 64 << 10;

/// What a writer and its spools share.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) budget: Budget,
    pub(crate) temp_dir: PathBuf,
    pub(crate) ratio: Arc<Ratio>,
    /// Why the writer stopped.
    failure: Mutex<Option<Error>>,
}

impl Shared {
    pub(crate) fn new(pool: Pool, budget: Budget, temp_dir: PathBuf) -> Self {
        Self { pool, budget, temp_dir, ratio: Arc::default(), failure: Mutex::new(None) }
    }

    /// Stops the writer: it waits for memory no more, and every later call gets this error.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.budget.window.close();
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes spools for one writer, in any task.
#[derive(Clone)]
pub struct Spools(pub(crate) Arc<Shared>);

impl Spools {
    /// An empty spool.
    pub fn spool(&self) -> Spool {
        Spool::new(Arc::clone(&self.0), true)
    }

    /// Notes content that is read and needs no place in the archive, because another has it.
    pub fn elsewhere(&self, bytes: u64) {
        self.0.ratio.add(bytes, 0);
    }
}

/// Content of unknown size, to be given to [`crate::Writer::append_spool`]. Any number of them can be fed at once, also
/// while the writer writes: a spool waits for the compressing threads and for nothing else. Beyond a share of the
/// writer's memory, compressed content waits in a file without a name; dropping the spool frees everything. Each spool
/// holds up to 128 KiB besides the writer's budget.
pub struct Spool {
    shared: Arc<Shared>,
    raw: Vec<u8>,
    /// How long `raw` may become before more memory is asked for.
    room: usize,
    permit: Option<OwnedSemaphorePermit>,
    compressing: VecDeque<Pending<Compressed>>,
    store: Store,
    digest: Option<Arc<Turns>>,
    submitted: u64,
    len: u64,
    busy: bool,
}

struct Compressed {
    frame: Encoded,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Spool {
    /// `digest`: whether the content's SHA-256 is wanted.
    pub(crate) fn new(shared: Arc<Shared>, digest: bool) -> Self {
        Self {
            shared,
            raw: Vec::new(),
            room: FREE,
            permit: None,
            compressing: VecDeque::new(),
            store: Store::new(),
            digest: digest.then(Arc::default),
            submitted: 0,
            len: 0,
            busy: false,
        }
    }

    /// Adds content. Errors when the writer is gone ([`Error::Closed`]) or the temporary file cannot be written; after
    /// any error, and after a call that was dropped, the spool can only be dropped.
    pub async fn write(&mut self, data: &[u8]) -> Result<()> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(Error::Interrupted);
        }
        let mut rest = data;
        while !rest.is_empty() {
            if self.raw.len() == self.room {
                self.make_room().await?;
            }
            let (now, later) = rest.split_at(rest.len().min(self.room - self.raw.len()));
            self.raw.extend_from_slice(now);
            self.len += now.len() as u64;
            rest = later;
        }
        self.busy = false;
        Ok(())
    }

    /// Bytes of content so far, not compressed.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    async fn make_room(&mut self) -> Result<()> {
        let most = self.shared.budget.spool_frame;
        if self.raw.len() >= most {
            if self.permit.is_none() {
                // With a tiny budget nothing but this bounds what is under way.
                while let Some(pending) = self.compressing.pop_front() {
                    self.keep(pending).await?;
                }
            }
            self.submit()?;
            return self.collect().await;
        }
        loop {
            let next = (self.room * 2).min(most);
            let filling = Arc::clone(&self.shared.budget.filling);
            if let Ok(more) = filling.try_acquire_many_owned((next - self.room) as u32) {
                match &mut self.permit {
                    Some(permit) => permit.merge(more),
                    None => self.permit = Some(more),
                }
                self.raw.reserve_exact(next - self.raw.len());
                self.room = next;
                return Ok(());
            }
            // What the threads have will come free; what other spools hold might never.
            match self.compressing.pop_front() {
                Some(pending) => self.keep(pending).await?,
                None => return self.submit(),
            }
        }
    }

    /// Hands the content so far to the compressing threads.
    fn submit(&mut self) -> Result<()> {
        let raw = std::mem::take(&mut self.raw);
        let permit = self.permit.take();
        self.room = FREE;
        let turn = self.digest.clone().map(|turns| Turn::new(turns, self.submitted));
        self.submitted += 1;
        let ratio = Arc::clone(&self.shared.ratio);
        let pending = self.shared.pool.submit(move |encoder| {
            if let Some(turn) = turn {
                turn.update(&raw);
            }
            let frame = encoder.encode(&raw);
            ratio.add(raw.len() as u64, frame.bytes.len() as u64);
            Compressed { frame, _permit: permit }
        })?;
        self.compressing.push_back(pending);
        Ok(())
    }

    /// Keeps the frames that are done.
    async fn collect(&mut self) -> Result<()> {
        while let Some(done) = self.compressing.front_mut().and_then(Pending::ready) {
            self.compressing.pop_front();
            self.push(done?).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, pending: Pending<Compressed>) -> Result<()> {
        let done = pending.wait().await?;
        self.push(done).await
    }

    async fn push(&mut self, done: Compressed) -> Result<()> {
        let shared = &self.shared;
        self.store.push(done.frame, &shared.budget, &shared.pool, &shared.temp_dir).await
    }

    /// Waits for the threads and takes everything out.
    pub(crate) async fn finish(mut self) -> Result<Spooled> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(Error::Interrupted);
        }
        while let Some(pending) = self.compressing.pop_front() {
            self.keep(pending).await?;
        }
        Ok(Spooled {
            digest: self.digest.as_ref().map(|turns| turns.digest()),
            rest: std::mem::take(&mut self.raw),
            rest_permit: self.permit.take(),
            store: std::mem::replace(&mut self.store, Store::new()),
        })
    }

    #[cfg(test)]
    pub(crate) fn spilled(&self) -> u64 {
        self.store.spilled()
    }
}

/// A spool's content.
pub(crate) struct Spooled {
    pub(crate) store: Store,
    /// What was too little for a frame.
    pub(crate) rest: Vec<u8>,
    pub(crate) rest_permit: Option<OwnedSemaphorePermit>,
    /// Of everything but `rest`.
    pub(crate) digest: Option<Sha256>,
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;
    use crate::Compression;

    #[tokio::test]
    async fn what_does_not_fit_goes_to_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, budget) = (Pool::new(2, Compression::None), Budget::new(2 << 20, 2));
        let kept = budget.kept.available_permits();
        let shared = Arc::new(Shared::new(pool, budget, folder.path().to_owned()));
        let mut spool = Spool::new(Arc::clone(&shared), true);
        let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n / 3) as u8).collect();
        for chunk in content.chunks(12_345) {
            spool.write(chunk).await.unwrap();
        }
        assert!(spool.spilled() > 3_000_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let spooled = spool.finish().await.unwrap();
        let mut digest = spooled.digest.unwrap();
        digest.update(&spooled.rest);
        assert_eq!(digest.finalize(), Sha256::digest(&content));
        let mut frames = spooled.store.into_frames();
        let mut read = Vec::new();
        while let Some((frame, _permit)) = frames.next(&shared.budget, &shared.pool).await.unwrap()
        {
            let mut inflater = crate::inflate::Inflater::new().unwrap();
            read.extend(inflater.frame(&frame.bytes, frame.tar_length as usize).unwrap());
        }
        read.extend(spooled.rest);
        assert!(read == content);
        drop((frames, spooled.rest_permit));
        assert_eq!(shared.budget.kept.available_permits(), kept);
    }

    #[tokio::test]
    async fn a_dropped_spool_gives_everything_back() {
        let (pool, budget) = (Pool::new(2, Compression::Fast), Budget::new(16 << 20, 2));
        let free = (budget.kept.available_permits(), budget.filling.available_permits());
        let shared = Arc::new(Shared::new(pool, budget, std::env::temp_dir()));
        let mut spool = Spool::new(Arc::clone(&shared), true);
        spool.write(&vec![1; 9_000_000]).await.unwrap();
        drop(spool);
        // Jobs that were under way end by themselves.
        while (shared.budget.kept.available_permits(), shared.budget.filling.available_permits())
            != free
        {
            tokio::task::yield_now().await;
        }
    }
}
