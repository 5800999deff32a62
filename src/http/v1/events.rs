//! `GET /v1/jobs/{id}/events`: a job's changes as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};

use super::model::JobView;
use super::{ErrorBody, V1Error, administrator, id, visible_job};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::jobs::Job;
use crate::ops::{self, OpError};

/// Proxies close connections on which nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Jobs = BoxStream<'static, Result<Job, OpError>>;

/// Follows a job: an event with the whole job at once and after each change, and the stream ends with the
/// job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", operation_id = "watchJob", tag = "Jobs",
    params(("id" = Uuid, Path, description = "The job's id")),
    responses(
        (status = 200, description = "Events whose data is a `Job`", body = inline(JobEvent), content_type = "text/event-stream"),
        (status = 404, description = "No such job", body = ErrorBody),
    ),
)]
pub async fn stream(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let job = visible_job(&state, &caller, id(&path)?).await?;
    let jobs = ops::jobs::watch(&state.app, caller.tenant_filter(), job.id).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        // nginx would hold the events back otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events(jobs, KEEP_ALIVE)))
}

/// One server-sent event.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "a schema")]
struct JobEvent {
    /// Its number.
    #[schema(nullable = false)]
    id: Option<String>,
    /// `error` if the stream ends before the job: connect again.
    #[schema(nullable = false)]
    event: Option<String>,
    /// A `Job` as JSON.
    data: String,
}

struct Follow {
    jobs: Jobs,
    last: Option<JobView>,
    number: u64,
    over: bool,
}

fn events(jobs: Jobs, keep_alive: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let follow = Follow { jobs, last: None, number: 0, over: false };
    stream::unfold(follow, move |mut follow| async move {
        let event = follow.next(keep_alive).await?;
        Some((Ok(Bytes::from(event)), follow))
    })
}

impl Follow {
    /// The next event. None: the job has ended, and that was told.
    async fn next(&mut self, keep_alive: Duration) -> Option<String> {
        while !self.over {
            let job = match tokio::time::timeout(keep_alive, self.jobs.next()).await {
                Err(_) => return Some(":\n\n".to_owned()),
                Ok(None) => break,
                Ok(Some(Ok(job))) => job,
                Ok(Some(Err(error))) => {
                    tracing::warn!(%error, "a job's events end early");
                    self.over = true;
                    return Some("event: error\ndata: {}\n\n".to_owned());
                }
            };
            self.over = job.state.is_finished();
            let view = JobView::from(&job);
            if self.last.as_ref() != Some(&view) {
                let event = data(self.number, &view);
                self.number += 1;
                self.last = Some(view);
                return Some(event);
            }
        }
        None
    }
}

fn data(number: u64, job: &JobView) -> String {
    // JSON has no line breaks of its own, so one line holds it.
    let json = serde_json::to_string(job).unwrap_or_default();
    format!("id: {number}\ndata: {json}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::docspace::model::tests::job;
    use crate::jobs::JobState;

    async fn follow(jobs: Jobs, keep_alive: Duration) -> Vec<String> {
        let events = events(jobs, keep_alive);
        events.map(|event| String::from_utf8(event.unwrap().to_vec()).unwrap()).collect().await
    }

    fn at(percent: u8) -> Result<Job, OpError> {
        let mut job = job(JobState::Running);
        job.progress.percent = percent;
        Ok(job)
    }

    #[actix_web::test]
    async fn each_change_is_told_once_and_the_end_closes() {
        let queued = Ok(job(JobState::Queued));
        let jobs = vec![queued, at(10), at(10), at(20), Ok(job(JobState::Succeeded)), at(99)];
        let events = follow(stream::iter(jobs).boxed(), KEEP_ALIVE).await;
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.ends_with("\n\n") && event.lines().count() == 3));
        assert!(events[0].starts_with("id: 0\ndata: {") && events[0].contains("\"queued\""));
        assert!(events[1].contains("\"percent\":10") && events[2].contains("\"percent\":20"));
        assert!(events[3].contains("\"succeeded\""));
    }

    #[actix_web::test]
    async fn silence_is_kept_alive() {
        let slow = stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(job(JobState::Failed))
        });
        let events = follow(slow.boxed(), Duration::from_millis(5)).await;
        assert!(events.len() > 2 && events[0] == ":\n\n");
        assert!(events.last().unwrap().contains("\"failed\""));
    }

    #[actix_web::test]
    async fn a_failing_catalog_ends_the_stream() {
        let jobs = vec![at(10), Err(OpError::Unavailable("gone".into())), at(20)];
        let events = follow(stream::iter(jobs).boxed(), KEEP_ALIVE).await;
        assert_eq!(events.len(), 2);
        assert!(events[1].starts_with("event: error"));
    }
}
