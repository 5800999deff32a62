//! The worker: claims jobs and runs them, beside the rest of the process but not in its way.

mod attempt;
mod cleaner;
mod system;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::run::Run;
use super::{CancelReason, Handler, JobKind, Queue, owner};
use crate::catalog::CatalogError;
use crate::catalog::jobs::Jobs;

/// What somebody waits for.
const URGENT: &[JobKind] =
    &[JobKind::Backup, JobKind::Restore, JobKind::SourceBackup, JobKind::SourceRestore];

const NO_COPIES: &[JobKind] = &[
    JobKind::Backup,
    JobKind::Restore,
    JobKind::Verify,
    JobKind::Prune,
    JobKind::SourceBackup,
    JobKind::SourceRestore,
    JobKind::Index,
    JobKind::Consolidate,
    JobKind::Rekey,
];

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// How many jobs it runs at once. One place of several is for backups and restores alone, which others that take
    /// long must not keep waiting.
    pub concurrency: usize,
    /// Places beside those, for copies alone, which then take none of the others: however slow the storage is that one
    /// is sent to, the rest goes on. 0: copies are jobs like any.
    pub copies: usize,
    /// Threads of the runtime that handlers run on.
    pub threads: usize,
    /// Added to the niceness of those threads, so that the API stays quick.
    pub niceness: i32,
    /// After so long without a heartbeat a job may be taken over.
    pub lease: Duration,
    pub heartbeat: Duration,
    /// How often it looks for jobs that other processes have queued.
    pub poll: Duration,
    /// A job that was begun so often and never ended has failed.
    pub max_attempts: u32,
    /// How long a handler may take to obey its `Cancel`.
    pub cancel_grace: Duration,
    /// How long cleaning may delay a job's end; what is left then is cleaned later.
    pub clean_timeout: Duration,
    /// How often cleaning that failed is tried again.
    pub cleanup_every: Duration,
    /// Run this job and no other, clean nothing else: for a command that waits for its own job.
    pub only: Option<Uuid>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 3,
            copies: 0,
            threads: 2,
            niceness: 15,
            lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(2),
            poll: Duration::from_secs(1),
            max_attempts: 3,
            cancel_grace: Duration::from_secs(30),
            clean_timeout: Duration::from_secs(30),
            cleanup_every: Duration::from_secs(60),
            only: None,
        }
    }
}

/// Starts workers.
#[derive(Debug)]
pub struct Worker;

/// A worker at work. Dropping it is as good as killing it: its jobs stop where they are and are taken up
/// again when their leases have run out. `shutdown` is the clean way.
pub struct WorkerHandle {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// Always there until drop.
    runtime: Option<Runtime>,
}

/// What the tasks of a worker share.
struct Shared {
    queue: Queue,
    handler: Arc<dyn Handler>,
    options: WorkerOptions,
    /// Names this process in the catalog.
    owner: String,
    /// Where handlers run.
    handle: Handle,
    stopping: CancellationToken,
    runs: Mutex<Vec<Arc<Run>>>,
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerHandle").field(&self.shared.owner).finish()
    }
}

impl Worker {
    /// Starts a worker. Handlers run on a runtime of its own; claims and heartbeats on the catalog's thread,
    /// where no handler can delay them.
    pub fn start(
        queue: Queue,
        handler: Arc<dyn Handler>,
        options: WorkerOptions,
    ) -> std::io::Result<WorkerHandle> {
        let niceness = options.niceness;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .max_blocking_threads(64)
            .thread_name("job")
            .on_thread_start(move || system::be_nice(niceness))
            .enable_all()
            .build()?;
        let catalog = queue.catalog().handle().clone();
        let shared = Arc::new(Shared {
            queue,
            handler,
            owner: owner::this_process(),
            handle: runtime.handle().clone(),
            stopping: CancellationToken::new(),
            runs: Mutex::default(),
            options,
        });
        let mut tasks = JoinSet::new();
        let concurrency = shared.options.concurrency.max(1);
        let copies = shared.options.copies;
        for place in 0..concurrency {
            let kinds = match place {
                0 if concurrency > 1 => URGENT,
                _ if copies > 0 => NO_COPIES,
                _ => &[],
            };
            tasks.spawn_on(shared.clone().work(kinds), &catalog);
        }
        for _ in 0..copies {
            tasks.spawn_on(shared.clone().work(&[JobKind::Copy]), &catalog);
        }
        if shared.options.only.is_none() {
            tasks.spawn_on(shared.clone().clean_up(), &catalog);
        }
        Ok(WorkerHandle { shared, tasks, runtime: Some(runtime) })
    }
}

impl WorkerHandle {
    /// Takes no more jobs, asks those that run to stop, and gives them back to the queue as if they had
    /// not been begun. Those that have not stopped after `timeout` are given back all the same; what they
    /// leave is cleaned when they are run again.
    pub async fn shutdown(mut self, timeout: Duration) {
        self.shared.stopping.cancel();
        for run in self.shared.running() {
            run.cancel.cancel(CancelReason::Shutdown);
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(timeout, ended).await.is_ok() {
            return;
        }
        let late = self.shared.running();
        self.tasks.shutdown().await;
        for run in late {
            run.cancel.cancel(CancelReason::Lost);
            self.shared.give_back(&run).await;
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.tasks.abort_all();
        for run in self.shared.running() {
            run.cancel.cancel(CancelReason::Lost);
        }
        // Dropping a runtime waits, which panics inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Claims and runs one job of these kinds after the other; none: of all kinds.
    async fn work(self: Arc<Self>, kinds: &'static [JobKind]) {
        let mut changes = self.queue.changes();
        while !self.stopping.is_cancelled() {
            changes.mark_unchanged();
            if let Err(error) = self.release_dead().await {
                tracing::warn!(%error, "jobs of killed processes could not be looked for");
            }
            let claimed = Instant::now();
            let jobs = Jobs(self.queue.catalog());
            let (lease, only) = (self.options.lease, self.options.only);
            match jobs.claim(self.owner.clone(), lease, only, kinds).await {
                Ok(Some(row)) => {
                    let run = Run::new(self.queue.catalog().clone(), row);
                    self.attempt(Arc::new(run), claimed).await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no job could be claimed; trying again"),
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(self.options.poll) => {}
            }
        }
    }

    /// Ends the leases of processes of this machine that were killed, so that their jobs need not wait.
    async fn release_dead(&self) -> Result<(), CatalogError> {
        let jobs = Jobs(self.queue.catalog());
        for (id, fence, owner) in jobs.owners().await? {
            if owner != self.owner && owner::is_dead(&owner) && jobs.end_lease(id, fence).await? {
                tracing::warn!(job = %id, "the process that ran a job was killed");
                self.queue.changed();
            }
        }
        Ok(())
    }

    fn running(&self) -> Vec<Arc<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(self: &Arc<Self>, run: &Arc<Run>) -> Running {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(run.clone());
        self.queue.begin(run);
        if self.stopping.is_cancelled() {
            run.cancel.cancel(CancelReason::Shutdown);
        }
        Running { shared: self.clone(), run: run.clone() }
    }
}

/// A run as long as this process knows of it.
struct Running {
    shared: Arc<Shared>,
    run: Arc<Run>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut runs = self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|run| !Arc::ptr_eq(run, &self.run));
        drop(runs);
        self.shared.queue.end(&self.run);
    }
}
