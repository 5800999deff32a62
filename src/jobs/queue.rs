//! The queue: where jobs are put, asked for and cancelled. Any process that has the catalog may.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::run::Run;
use super::{CancelReason, Job, JobFilter, JobKind, JobState, NewJob};
use crate::catalog::jobs::{Jobs, Row};
use crate::catalog::{Cache, Catalog, CatalogError, Page};

/// How old an answer may be; changes by this process are seen at once.
const KEEP: Duration = Duration::from_millis(200);
/// How old one may be that is given out while a newer one is loaded.
const STALE: Duration = Duration::from_secs(1);
const LONGEST_KEY: usize = 191;

/// The queue of a catalog. Clones are the same queue; a process should have one, so that jobs run here
/// begin without delay and tell their progress live.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Catalog,
    /// Counts what this process changed; waiting for it is waiting for the next change.
    changes: watch::Sender<u64>,
    runs: Mutex<HashMap<Uuid, Arc<Run>>>,
    by_id: Cache<Uuid, Answer>,
    latest: Cache<JobFilter, Answer>,
    /// When the last job finished of which this process knows, in Unix milliseconds.
    finished: AtomicU64,
}

type Answer = Result<Option<Arc<Row>>, CatalogError>;

/// The answer to `Queue::enqueue`.
#[derive(Debug, Clone)]
pub struct Enqueued {
    pub job: Job,
    /// False: the job was there already and excludes the new one, which was not queued.
    pub created: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.inner.catalog).finish()
    }
}

