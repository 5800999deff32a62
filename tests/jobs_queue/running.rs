//! Jobs that run to their end.

use futures::StreamExt as _;
use portal_backup::jobs::{Finished, JobFilter, JobKind, JobState, NewJob, WorkerOptions};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

use crate::catalogs::{self, Place};
use crate::script::{Script, archives, backup, forever, made, queue, quick, start, state, until};

crate::on_every_database!(
    a_job_is_run_and_its_result_published,
    one_of_twenty_is_queued,
    the_newest_and_the_running,
    many_workers_run_each_job_once,
    a_backup_waits_for_nothing_that_takes_long,
);

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
    assert_eq!(enqueued.job.request["a"][1].as_str(), Some("ж"));
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
    let own = JobFilter { dump: Some(false), ..all };
    assert_eq!(latest(JobFilter { tenant_id: Some(0), ..own }).await, Some(ids[1]));
    assert_eq!(latest(JobFilter { tenant_id: Some(77), ..own }).await, None);
    let of_anybody = JobFilter { tenant_id: Some(77), ..all };
    assert_eq!(latest(of_anybody).await, Some(ids[4]), "a dump is of all tenants");
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

async fn a_backup_waits_for_nothing_that_takes_long(place: &Place) {
    let queue = queue(place).await;
    let handler = Script::new(|context| async move {
        if context.job.kind == JobKind::Backup { Ok(made(&context.job)) } else { forever().await }
    });
    let worker = start(&queue, &handler, quick());
    for kind in [JobKind::Copy, JobKind::Verify, JobKind::Prune, JobKind::Consolidate] {
        queue.enqueue(NewJob { kind, ..backup(None) }).await.unwrap();
    }
    let running = JobFilter { state: Some(JobState::Running), ..JobFilter::default() };
    let begun = Instant::now();
    while queue.list(running, 9, 0).await.unwrap().total < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = queue.enqueue(backup(None)).await.unwrap().job.id;
    state(&queue, id, JobState::Succeeded).await;
    assert_eq!(queue.list(running, 9, 0).await.unwrap().total, 2, "the others wait");
    drop(worker);
}
