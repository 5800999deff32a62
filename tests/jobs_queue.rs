//! The queue and its worker on SQLite, PostgreSQL and MariaDB: killed, fenced, cancelled, shut down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use portal_backup::catalog::{ArchiveFilter, ArchiveRecord};
use portal_backup::jobs::{
    CancelReason, Finished, Handler, Job, JobContext, JobFailure, JobFilter, JobKind, JobState,
    NewJob, Queue, Worker, WorkerHandle, WorkerOptions,
};
use portal_backup::storage::StorageType;
use serde_json::{Value, json};
use sqlx::Executor as _;
use uuid::Uuid;

#[path = "support/catalogs.rs"]
mod catalogs;
use catalogs::Place;

on_every_database!(
    a_job_is_run_and_its_result_published,
    one_of_twenty_is_queued,
    the_newest_and_the_running,
    many_workers_run_each_job_once,
    a_killed_worker_is_replaced,
    a_worker_that_lost_its_job_publishes_nothing,
    a_job_that_always_kills_fails,
    queued_jobs_are_cancelled_at_once,
    running_jobs_are_cancelled_from_elsewhere,
    a_shutdown_gives_jobs_back,
    what_could_not_be_cleaned_is_cleaned_later,
);

type Runner = dyn Fn(JobContext) -> BoxFuture<'static, Result<Finished, JobFailure>> + Send + Sync;

/// A handler that does what a test says, and remembers what it was asked to clean.
struct Script {
    run: Box<Runner>,
    cleaned: Mutex<Vec<Value>>,
    storage_down: AtomicBool,
}

impl Script {
    fn new<F>(run: impl Fn(JobContext) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Finished, JobFailure>> + Send + 'static,
    {
        Arc::new(Self {
            run: Box::new(move |context| Box::pin(run(context))),
            cleaned: Mutex::default(),
            storage_down: AtomicBool::new(false),
        })
    }

    fn cleaned(&self) -> Vec<Value> {
        self.cleaned.lock().unwrap().clone()
    }
}

#[async_trait]
impl Handler for Script {
    async fn run(&self, context: JobContext) -> Result<Finished, JobFailure> {
        (self.run)(context).await
    }

