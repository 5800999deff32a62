//! A bucket of one of DocSpace's consumers. Its credentials may lie in DocSpace's settings, so the
//! clients are made when they are first needed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::StorageError;
use super::cloud::Cloud;
use super::location::Bucket;
use crate::config::Options;

/// How long what the settings said holds: a list of archives must not be a query each.
const FRESH: Duration = Duration::from_secs(30);

/// Where the credentials of consumers are, beside the configuration.
#[async_trait]
pub trait ConsumerSecrets: Send + Sync {
    /// All secrets of a consumer (`s3`, `googlecloud` …) by DocSpace's names for them, such as `acesskey`.
    /// The error is a sentence that may be shown.
    async fn secrets(&self, consumer: &str) -> Result<BTreeMap<String, String>, String>;
}

/// The secrets of a consumer by their names.
type Secrets = BTreeMap<String, String>;

/// Remembers for a while what another source said.
pub(super) struct Remembered {
    source: Arc<dyn ConsumerSecrets>,
    kept: Mutex<HashMap<String, (Instant, Secrets)>>,
}

impl Remembered {
    pub(super) fn new(source: Arc<dyn ConsumerSecrets>) -> Self {
        Self { source, kept: Mutex::default() }
    }

    async fn secrets(&self, consumer: &str) -> Result<Secrets, String> {
        let mut kept = self.kept.lock().await;
        if let Some((at, secrets)) = kept.get(consumer)
            && at.elapsed() < FRESH
        {
            return Ok(secrets.clone());
        }
        let secrets = self.source.secrets(consumer).await?;
        kept.insert(consumer.to_owned(), (Instant::now(), secrets.clone()));
        Ok(secrets)
    }
}

/// Makes client options of what the settings hold; `NotConfigured` when something is missing.
pub(super) type Credentials =
    Box<dyn Fn(&BTreeMap<String, String>) -> Result<Options, StorageError> + Send + Sync>;

/// What is needed to make the clients later.
pub(super) struct Pending {
    pub consumer: &'static str,
    pub secrets: Arc<Remembered>,
    pub credentials: Credentials,
    pub bucket: Bucket,
    pub options: Options,
    pub max_parts: u32,
}

pub(super) struct Consumer {
    url: Url,
    /// DocSpace writes keys in lower case unless it is told otherwise.
    lower: bool,
    cloud: OnceCell<Arc<Cloud>>,
    pending: Option<Pending>,
}

impl Consumer {
    pub(super) fn ready(cloud: Cloud, lower: bool) -> Self {
        let url = cloud.url().clone();
        Self { url, lower, cloud: OnceCell::new_with(Some(Arc::new(cloud))), pending: None }
    }

    pub(super) fn pending(pending: Pending, lower: bool) -> Self {
        Self { url: pending.bucket.url(), lower, cloud: OnceCell::new(), pending: Some(pending) }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The archive's name as its key has it.
    pub(super) fn key<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.lower { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
    }

    pub(super) async fn cloud(&self) -> Result<Arc<Cloud>, StorageError> {
        self.cloud.get_or_try_init(|| self.connect()).await.cloned()
    }

    async fn connect(&self) -> Result<Arc<Cloud>, StorageError> {
        let Some(pending) = &self.pending else {
            return Err(StorageError::Other(format!("{}: there are no clients", self.url)));
        };
        let secrets = pending.secrets.secrets(pending.consumer).await.map_err(|error| {
            StorageError::Unavailable(format!(
                "the credentials of {} cannot be read from DocSpace's settings: {error}",
                pending.consumer
            ))
        })?;
        let mut options = pending.options.clone();
        options.0.extend((pending.credentials)(&secrets)?.0);
        // What administrators have stored in DocSpace is no configuration of ours, but not the request's
        // doing either; the text names no secret.
        let cloud =
            Cloud::new(&pending.bucket, &options, false, pending.max_parts).map_err(|error| {
                match error {
                    StorageError::Configuration(text) => StorageError::NotConfigured(text),
                    other => other,
                }
            })?;
        Ok(Arc::new(cloud))
    }
}
