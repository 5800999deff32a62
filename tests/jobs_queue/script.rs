//! A handler that does what a test says, and what tests ask of a queue.

use async_trait::async_trait;
use futures::future::BoxFuture;
use portal_backup::catalog::{ArchiveFilter, ArchiveRecord};
use portal_backup::jobs::{
    Cleaned, Finished, Handler, Job, JobContext, JobFailure, JobKind, JobState, NewJob, Queue,
    Worker, WorkerHandle, WorkerOptions,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

use crate::catalogs::{Place, record};

type Runner = dyn Fn(JobContext) -> BoxFuture<'static, Result<Finished, JobFailure>> + Send + Sync;

/// A handler that does what a test says, and remembers what it was asked to clean.
pub struct Script {
    run: Box<Runner>,
    cleaned: Mutex<Vec<Value>>,
    pub storage_down: AtomicBool,
    /// Whether cleaning finds that the work was done.
    pub is_done: AtomicBool,
}

impl Script {
    pub fn new<F>(run: impl Fn(JobContext) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Finished, JobFailure>> + Send + 'static,
    {
        Arc::new(Self {
            run: Box::new(move |context| Box::pin(run(context))),
            cleaned: Mutex::default(),
            storage_down: AtomicBool::new(false),
            is_done: AtomicBool::new(false),
        })
    }

    pub fn cleaned(&self) -> Vec<Value> {
        self.cleaned.lock().unwrap().clone()
    }
}

#[async_trait]
impl Handler for Script {
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure> {
        (self.run)(context).await
    }

    async fn clean(&self, _job: &Job, remains: &Value) -> Result<Cleaned, String> {
        if self.storage_down.load(Ordering::SeqCst) {
            return Err("the storage is down".to_owned());
        }
        self.cleaned.lock().unwrap().push(remains.clone());
        Ok(match self.is_done.load(Ordering::SeqCst) {
            true => Cleaned::Succeeded(Box::default()),
            false => Cleaned::Gone,
        })
    }
}

pub fn backup(exclusive: Option<&str>) -> NewJob {
    NewJob {
        kind: JobKind::Backup,
        tenant_id: 1,
        dump: true,
        request: json!({"a": [1, "ж"]}),
        exclusive: exclusive.map(str::to_owned),
        archive_id: None,
    }
}

pub fn archive(job: &Job) -> ArchiveRecord {
    ArchiveRecord {
        tenant_id: job.tenant_id,
        dump: job.dump,
        job_id: Some(job.id),
        ..record(&format!("attempt_{}.tar.gz", job.attempt))
    }
}

pub fn made(job: &Job) -> Finished {
    Finished::archive(archive(job))
}

/// The same proportions as in production, but faster.
pub fn quick() -> WorkerOptions {
    WorkerOptions {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        cleanup_every: Duration::from_millis(300),
        ..WorkerOptions::default()
    }
}

pub async fn queue(place: &Place) -> Queue {
    Queue::new(place.open().await)
}

pub fn start(queue: &Queue, handler: &Arc<Script>, options: WorkerOptions) -> WorkerHandle {
    Worker::start(queue.clone(), handler.clone(), options).unwrap()
}

pub async fn until(queue: &Queue, id: Uuid, wanted: impl Fn(&Job) -> bool) -> Job {
    let begun = Instant::now();
    loop {
        let job = queue.get(id).await.unwrap().unwrap();
        if wanted(&job) {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{job:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn state(queue: &Queue, id: Uuid, state: JobState) -> Job {
    until(queue, id, |job| job.state == state).await
}

pub async fn forever() -> Result<Finished, JobFailure> {
    std::future::pending().await
}

pub async fn archives(queue: &Queue) -> Vec<String> {
    let all = ArchiveFilter::default();
    let page = queue.catalog().archives().list(all, 100, 0).await.unwrap();
    page.items.into_iter().map(|archive| archive.name).collect()
}
