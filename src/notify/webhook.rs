//! Events told to an address of the operator's choice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::{Event, Notifier};
use crate::config::NotifyConfig;

/// A receiver that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is waited before each repetition.
const AGAIN: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// `sha256=` and the hex digits of the body's HMAC.
const SIGNATURE: &str = "X-Portal-Backup-Signature";

/// Posts each event as JSON, beside everything else.
pub struct Webhook(Arc<Receiver>);

struct Receiver {
    url: Url,
    key: Option<hmac::Key>,
    http: reqwest::Client,
}

impl Webhook {
    /// None where no address is configured.
    pub fn of(config: &NotifyConfig) -> Result<Option<Self>, String> {
        if config.webhook.is_empty() {
            return match config.secret.is_empty() {
                true => Ok(None),
                false => {
                    Err("notify.secret signs what goes to notify.webhook, which is missing"
                        .to_owned())
                }
            };
        }
        // Errors would quote the address, in which there may be a secret.
        let url = Url::parse(config.webhook.expose()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or("notify.webhook must be an https:// address")?;
        let key = (!config.secret.is_empty())
            .then(|| hmac::Key::new(hmac::HMAC_SHA256, config.secret.expose().as_bytes()));
        // A redirect would carry the event to another host.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Some(Self(Arc::new(Receiver { url, key, http }))))
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, event: &Event) {
        let receiver = Arc::clone(&self.0);
        let body = Bytes::from(message(event, Timestamp::now()).to_string());
        tokio::spawn(async move { receiver.deliver(body).await });
    }
}

impl Receiver {
    async fn deliver(&self, body: Bytes) {
        for pause in AGAIN.into_iter().map(Some).chain([None]) {
            match (self.post(body.clone()).await, pause) {
                (Ok(()), _) => return,
                (Err(error), Some(pause)) => {
                    tracing::debug!(error, "the webhook did not take an event; trying again");
                    tokio::time::sleep(pause).await;
                }
                (Err(error), None) => tracing::warn!(error, "the webhook did not take an event"),
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let mut request =
            self.http.post(self.url.clone()).header("Content-Type", "application/json");
        if let Some(key) = &self.key {
            let tag = hex::encode(hmac::sign(key, &body));
            request = request.header(SIGNATURE, format!("sha256={tag}"));
        }
        let answer = request.body(body).send().await;
        match answer.map_err(|error| error.without_url().to_string())?.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("status {}", status.as_u16())),
        }
    }
}

fn message(event: &Event, at: Timestamp) -> Value {
    let mut message = match event {
        Event::ScheduleFailed { schedule, name, tenant_id, dump, error, failures, again_on } => {
            json!({
                "event": "scheduleFailed", "scheduleId": schedule, "name": name,
                "tenantId": tenant_id, "dump": dump, "error": error, "failures": failures,
                "againOn": again_on.map(|at| at.to_string()),
            })
        }
        Event::ScheduleRecovered { schedule, name, tenant_id, dump, after } => json!({
            "event": "scheduleRecovered", "scheduleId": schedule, "name": name,
            "tenantId": tenant_id, "dump": dump, "failures": after,
        }),
        Event::BackupFailed { job, tenant_id, dump, error } => json!({
            "event": "backupFailed", "jobId": job, "tenantId": tenant_id, "dump": dump,
            "error": error,
        }),
    };
    message["at"] = json!(at.to_string());
    message
}
