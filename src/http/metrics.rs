//! Figures for Prometheus, under `/metrics`. Whoever reaches the port may read them: they name no content.
//!
//! Requests are counted here. What concerns jobs is read from the catalog when asked, so it is right however
//! many processes work.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::HttpState;
use crate::jobs::{JobKind, JobState};
use crate::ops::health::{self, Figures};

const REQUESTS: &str = "portal_backup_http_requests_total";
const LATENCY: &str = "portal_backup_http_request_seconds";
const JOBS: &str = "portal_backup_jobs";
const LAST_SUCCESS: &str = "portal_backup_last_success_timestamp_seconds";
const LAST_BYTES: &str = "portal_backup_last_success_bytes";
const SCHEDULE_NEXT: &str = "portal_backup_schedule_next_run_timestamp_seconds";
const SCHEDULE_SUCCESS: &str = "portal_backup_schedule_last_success_timestamp_seconds";
const SCHEDULE_FAILURES: &str = "portal_backup_schedule_failures";
const LAST_SECONDS: &str = "portal_backup_last_success_duration_seconds";

/// Seconds; the API is to answer within five milliseconds.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// The recorder of this process. There can be one only, so all applications of a process share it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

#[derive(Clone)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    pub fn install() -> Self {
        Self(RECORDER.get_or_init(recorder).clone())
    }

    fn render(&self) -> Option<String> {
        self.0.as_ref().map(PrometheusHandle::render)
    }
}

fn recorder() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(LATENCY.to_owned()), &BUCKETS)
        .and_then(PrometheusBuilder::install_recorder);
    let handle = match builder {
        Ok(handle) => handle,
        Err(error) => {
            tracing::warn!(%error, "there will be no metrics");
            return None;
        }
    };
    describe_counter!(REQUESTS, "HTTP requests answered");
    describe_histogram!(LATENCY, "Seconds until a request's answer began");
    describe_counter!(crate::catalog::QUERIES, "Questions to the catalog");
    describe_counter!(
        crate::portal::docspace::QUERIES,
        "Questions to the portal's database, but for dumps"
    );
    describe_gauge!(JOBS, "Jobs in the catalog, by kind and state");
    describe_gauge!(LAST_SUCCESS, "When the newest archive was finished, in Unix seconds");
    describe_gauge!(LAST_BYTES, "Size of the newest archive");
    describe_gauge!(SCHEDULE_NEXT, "When a schedule runs next, in Unix seconds; 0: not any more");
    describe_gauge!(SCHEDULE_SUCCESS, "When a schedule last succeeded, in Unix seconds; 0: never");
    describe_gauge!(SCHEDULE_FAILURES, "How many runs of a schedule failed in a row");
    describe_gauge!(LAST_SECONDS, "How long the newest backup took");
    Some(handle)
}

/// Samples of histograms are kept until they are summed up, and nobody may ever ask for them.
/// Must be called in a Tokio runtime, of any kind.
pub fn keep_up() {
    if let Some(handle) = RECORDER.get().cloned().flatten() {
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(Duration::from_secs(10));
            loop {
                interval.tick().await;
                handle.run_upkeep();
            }
        });
    }
}

/// Counts one answered request. `route`: its pattern, so that ids make no new series.
pub fn request(method: &str, route: &str, status: u16, elapsed: Duration) {
    // Any word can be a method, and each would be a new series.
    let method = match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => method.to_owned(),
        _ => "other".to_owned(),
    };
    let route = route.to_owned();
    counter!(REQUESTS, "method" => method.clone(), "route" => route.clone(),
        "status" => status.to_string())
    .increment(1);
    histogram!(LATENCY, "method" => method, "route" => route).record(elapsed.as_secs_f64());
}

pub async fn handle(state: Data<HttpState>) -> HttpResponse {
    match health::figures(&state.app).await {
        Ok(figures) => publish(&figures),
        Err(error) => tracing::warn!(%error, "no figures of jobs"),
    }
    match state.metrics.render() {
        Some(text) => {
            HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
        }
        None => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn publish(figures: &Figures) {
    use {JobKind as Kind, JobState as State};
    let kinds = [
        Kind::Backup,
        Kind::Restore,
        Kind::Verify,
        Kind::Prune,
        Kind::SourceBackup,
        Kind::SourceRestore,
        Kind::Copy,
        Kind::Index,
        Kind::Consolidate,
        Kind::Rekey,
    ];
    let states = [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled];
    for kind in kinds {
        for state in states {
            let found = figures.jobs.iter().find(|job| job.kind == kind && job.state == state);
            let count = found.map_or(0, |job| job.count);
            gauge!(JOBS, "kind" => word(&kind), "state" => word(&state)).set(count as f64);
        }
    }
    for success in &figures.last_success {
        let tenant = success.tenant_id.to_string();
        let dump = success.dump.to_string();
        let labels = [("tenant", tenant), ("dump", dump)];
        gauge!(LAST_SUCCESS, &labels).set(success.at.as_second() as f64);
        gauge!(LAST_BYTES, &labels).set(success.bytes as f64);
        gauge!(LAST_SECONDS, &labels).set(success.seconds);
    }
    for schedule in &figures.schedules {
        let labels = [
            ("schedule", schedule.id.to_string()),
            ("tenant", schedule.tenant_id.to_string()),
            ("dump", schedule.dump.to_string()),
        ];
        let seconds = |at: Option<jiff::Timestamp>| at.map_or(0, |at| at.as_second()) as f64;
        gauge!(SCHEDULE_NEXT, &labels).set(seconds(schedule.next_run));
        gauge!(SCHEDULE_SUCCESS, &labels).set(seconds(schedule.last_success));
        gauge!(SCHEDULE_FAILURES, &labels).set(f64::from(schedule.failures));
    }
}

/// The word that an enum has in JSON.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::health::{JobCount, LastSuccess};

    #[tokio::test]
    async fn upkeep_needs_no_runtime_of_actix() {
        let metrics = Metrics::install();
        keep_up();
        tokio::task::yield_now().await;
        assert!(metrics.render().is_some());
    }

    #[test]
    fn figures_are_rendered() {
        let metrics = Metrics::install();
        request("GET", "/v1/jobs/{id}", 200, Duration::from_millis(3));
        request("BREW", "none", 405, Duration::from_millis(3));
        publish(&Figures {
            jobs: vec![JobCount { kind: JobKind::Backup, state: JobState::Failed, count: 3 }],
            last_success: vec![LastSuccess {
                tenant_id: 7,
                dump: true,
                at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
                bytes: 42,
                seconds: 1.5,
            }],
            schedules: Vec::new(),
        });
        let text = metrics.render().unwrap();
        for line in [
            "portal_backup_jobs{kind=\"backup\",state=\"failed\"} 3",
            "portal_backup_jobs{kind=\"verify\",state=\"running\"} 0",
            "portal_backup_last_success_timestamp_seconds{tenant=\"7\",dump=\"true\"} 1700000000",
            "portal_backup_http_requests_total{method=\"GET\",route=\"/v1/jobs/{id}\",status=\"200\"}",
            "portal_backup_http_request_seconds_bucket{method=\"GET\",route=\"/v1/jobs/{id}\",le=\"0.005\"}",
            "method=\"other\"",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("BREW"));
    }
}
