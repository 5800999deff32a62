//! Jobs that are told to stop: by a user, by a shutdown.

use portal_backup::jobs::{CancelReason, JobFailure, JobState, NewJob, WorkerOptions};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

use crate::catalogs::{self, Place};
use crate::script::{Script, archives, backup, forever, made, queue, quick, start, state, until};

crate::on_every_database!(
    queued_jobs_are_cancelled_at_once,
    running_jobs_are_cancelled_from_elsewhere,
    a_shutdown_gives_jobs_back,
    what_cleaning_finds_done_is_done,
);

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

/// A restore whose last step failed, and is stopped then: cleaning takes that step.
async fn what_cleaning_finds_done_is_done(place: &Place) {
    let queue = queue(place).await;
    let handler = Script::new(|context| async move {
        context.save_remains(json!("proved")).await?;
        context.progress.phase("cleaning up");
        context.cancel.cancelled().await;
        Err(JobFailure::Cancelled)
    });
    handler.is_done.store(true, Ordering::SeqCst);
    for by_user in [true, false] {
        let worker = start(&queue, &handler, quick());
        let id = queue.enqueue(backup(None)).await.unwrap().job.id;
        until(&queue, id, |job| job.progress.phase == "cleaning up").await;
        if by_user {
            queue.request_cancel(id).await.unwrap();
            state(&queue, id, JobState::Succeeded).await;
        }
        worker.shutdown(Duration::from_secs(5)).await;
        assert_eq!(queue.get(id).await.unwrap().unwrap().state, JobState::Succeeded, "{by_user}");
    }
    assert_eq!(handler.cleaned().len(), 2);
}