    async fn clean(&self, _job: &Job, remains: &Value) -> Result<(), String> {
        if self.storage_down.load(Ordering::SeqCst) {
            return Err("the storage is down".to_owned());
        }
        self.cleaned.lock().unwrap().push(remains.clone());
        Ok(())
    }
}

fn backup(exclusive: Option<&str>) -> NewJob {
    NewJob {
        kind: JobKind::Backup,
        tenant_id: 1,
        dump: true,
        request: json!({"a": [1, "ж"]}),
        exclusive: exclusive.map(str::to_owned),
        archive_id: None,
    }
}

fn archive(job: &Job) -> ArchiveRecord {
    ArchiveRecord {
        id: Uuid::new_v4(),
        tenant_id: job.tenant_id,
        name: format!("attempt_{}.tar.gz", job.attempt),
        storage_type: StorageType::Local,
        storage_params: Default::default(),
        url: "file:///x".to_owned(),
        size: 1,
        sha256: String::new(),
        created_on: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
        expires_on: None,
        dump: job.dump,
        mode: "full".to_owned(),
        parent_id: None,
        verified_on: None,
        proved_on: None,
        removed_on: None,
        missing_since: None,
        warnings: 0,
        job_id: Some(job.id),
    }
}

fn made(job: &Job) -> Finished {
    Finished { archive: Some(archive(job)), verified: None }
}

/// The same proportions as in production, but faster.
fn quick() -> WorkerOptions {
    WorkerOptions {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        cleanup_every: Duration::from_millis(300),
        ..WorkerOptions::default()
    }
}

async fn queue(place: &Place) -> Queue {
    Queue::new(place.open().await)
}

fn start(queue: &Queue, handler: &Arc<Script>, options: WorkerOptions) -> WorkerHandle {
    Worker::start(queue.clone(), handler.clone(), options).unwrap()
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

async fn state(queue: &Queue, id: Uuid, state: JobState) -> Job {
    until(queue, id, |job| job.state == state).await
}

async fn forever() -> Result<Finished, JobFailure> {
    std::future::pending().await
}

async fn archives(queue: &Queue) -> Vec<String> {
    let all = ArchiveFilter::default();
    let page = queue.catalog().archives().list(all, 100, 0).await.unwrap();
    page.items.into_iter().map(|archive| archive.name).collect()
}

async fn a_job_is_run_and_its_result_published(place: &Place) {
    let (here, elsewhere) = (queue(place).await, queue(place).await);
    let go = Arc::new(tokio::sync::Notify::new());
    let may = go.clone();
    let handler = Script::new(move |context| {
        let may = may.clone();
        async move {
            context.save_remains(json!({"upload": 1})).await?;
            context.progress.phase("files");
            context.progress.add_total(200);
            context.progress.add(100);
            context.progress.current("a/b.txt");
            for number in 0..1010 {
                context.warn(format!("warning {number}"));
            }
            may.notified().await;
            context.progress.add(100);
            Ok(made(&context.job))
        }
    });
    let worker =
        start(&here, &handler, WorkerOptions { poll: Duration::from_secs(3600), ..quick() });
    let enqueued = here.enqueue(backup(None)).await.unwrap();
    assert!(enqueued.created);
    assert_eq!((enqueued.job.attempt, enqueued.job.request["a"][1].as_str()), (0, Some("ж")));
    let id = enqueued.job.id;

    let begun = Instant::now();
    let job = until(&here, id, |job| job.progress.percent == 50).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "begun without polling");
    assert_eq!((job.state, job.attempt), (JobState::Running, 1));
    assert_eq!(
        (job.progress.phase.as_str(), job.progress.current.as_deref()),
        ("files", Some("a/b.txt"))
    );
    // Another process learns it from a heartbeat, warnings too.
    let job = until(&elsewhere, id, |job| job.progress.percent == 50).await;
    assert_eq!((job.warnings.len(), job.warnings_omitted), (1000, 10));

    let watched = [here.watch(id), elsewhere.watch(id)]
        .map(|stream| tokio::spawn(stream.collect::<Vec<_>>()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    go.notify_one();
    for watched in watched {
        let seen = tokio::time::timeout(Duration::from_secs(3), watched).await.unwrap().unwrap();
        let states: Vec<_> = seen.into_iter().map(|job| job.unwrap().state).collect();
        assert_eq!(states.first(), Some(&JobState::Running));
        assert_eq!(states.last(), Some(&JobState::Succeeded));
    }
    let job = elsewhere.get(id).await.unwrap().unwrap();
    assert_eq!((job.progress.percent, job.error.as_deref()), (100, None));
    assert!(job.finished_on >= job.started_on && job.started_on >= Some(job.created_on));
    let record = here.catalog().archives().get(job.archive_id.unwrap()).await.unwrap().unwrap();
    assert_eq!(record.job_id, Some(id));
    assert!(handler.cleaned().is_empty(), "success leaves nothing to clean");
    assert!(here.watch(Uuid::new_v4()).next().await.is_none());
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn one_of_twenty_is_queued(place: &Place) {
    let queues = [queue(place).await, queue(place).await];
    for round in 0..3 {
        let tries = (0..20).map(|n| queues[n % 2].enqueue(backup(Some("dump"))));
        let answers: Vec<_> =
            futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
        let id = answers[0].job.id;
        assert!(answers.iter().all(|answer| answer.job.id == id));
        // Another key excludes nothing, and nor does none.
        assert!(queues[0].enqueue(backup(Some(&format!("tenant {round}")))).await.unwrap().created);
        assert!(queues[0].enqueue(backup(None)).await.unwrap().created);
        // When it is finished, the next may be queued.
        queues[1].request_cancel(id).await.unwrap();
    }
    assert!(queues[0].enqueue(backup(Some(&"x".repeat(200)))).await.is_err());
}

async fn the_newest_and_the_running(place: &Place) {
    let queue = queue(place).await;
    let handler = Script::new(|context| async move {
        if context.job.tenant_id == 1 { forever().await } else { Ok(Finished::default()) }
    });
    let mut ids = Vec::new();
    for number in 0..6 {
        let kind = if number % 2 == 0 { JobKind::Backup } else { JobKind::Verify };
        let job = NewJob { kind, tenant_id: number / 2, dump: number == 4, ..backup(None) };
        ids.push(queue.enqueue(job).await.unwrap().job.id);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let all = JobFilter::default();
    let page = queue.list(all, 2, 1).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|job| job.id).collect();
    assert_eq!((page.total, listed), (6, vec![ids[4], ids[3]]));
    let _worker = start(&queue, &handler, WorkerOptions { only: Some(ids[2]), ..quick() });
    state(&queue, ids[2], JobState::Running).await;
    let latest = async |filter| queue.latest(filter).await.unwrap().map(|job| job.id);
    let backups = JobFilter { kind: Some(JobKind::Backup), ..all };
    assert_eq!(latest(backups).await, Some(ids[2]), "the running one");
    assert_eq!(latest(JobFilter { dump: Some(true), ..backups }).await, Some(ids[4]));
    assert_eq!(latest(JobFilter { tenant_id: Some(0), ..all }).await, Some(ids[1]));
    assert_eq!(latest(JobFilter { tenant_id: Some(77), ..all }).await, None);
    queue.request_cancel(ids[4]).await.unwrap();
    let dumps = JobFilter { dump: Some(true), ..all };
    assert_eq!(latest(dumps).await, Some(ids[4]), "finished, but there is no other");
    assert_eq!(queue.list(JobFilter { unfinished: true, ..all }, 9, 0).await.unwrap().total, 5);
    let others = queue.list(all, 9, 0).await.unwrap();
    let running = others.items.iter().filter(|job| job.state == JobState::Running).count();
    assert_eq!(running, 1, "`only` keeps the worker from the others");
}

async fn many_workers_run_each_job_once(place: &Place) {
    let runs = Arc::new(Mutex::new(HashMap::<Uuid, u32>::new()));
    let handler = Script::new({
        let runs = runs.clone();
        move |context| {
            *runs.lock().unwrap().entry(context.job.id).or_default() += 1;
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(made(&context.job))
            }
        }
    });
    let queues = [queue(place).await, queue(place).await, queue(place).await];
    let options = WorkerOptions { lease: Duration::from_secs(30), ..quick() };
    let workers = queues.each_ref().map(|queue| start(queue, &handler, options.clone()));
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(queues[number % 3].enqueue(backup(None)).await.unwrap().job.id);
    }
    for id in &ids {
        let job = state(&queues[0], *id, JobState::Succeeded).await;
        assert_eq!(job.attempt, 1);
    }
    assert!(runs.lock().unwrap().values().all(|count| *count == 1));
    assert_eq!(archives(&queues[0]).await.len(), 30);
    for worker in workers {
        worker.shutdown(Duration::from_secs(5)).await;
    }
}

async fn a_killed_worker_is_replaced(place: &Place) {
    let (first, second) = (queue(place).await, queue(place).await);
    let handler = Script::new(|context| async move {
        context.save_remains(json!({"attempt": context.job.attempt})).await?;
        context.progress.add_total(100);
        if context.job.attempt == 1 {
            context.progress.add(60);
            return forever().await;
        }
        context.progress.add(10);
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(made(&context.job))
    });
    let worker = start(&first, &handler, quick());
    let id = first.enqueue(backup(Some("dump"))).await.unwrap().job.id;
    until(&second, id, |job| job.progress.percent == 60).await;
    drop(worker);
    let killed = Instant::now();
    let dead = state(&second, id, JobState::Queued).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "a dead job was said to run");
    assert_eq!(dead.attempt, 1);
    assert!(!second.enqueue(backup(Some("dump"))).await.unwrap().created, "it still excludes");
    assert_eq!(first.get(id).await.unwrap().unwrap().state, JobState::Queued);

    let worker = start(&second, &handler, quick());
    let again = state(&second, id, JobState::Running).await;
    assert!(again.progress.percent >= 60, "what is told never falls: {again:?}");
    let job = state(&second, id, JobState::Succeeded).await;
    assert_eq!(job.attempt, 2);
    assert_eq!(handler.cleaned(), [json!({"attempt": 1})]);
    assert_eq!(archives(&second).await, ["attempt_2.tar.gz"]);
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn a_worker_that_lost_its_job_publishes_nothing(place: &Place) {
    let (slow, fast) = (queue(place).await, queue(place).await);
    let go = Arc::new(tokio::sync::Notify::new());
    let late = Arc::new(Mutex::new(None));
    let handler = Script::new({
        let (go, late) = (go.clone(), late.clone());
        move |context| {
            let (go, late) = (go.clone(), late.clone());
            async move {
                if context.job.attempt == 1 {
                    go.notified().await;
                    // It knows nothing yet; its next write is refused, and tells it.
                    assert!(!context.cancel.is_cancelled());
                    let refused = context.save_remains(json!("late")).await;
                    *late.lock().unwrap() = Some((refused, context.cancel.reason()));
                }
                Ok(made(&context.job))
            }
        }
    });
    // Its heartbeats come too seldom, as if the machine had been frozen.
    let frozen = WorkerOptions {
        heartbeat: Duration::from_secs(600),
        lease: Duration::from_secs(600),
        ..quick()
    };
    let _slow_worker = start(&slow, &handler, frozen);
    let id = slow.enqueue(backup(None)).await.unwrap().job.id;
    state(&fast, id, JobState::Running).await;
    place.connect().await.execute("update jobs set lease_until = 1").await.unwrap();
    let worker = start(&fast, &handler, quick());
    assert_eq!(state(&fast, id, JobState::Succeeded).await.attempt, 2);
    go.notify_one();
    let begun = Instant::now();
    while late.lock().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = late.lock().unwrap().clone();
    assert_eq!(told, Some((Err(JobFailure::Cancelled), Some(CancelReason::Lost))));
    assert_eq!(archives(&fast).await, ["attempt_2.tar.gz"], "the loser's archive is not published");
    let job = fast.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2));
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn a_job_that_always_kills_fails(place: &Place) {
    let queue = queue(place).await;
    let handler = Script::new(|context| async move {
        context.save_remains(json!(context.job.attempt)).await?;
        forever().await
    });
    let id = queue.enqueue(backup(Some("dump"))).await.unwrap().job.id;
    for attempt in 1..=3 {
        let worker = start(&queue, &handler, quick());
        until(&queue, id, |job| job.attempt == attempt && job.state == JobState::Running).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(worker);
    }
    let worker = start(&queue, &handler, quick());
    let job = state(&queue, id, JobState::Failed).await;
    let reason = "the service was stopped or crashed while this job ran, 3 times";
    assert_eq!((job.error.as_deref(), job.attempt), (Some(reason), 3));
    assert_eq!(handler.cleaned(), [json!(1), json!(2), json!(3)]);
    assert!(queue.enqueue(backup(Some("dump"))).await.unwrap().created);
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn queued_jobs_are_cancelled_at_once(place: &Place) {
    let queue = queue(place).await;
    let id = queue.enqueue(backup(Some("dump"))).await.unwrap().job.id;
    let job = queue.request_cancel(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.error), (JobState::Cancelled, None));
    assert!(job.finished_on.is_some());
    assert_eq!(queue.request_cancel(id).await.unwrap().unwrap().state, JobState::Cancelled);
    assert!(queue.request_cancel(Uuid::new_v4()).await.unwrap().is_none());

    // One whose worker is dead is as good as queued, and what it left is cleaned by the next worker.
    let handler = Script::new(|context| async move {
        context.save_remains(json!("left")).await?;
        context.progress.add_total(2);
        context.progress.add(1);
        forever().await
    });
    let worker = start(&queue, &handler, quick());
    let id = queue.enqueue(backup(Some("dump"))).await.unwrap().job.id;
    until(&queue, id, |job| job.progress.percent == 50).await;
    drop(worker);
    state(&queue, id, JobState::Queued).await;
    assert_eq!(queue.request_cancel(id).await.unwrap().unwrap().state, JobState::Cancelled);
    let worker = start(&queue, &handler, quick());
    let begun = Instant::now();
    while handler.cleaned().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(handler.cleaned(), [json!("left")], "once, and then it is settled");
    assert_eq!(queue.get(id).await.unwrap().unwrap().state, JobState::Cancelled);
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn running_jobs_are_cancelled_from_elsewhere(place: &Place) {
    let (here, elsewhere) = (queue(place).await, queue(place).await);
    let handler = Script::new(|context| async move {
        context.save_remains(json!("upload")).await?;
        context.progress.phase("files");
        if context.job.tenant_id == 2 {
            // Obeys nothing.
            return forever().await;
        }
        context.cancel.cancelled().await;
        Err(JobFailure::Failed("the upload was aborted".to_owned()))
    });
    let worker = start(
        &here,
        &handler,
        WorkerOptions { cancel_grace: Duration::from_millis(500), ..quick() },
    );
    let obeys = here.enqueue(backup(None)).await.unwrap().job.id;
    let deaf = here.enqueue(NewJob { tenant_id: 2, ..backup(None) }).await.unwrap().job.id;
    for id in [obeys, deaf] {
        until(&elsewhere, id, |job| job.progress.phase == "files").await;
        let job = elsewhere.request_cancel(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
        let asked = Instant::now();
        let job = state(&elsewhere, id, JobState::Cancelled).await;
        assert!(asked.elapsed() < Duration::from_secs(3));
        assert_eq!(job.error, None);
        if id == obeys {
            assert_eq!(job.warnings, ["the upload was aborted"]);
        }
    }
    assert_eq!(handler.cleaned(), [json!("upload"), json!("upload")]);
    assert!(archives(&here).await.is_empty());
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn a_shutdown_gives_jobs_back(place: &Place) {
    let queue = queue(place).await;
    let stubborn = Arc::new(AtomicBool::new(false));
    let may_end = Arc::new(AtomicBool::new(false));
    let handler = Script::new({
        let (stubborn, may_end) = (stubborn.clone(), may_end.clone());
        move |context| {
            let (stubborn, may_end) =
                (stubborn.load(Ordering::SeqCst), may_end.load(Ordering::SeqCst));
            async move {
                context.save_remains(json!({"stubborn": stubborn})).await?;
                context.progress.phase("files");
                if may_end {
                    return Ok(made(&context.job));
                }
                if !stubborn {
                    context.cancel.cancelled().await;
                    assert_eq!(context.cancel.reason(), Some(CancelReason::Shutdown));
                    return Err(JobFailure::Cancelled);
                }
                forever().await
            }
        }
    });
    let id = queue.enqueue(backup(Some("dump"))).await.unwrap().job.id;
    for kind in [false, true] {
        stubborn.store(kind, Ordering::SeqCst);
        let worker = start(&queue, &handler, quick());
        until(&queue, id, |job| job.progress.phase == "files").await;
        let asked = Instant::now();
        worker.shutdown(Duration::from_secs(1)).await;
        assert!(asked.elapsed() < Duration::from_secs(3));
        let job = queue.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Queued, 0), "at once, and not counted");
        assert!(!queue.enqueue(backup(Some("dump"))).await.unwrap().created);
    }
    assert_eq!(handler.cleaned(), [json!({"stubborn": false})]);
    may_end.store(true, Ordering::SeqCst);
    let worker = start(&queue, &handler, quick());
    let job = state(&queue, id, JobState::Succeeded).await;
    assert_eq!(job.attempt, 1);
    assert_eq!(handler.cleaned().last(), Some(&json!({"stubborn": true})));
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn what_could_not_be_cleaned_is_cleaned_later(place: &Place) {
    let queue = queue(place).await;
    let broken = Arc::new(AtomicU32::new(0));
    let handler = Script::new({
        let broken = broken.clone();
        move |context| {
            let number = broken.fetch_add(1, Ordering::SeqCst);
            async move {
                context.save_remains(json!(number)).await?;
                if number == 0 {
                    return Err(JobFailure::Failed("the storage is down".to_owned()));
                }
                assert_ne!(number, 1, "a handler may panic");
                Err(JobFailure::Failed(String::new()))
            }
        }
    });
    handler.storage_down.store(true, Ordering::SeqCst);
    let worker = start(&queue, &handler, quick());
    let mut errors = Vec::new();
    for _ in 0..3 {
        let id = queue.enqueue(backup(None)).await.unwrap().job.id;
        errors.push(state(&queue, id, JobState::Failed).await.error.unwrap());
    }
    assert_eq!(errors[0], "the storage is down");
    assert!(errors.iter().all(|error| !error.is_empty() && !error.contains("panic")), "{errors:?}");
    worker.shutdown(Duration::from_secs(5)).await;
    assert!(handler.cleaned().is_empty());
    let worker = start(&queue, &handler, quick());
    tokio::time::sleep(Duration::from_millis(400)).await;
    handler.storage_down.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while handler.cleaned().len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", handler.cleaned());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.shutdown(Duration::from_secs(5)).await;
}
