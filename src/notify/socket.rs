//! DocSpace's socket service, through which its web page learns how far a backup or restore is
//! (`facts.md` §8).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use crate::config::{DocSpaceConfig, Secret};
use crate::http::docspace::model::BackupProgress;
use crate::jobs::{Job, JobKind, Queue};
use crate::ops::links::Links;

/// Progress is told no more often.
const PAUSE: Duration = Duration::from_millis(500);
/// A service that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket service. A message that does not arrive is lost: people can still ask for the progress.
pub struct Socket {
    base: Url,
    machine_key: Secret,
    http: reqwest::Client,
    links: Arc<Links>,
    /// The jobs that are being followed: one that runs again is not followed twice.
    following: Mutex<HashSet<Uuid>>,
}

impl Socket {
    /// None where no address is configured.
    pub fn of(config: &DocSpaceConfig, links: &Arc<Links>) -> Result<Option<Arc<Self>>, String> {
        let Some(base) = &config.socket_url else { return Ok(None) };
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err("portal.docspace.socket_url must be an http:// address".to_owned());
        }
        if config.machine_key.is_empty() {
            return Err(
                "portal.docspace.socket_url needs portal.docspace.machine_key: messages are signed \
                 with it"
                    .to_owned(),
            );
        }
        // A redirect would carry the signature to another host.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Some(Arc::new(Self {
            base: base.clone(),
            machine_key: config.machine_key.clone(),
            http,
            links: Arc::clone(links),
            following: Mutex::default(),
        })))
    }

    /// Tells how far a job is until it has ended, beside the job.
    pub fn follow(self: Arc<Self>, queue: &Queue, job: &Job) {
        let name = match job.kind {
            JobKind::Backup => "backup",
            JobKind::Restore => "restore",
            _ => return,
        };
        if !self.lock().insert(job.id) {
            return;
        }
        let (queue, id) = (queue.clone(), job.id);
        tokio::spawn(async move {
            self.tell(&queue, id, name).await;
            self.lock().remove(&id);
        });
    }

    async fn tell(&self, queue: &Queue, id: Uuid, name: &str) {
        let mut states = queue.watch(id);
        let mut told = None;
        let mut reachable = true;
        while let Some(state) = states.next().await {
            let Ok(job) = state else { continue };
            let (message, body) = if job.state.is_finished() {
                (format!("end-{name}"), self.ended(&job))
            } else {
                let percent = job.progress.percent;
                // The stream gives the newest state when it is asked again, so nothing piles up here.
                if told.is_some_and(|(before, at): (u8, Instant)| {
                    before == percent || at.elapsed() < PAUSE
                }) {
                    continue;
                }
                told = Some((percent, Instant::now()));
                (format!("{name}-progress"), progress(&job, percent))
            };
            if let Err(error) = self.post(&message, &body).await {
                if std::mem::take(&mut reachable) {
                    tracing::warn!(job = %id, error, "DocSpace's socket service was not told");
                } else {
                    tracing::debug!(job = %id, error, "DocSpace's socket service was not told");
                }
            }
        }
    }

    async fn post(&self, message: &str, body: &Value) -> Result<(), String> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["controller", "files", message]);
        }
        let answer = self
            .http
            .post(url)
            .header("Authorization", signature(self.machine_key.expose(), Timestamp::now()))
            .json(body)
            .send()
            .await
            // Without the address, which the operator knows.
            .map_err(|error| error.without_url().to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("status {}", status.as_u16())),
        }
    }

    /// The message goes to everybody who listens, so the address in it opens the archive only to who may read
    /// it anyway.
    fn ended(&self, job: &Job) -> Value {
        let made = (job.kind == JobKind::Backup).then_some(job.archive_id).flatten();
        let link = made.map_or_else(String::new, |id| self.links.content(id).into());
        let result = BackupProgress::new(job, link);
        json!({ "tenantId": job.tenant_id, "dump": job.dump, "result": result })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn progress(job: &Job, percent: u8) -> Value {
    json!({ "tenantId": job.tenant_id, "dump": job.dump, "percentage": percent })
}

/// `ASC socketio:{yyyyMMddHHmmss UTC}:{base64 HMAC-SHA1(machine key, "{time}\nsocketio")}`
fn signature(machine_key: &str, at: Timestamp) -> String {
    let time = at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S").to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, machine_key.as_bytes());
    let tag = hmac::sign(&key, format!("{time}\nsocketio").as_bytes());
    format!("ASC socketio:{time}:{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Header `Authorization: ASC socketio:{yyyyMMddHHmmss UTC}:{base64 HMAC-SHA1(machinekey,
    /// "{ts}\nsocketio")}`"; the expected value is `openssl dgst -sha1 -hmac`'s.
    #[test]
    fn messages_are_signed_as_docspace_signs_them() {
        let at: Timestamp = "2026-03-01T02:05:09Z".parse().unwrap();
        assert_eq!(
            signature("1123askdasjklasbnd", at),
            "ASC socketio:20260301020509:kIei0fMYiFhW/i4tcF+4xdf1gtY="
        );
    }

    #[test]
    fn an_address_needs_a_key() {
        let config = DocSpaceConfig {
            socket_url: Some("http://hub:9899".parse().unwrap()),
            ..DocSpaceConfig::default()
        };
        let links = Links::new("http://127.0.0.1:5012".parse().unwrap(), b"key");
        let Err(error) = Socket::of(&config, &Arc::new(links)) else {
            panic!("no key, no complaint")
        };
        assert!(error.contains("machine_key"), "{error}");
    }
}
