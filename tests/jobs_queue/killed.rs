//! Jobs whose workers are killed, or are wrongly believed to be.

use portal_backup::jobs::{CancelReason, JobFailure, JobState, NewJob, WorkerOptions};
use serde_json::json;
use sqlx::Executor as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::catalogs::{self, Place};
use crate::script::{Script, archives, backup, forever, made, queue, quick, start, state, until};

crate::on_every_database!(
    a_killed_worker_is_replaced,
    a_worker_that_lost_its_job_publishes_nothing,
    a_job_that_always_kills_fails,
    what_could_not_be_cleaned_is_cleaned_later,
);

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
                    if context.job.tenant_id == 2 {
                        // Its first write is the publication.
                        return Ok(made(&context.job));
                    }
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
    let mut ids = Vec::new();
    for tenant_id in [1, 2] {
        let job = NewJob { tenant_id, ..backup(None) };
        ids.push(slow.enqueue(job).await.unwrap().job.id);
    }
    for id in &ids {
        state(&fast, *id, JobState::Running).await;
    }
    place.connect().await.execute("update portal_backup_jobs set lease_until = 1").await.unwrap();
    let worker = start(&fast, &handler, quick());
    for id in &ids {
        assert_eq!(state(&fast, *id, JobState::Succeeded).await.attempt, 2);
    }
    go.notify_waiters();
    let begun = Instant::now();
    while late.lock().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = late.lock().unwrap().clone();
    assert_eq!(told, Some((Err(JobFailure::Cancelled), Some(CancelReason::Lost))));
    let published = archives(&fast).await;
    assert_eq!(published, ["attempt_2.tar.gz"; 2], "the loser's archives are not published");
    for id in ids {
        let job = fast.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2));
    }
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
    let reason = "the service was stopped, crashed or could not reach its catalog while this job ran, 3 times";
    assert_eq!((job.error.as_deref(), job.attempt), (Some(reason), 3));
    assert_eq!(handler.cleaned(), [json!(1), json!(2), json!(3)]);
    assert!(queue.enqueue(backup(Some("dump"))).await.unwrap().created);
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
