//! Jobs and the processes they run in: `kill -9`, work that takes every thread, a locked catalog.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portal_backup::catalog::Catalog;
use portal_backup::config::Secret;
use portal_backup::jobs::{
    Cleaned, Finished, Handler, Job, JobContext, JobFailure, JobFilter, JobKind, JobState, NewJob,
    Queue, Worker, WorkerOptions,
};
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use uuid::Uuid;

const CATALOG: &str = "PORTAL_BACKUP_TEST_CATALOG";

/// Writes a file, as a backup writes its archive; says first that it will. In the child it never ends.
struct Writer {
    endless: bool,
}

#[async_trait]
impl Handler for Writer {
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure> {
        let file =
            format!("{}.{}", context.job.request["file"].as_str().unwrap(), context.job.attempt);
        context.save_remains(json!({"file": file})).await?;
        std::fs::write(&file, "half").unwrap();
        if self.endless {
            return std::future::pending().await;
        }
        Ok(Finished::default())
    }

    async fn clean(&self, _job: &Job, remains: &Value) -> Result<Cleaned, String> {
        match std::fs::remove_file(remains["file"].as_str().unwrap()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(Cleaned::Gone),
        }
    }
}

fn options() -> WorkerOptions {
    WorkerOptions {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        ..WorkerOptions::default()
    }
}

fn job(request: Value) -> NewJob {
    NewJob {
        kind: JobKind::Backup,
        tenant_id: 1,
        dump: true,
        request,
        exclusive: None,
        archive_id: None,
    }
}

async fn until(queue: &Queue, id: Uuid, wanted: impl Fn(&Job) -> bool) -> Job {
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

/// Not a test: the worker that the next test kills, in a process of its own.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CATALOG) else { return };
    let queue = Queue::new(Catalog::open(&Secret::new(url)).await.unwrap());
    // Nobody can have waited for such a lease.
    let long = WorkerOptions { lease: Duration::from_secs(600), ..options() };
    let _worker = Worker::start(queue, Arc::new(Writer { endless: true }), long).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Ends its process even if the test fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_nothing_and_its_job_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/c.db", folder.path().display());
    let queue = Queue::new(Catalog::open(&Secret::new(url.clone())).await.unwrap());
    let file = folder.path().join("archive");
    let id = queue.enqueue(job(json!({"file": file}))).await.unwrap().job.id;
    let mut killed = Guard(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CATALOG, &url)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let half = folder.path().join("archive.1");
    until(&queue, id, |job| job.state == JobState::Running && half.exists()).await;
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(half.exists());

    let begun = Instant::now();
    let worker =
        Worker::start(queue.clone(), Arc::new(Writer { endless: false }), options()).unwrap();
    let done = until(&queue, id, |job| job.state.is_finished()).await;
    assert_eq!((done.state, done.attempt), (JobState::Succeeded, 2));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it is known at once that the process is dead"
    );
    assert!(!half.exists(), "what the killed process left is gone");
    assert!(folder.path().join("archive.2").exists());
    worker.shutdown(Duration::from_secs(5)).await;
}

/// Computes on every thread it can get, without ever waiting.
struct Busy;

const BUSY_FOR: Duration = Duration::from_secs(9);

#[async_trait]
impl Handler for Busy {
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure> {
        let begun = Instant::now();
        let spin = move || {
            let mut sum = 0_u64;
            while begun.elapsed() < BUSY_FOR {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
            }
            rustix::process::getpriority_process(None).unwrap()
        };
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(spin)).collect();
        context.warn(format!("niceness {}", spin()));
        for thread in threads {
            context.warn(format!("niceness {}", thread.join().unwrap()));
        }
        Ok(Finished::default())
    }

    async fn clean(&self, _job: &Job, _remains: &Value) -> Result<Cleaned, String> {
        Ok(Cleaned::Gone)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_on_every_thread_starves_neither_heartbeat_nor_readers() {
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
    let queue = Queue::new(Catalog::open(&url).await.unwrap());
    let elsewhere = Queue::new(Catalog::open(&url).await.unwrap());
    // Half of what the work takes, but more than a busy disk may hold up a write.
    let options = WorkerOptions { lease: BUSY_FOR / 2, ..options() };
    let worker = Worker::start(queue.clone(), Arc::new(Busy), options).unwrap();
    let ids = [
        queue.enqueue(job(json!(1))).await.unwrap().job.id,
        queue.enqueue(job(json!(2))).await.unwrap().job.id,
    ];
    for id in ids {
        until(&queue, id, |job| job.state == JobState::Running).await;
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < BUSY_FOR - Duration::from_secs(1) {
        let asked = Instant::now();
        queue.latest(JobFilter::default()).await.unwrap();
        times.push(asked.elapsed());
        for id in ids {
            assert_eq!(elsewhere.get(id).await.unwrap().unwrap().state, JobState::Running);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    times.sort();
    // The median is what the cache gives; other tests share the machine.
    assert!(times[times.len() / 2] < Duration::from_millis(50), "{times:?}");
    let usual = rustix::process::getpriority_process(None).unwrap();
    for id in ids {
        let done = until(&queue, id, |job| job.state.is_finished()).await;
        assert_eq!((done.state, done.attempt), (JobState::Succeeded, 1), "no lease ran out");
        let nice = format!("niceness {}", (usual + 15).min(19));
        assert_eq!(done.warnings, vec![nice; 4]);
    }
    worker.shutdown(Duration::from_secs(5)).await;
}

/// Waits until it is told to stop.
struct Patient;

#[async_trait]
impl Handler for Patient {
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure> {
        if context.job.attempt > 1 {
            return Ok(Finished::default());
        }
        context.cancel.cancelled().await;
        Err(JobFailure::Cancelled)
    }

    async fn clean(&self, _job: &Job, _remains: &Value) -> Result<Cleaned, String> {
        Ok(Cleaned::Gone)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_does_not_answer_ends_the_lease_and_not_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
    let queue = Queue::new(Catalog::open(&url).await.unwrap());
    let worker = Worker::start(queue.clone(), Arc::new(Patient), options()).unwrap();
    let id = queue.enqueue(job(json!(null))).await.unwrap().job.id;
    until(&queue, id, |job| job.state == JobState::Running).await;
    let mut beside = AnyConnection::connect(url.expose()).await.unwrap();
    beside.execute("begin exclusive").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = queue.get(id).await.unwrap().unwrap();
    assert_eq!(told.state, JobState::Queued, "readers are still served, and told the truth");
    beside.execute("rollback").await.unwrap();
    let done = until(&queue, id, |job| job.state.is_finished()).await;
    assert_eq!((done.state, done.attempt), (JobState::Succeeded, 2));
    worker.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn a_worker_may_be_dropped_within_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for clean in [false, true] {
            let queue = Queue::new(Catalog::open(&url).await.unwrap());
            let worker = Worker::start(queue, Arc::new(Patient), options()).unwrap();
            if clean {
                worker.shutdown(Duration::from_secs(5)).await;
            }
        }
    });
}
