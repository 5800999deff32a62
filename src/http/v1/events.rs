//! `GET /v1/jobs/{id}/events`: a job's changes as server-sent events.

use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures::{Stream, stream};

use super::model::JobView;
use super::{ErrorBody, V1Error, administrator, id, visible_job};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::jobs::Job;
use crate::ops::{self, OpError};

/// The catalog is asked so often: the job may run in another process, which writes its progress there.
const INTERVAL: Duration = Duration::from_millis(500);
/// Proxies close connections on which nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follows a job: an event with the whole job at once and after each change, and the stream ends with the
/// job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", operation_id = "watchJob", tag = "Jobs",
    params(("id" = Uuid, Path, description = "The job's id")),
    responses(
        (status = 200, description = "Events whose data is a `Job`", body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such job", body = ErrorBody),
    ),
)]
pub async fn stream(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let first = visible_job(&state, &caller, id(&path)?).await?;
    let (job_id, tenant_id) = (first.id, caller.tenant_filter());
    let app = state.app.clone();
    let look = move || {
        let app = app.clone();
        async move { ops::jobs::get(&app, tenant_id, job_id).await }
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        // nginx would hold the events back otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events(first, look, INTERVAL, KEEP_ALIVE)))
}

/// What is still to come.
struct Follow<L> {
    look: L,
    next: Option<Result<Job, OpError>>,
    last: Option<JobView>,
    sent: Instant,
    number: u64,
    over: bool,
}

fn events<L, F>(
    first: Job,
    look: L,
    interval: Duration,
    keep_alive: Duration,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>>
where
    L: FnMut() -> F,
    F: Future<Output = Result<Job, OpError>>,
{
    let follow = Follow {
        look,
        next: Some(Ok(first)),
        last: None,
        sent: Instant::now(),
        number: 0,
        over: false,
    };
    stream::unfold(follow, move |mut follow| async move {
        if follow.over {
            return None;
        }
        loop {
            let job = match follow.next.take() {
                Some(job) => job,
                None => {
                    tokio::time::sleep(interval).await;
                    (follow.look)().await
                }
            };
            let event = match job {
                Ok(job) => {
                    follow.over = job.state.is_finished();
                    let view = JobView::from(&job);
                    let is_new = follow.last.as_ref() != Some(&view);
                    let event = is_new.then(|| data(follow.number, &view));
                    follow.last = Some(view);
                    event
                }
                Err(error) => {
                    follow.over = true;
                    tracing::warn!(%error, "a job's events end early");
                    Some("event: error\ndata: {}\n\n".to_owned())
                }
            };
            let event =
                event.or_else(|| (follow.sent.elapsed() >= keep_alive).then(|| ":\n\n".to_owned()));
            if let Some(event) = event {
                follow.sent = Instant::now();
                follow.number += 1;
                return Some((Ok(Bytes::from(event)), follow));
            }
            if follow.over {
                return None;
            }
        }
    })
}

fn data(number: u64, job: &JobView) -> String {
    // JSON has no line breaks of its own, so one line holds it.
    let json = serde_json::to_string(job).unwrap_or_default();
    format!("id: {number}\ndata: {json}\n\n")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::StreamExt;

    use super::*;
    use crate::http::docspace::model::tests::job;
    use crate::jobs::JobState;

    async fn follow(looks: Vec<Result<Job, OpError>>, keep_alive: Duration) -> Vec<String> {
        let looks = RefCell::new(looks.into_iter());
        let look = || {
            let next = looks.borrow_mut().next();
            async move { next.unwrap_or(Err(OpError::NotFound("asked too often".to_owned()))) }
        };
        let interval = Duration::from_millis(1);
        let events = events(job(JobState::Queued), look, interval, keep_alive);
        events.map(|event| String::from_utf8(event.unwrap().to_vec()).unwrap()).collect().await
    }

    fn at(percent: u8) -> Result<Job, OpError> {
        let mut job = job(JobState::Running);
        job.progress.percent = percent;
        Ok(job)
    }

    #[actix_web::test]
    async fn each_change_is_told_once_and_the_end_closes() {
        let looks = vec![at(10), at(10), at(20), Ok(job(JobState::Succeeded)), at(99)];
        let events = follow(looks, KEEP_ALIVE).await;
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.ends_with("\n\n") && event.lines().count() == 3));
        assert!(events[0].starts_with("id: 0\ndata: {") && events[0].contains("\"queued\""));
        assert!(events[1].contains("\"percent\":10") && events[2].contains("\"percent\":20"));
        assert!(events[3].contains("\"succeeded\""));
    }

    #[actix_web::test]
    async fn silence_is_kept_alive() {
        let looks = vec![at(10), at(10), Ok(job(JobState::Failed))];
        let events = follow(looks, Duration::ZERO).await;
        assert_eq!(events.iter().filter(|event| *event == ":\n\n").count(), 1);
    }

    #[actix_web::test]
    async fn a_failing_catalog_ends_the_stream() {
        let events = follow(vec![Err(OpError::Unavailable("gone".into()))], KEEP_ALIVE).await;
        assert!(events.last().unwrap().starts_with("event: error"));
    }
}