impl Queue {
    pub fn new(catalog: Catalog) -> Self {
        Self {
            inner: Arc::new(Inner {
                catalog,
                changes: watch::Sender::new(0),
                runs: Mutex::default(),
                by_id: Cache::new(KEEP, STALE, 1024),
                latest: Cache::new(KEEP, STALE, 1024),
                finished: AtomicU64::new(0),
            }),
        }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// Queues a job, unless another that is not finished has its exclusive key: then that one is returned.
    pub async fn enqueue(&self, new: NewJob) -> Result<Enqueued, CatalogError> {
        if new.exclusive.as_ref().is_some_and(|key| key.len() > LONGEST_KEY) {
            return Err(CatalogError::Unreadable("an exclusive key that is too long".to_owned()));
        }
        let jobs = Jobs(&self.inner.catalog);
        let id = Uuid::new_v4();
        loop {
            if jobs.insert(id, new.clone()).await? {
                self.changed();
                let job = self.get(id).await?;
                let job = job.ok_or_else(|| CatalogError::Unreadable(format!("job {id}")))?;
                return Ok(Enqueued { job, created: true });
            }
            let Some(key) = new.exclusive.clone() else {
                return Err(CatalogError::Unreadable(format!("job {id}")));
            };
            if let Some(row) = jobs.holder(key).await? {
                return Ok(Enqueued { job: self.tell(&row), created: false });
            }
            // It finished between the two questions.
        }
    }

    /// A job; at most a second old, and live if it runs in this process.
    pub async fn get(&self, id: Uuid) -> Result<Option<Job>, CatalogError> {
        let queue = self.clone();
        let load = || async move {
            let row = Jobs(queue.catalog()).get(id).await?;
            Ok(queue.seen(row))
        };
        let row = self.inner.by_id.get(id, || self.epoch(), load).await?;
        Ok(row.map(|row| self.tell(&row)))
    }

    /// The job that runs, else the one that waits, else the newest; as fresh as `get`.
    pub async fn latest(&self, filter: JobFilter) -> Result<Option<Job>, CatalogError> {
        let queue = self.clone();
        let load = || async move {
            let row = Jobs(queue.catalog()).list(filter, true, 1, 0).await?.into_iter().next();
            Ok(queue.seen(row))
        };
        let row = self.inner.latest.get(filter, || self.epoch(), load).await?;
        Ok(row.map(|row| self.tell(&row)))
    }

    /// Rises whenever a job is seen to have finished, also one of another process: who has heard of its end
    /// must not be told what was so before.
    pub fn last_finish(&self) -> u64 {
        self.inner.finished.load(Ordering::Acquire)
    }

    fn seen(&self, row: Option<Row>) -> Option<Arc<Row>> {
        let row = row?;
        if let Some(at) = row.job.finished_on {
            let at = u64::try_from(at.as_millisecond()).unwrap_or(0);
            self.inner.finished.fetch_max(at, Ordering::AcqRel);
        }
        Some(Arc::new(row))
    }

    /// Jobs, newest first; `limit` of them at most, after leaving out `offset`.
    pub async fn list(
        &self,
        filter: JobFilter,
        limit: u32,
        offset: u64,
    ) -> Result<Page<Job>, CatalogError> {
        let jobs = Jobs(&self.inner.catalog);
        let total = jobs.count(filter).await?;
        let rows = jobs.list(filter, false, limit, offset).await?;
        Ok(Page { items: rows.iter().map(|row| self.tell(row)).collect(), total })
    }

    /// How many jobs of each kind are in each state.
    pub async fn counts(&self) -> Result<Vec<(JobKind, JobState, u64)>, CatalogError> {
        Jobs(&self.inner.catalog).counts().await
    }

    /// The job that others of this exclusive key wait for.
    pub async fn holder(&self, exclusive: String) -> Result<Option<Job>, CatalogError> {
        let row = Jobs(&self.inner.catalog).holder(exclusive).await?;
        Ok(row.map(|row| self.tell(&row)))
    }

    /// As `request_cancel`, and adds a member to what the job keeps of its request: who wants it.
    pub async fn request_cancel_by(
        &self,
        job: &Job,
        member: &str,
        by: serde_json::Value,
    ) -> Result<Option<Job>, CatalogError> {
        let mut request = job.request.clone();
        if let Some(members) = request.as_object_mut() {
            members.insert(member.to_owned(), by);
            Jobs(&self.inner.catalog).set_request(job.id, request).await?;
        }
        self.request_cancel(job.id).await
    }

    /// Asks a job to stop: one that nobody runs is cancelled at once, one that runs soon. A finished one
    /// stays as it is. Returns the job as it is then.
    pub async fn request_cancel(&self, id: Uuid) -> Result<Option<Job>, CatalogError> {
        let row = Jobs(&self.inner.catalog).request_cancel(id).await?;
        if let Some(run) = self.run(id)
            && row.as_ref().is_some_and(|row| row.fence == run.fence && row.job.cancel_requested)
        {
            // Its heartbeat would find out too, but later.
            run.cancel.cancel(CancelReason::User);
        }
        self.changed();
        Ok(row.map(|row| self.tell(&row)))
    }

    /// A job was queued beside `enqueue`, or something else that is looked for was written: those who
    /// look do so at once.
    pub(crate) fn wake(&self) {
        self.changed();
    }

    /// The job with what this process knows better than the catalog.
    fn tell(&self, row: &Row) -> Job {
        let mut job = row.job.clone();
        if job.state == JobState::Running
            && let Some(run) = self.run(job.id)
            && run.fence == row.fence
        {
            run.tell(&mut job);
        }
        job
    }

    /// To be called after every change that this process makes to a job.
    pub(super) fn changed(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn epoch(&self) -> u64 {
        *self.inner.changes.borrow()
    }

    fn run(&self, id: Uuid) -> Option<Arc<Run>> {
        self.runs().get(&id).cloned()
    }

    pub(super) fn begin(&self, run: &Arc<Run>) {
        self.runs().insert(run.job.id, run.clone());
        self.changed();
    }

    pub(super) fn end(&self, run: &Run) {
        let mut runs = self.runs();
        // After a loss the same job may be here again, by another worker of this process.
        if runs.get(&run.job.id).is_some_and(|present| present.fence == run.fence) {
            runs.remove(&run.job.id);
        }
        drop(runs);
        self.changed();
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Run>>> {
        self.inner.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
