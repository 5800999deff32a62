//! Building the clients of a bucket from its options.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::super::StorageError;
use super::super::location::{Bucket, Provider};
use super::super::params::is_secret_param;
use crate::config::Options;

/// A part may take this long: 64 MiB in ten minutes is a slow line, but a line. object_store's own
/// 30 seconds would make large parts impossible there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// How a request is repeated that failed for a reason that may pass.
#[derive(Debug, Clone, Copy)]
struct Patience {
    retries: usize,
    /// The largest number of retries that an option may ask for.
    most: usize,
    time: Duration,
    wait: Duration,
    request: Duration,
}

/// For an archive's bytes, when minutes of work would be lost.
const PATIENT: Patience = Patience {
    retries: 10,
    most: 1000,
    time: Duration::from_secs(180),
    wait: Duration::from_secs(10),
    request: REQUEST_TIMEOUT,
};
/// For questions that somebody waits for, such as whether an archive still exists.
const QUICK: Patience = Patience {
    retries: 3,
    most: 3,
    time: Duration::from_secs(10),
    wait: Duration::from_secs(1),
    request: Duration::from_secs(30),
};

/// The ways to reach one bucket.
pub(super) struct Clients {
    pub data: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    pub quick: Arc<dyn ObjectStore>,
    pub quick_parts: Arc<dyn MultipartStore>,
    pub signer: Arc<dyn Signer>,
}

impl Clients {
    fn of<T: ObjectStore + MultipartStore + Signer>(data: Arc<T>, quick: Arc<T>) -> Self {
        Self {
            data: data.clone(),
            parts: data,
            quick: quick.clone(),
            quick_parts: quick.clone(),
            signer: quick,
        }
    }
}

/// What a client is built from.
pub(in super::super) struct ClientConfig<'a> {
    pub bucket: &'a Bucket,
    pub options: &'a Options,
    /// Whether what the options leave open comes from the environment (`AWS_…`).
    pub environment: bool,
}

impl ClientConfig<'_> {
    pub(super) fn build(&self) -> Result<Clients, StorageError> {
        let patient = self.patience(PATIENT)?;
        let quick = self.patience(QUICK)?;
        Ok(match self.bucket.provider {
            Provider::S3 => {
                let data = Arc::new(self.s3(patient)?);
                let quick = Arc::new(self.s3(quick)?);
                Clients::of(data, quick)
            }
            Provider::Google => {
                let data = Arc::new(self.google(patient)?);
                let quick = Arc::new(self.google(quick)?);
                Clients::of(data, quick)
            }
            Provider::Azure => {
                let data = Arc::new(self.azure(patient)?);
                let quick = Arc::new(self.azure(quick)?);
                Clients::of(data, quick)
            }
        })
    }

    /// Values to be kept out of messages.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.options
            .iter()
            .filter(|(name, value)| is_secret_param(name) && value.len() >= 4)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    fn s3(&self, patience: Patience) -> Result<object_store::aws::AmazonS3, StorageError> {
        let mut builder = AmazonS3Builder::new();
        for (key, value) in self.settings::<AmazonS3ConfigKey>("AWS_", patience)? {
            builder = builder.with_config(key, value);
        }
        builder
            .with_retry(patience.retry())
            .with_bucket_name(&self.bucket.name)
            .build()
            .map_err(|error| self.unusable(&error))
    }

    fn google(
        &self,
        patience: Patience,
    ) -> Result<object_store::gcp::GoogleCloudStorage, StorageError> {
        let mut builder = GoogleCloudStorageBuilder::new();
        for (key, value) in self.settings::<GoogleConfigKey>("GOOGLE_", patience)? {
            builder = builder.with_config(key, value);
        }
        builder
            .with_retry(patience.retry())
            .with_bucket_name(&self.bucket.name)
            .build()
            .map_err(|error| self.unusable(&error))
    }

    fn azure(
        &self,
        patience: Patience,
    ) -> Result<object_store::azure::MicrosoftAzure, StorageError> {
        let mut builder = MicrosoftAzureBuilder::new();
        for (key, value) in self.settings::<AzureConfigKey>("AZURE_", patience)? {
            builder = builder.with_config(key, value);
        }
        builder
            .with_retry(patience.retry())
            .with_url(self.bucket.root.as_str())
            .build()
            .map_err(|error| self.unusable(&error))
    }

    /// Our defaults, then the environment where it counts, then the options: the last of a name holds.
    /// An option that object_store does not know is an error, as it may be a mistyped secret; among the
    /// environment's variables there are always some of other programs.
    fn settings<K: FromStr>(
        &self,
        variables: &str,
        patience: Patience,
    ) -> Result<Vec<(K, String)>, StorageError> {
        let defaults = [
            ("timeout", format!("{}s", patience.request.as_secs())),
            ("connect_timeout", "10s".to_owned()),
            ("user_agent", concat!("portal-backup/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        let mut settings: Vec<(K, String)> = defaults
            .into_iter()
            .filter_map(|(key, value)| Some((key.parse().ok()?, value)))
            .collect();
        if self.environment {
            settings.extend(std::env::vars_os().filter_map(|(name, value)| {
                let name = name.to_str().filter(|name| name.starts_with(variables))?;
                let key = name.to_ascii_lowercase().parse().ok()?;
                Some((key, value.to_str()?.to_owned()))
            }));
        }
        for (name, value) in self.options.iter().filter(|(name, _)| !is_own(name)) {
            let key = name.to_ascii_lowercase().parse().map_err(|_| {
                StorageError::Configuration(format!(
                    "{}: there is no option {name:?}",
                    self.bucket.url()
                ))
            })?;
            settings.push((key, value.to_owned()));
        }
        Ok(settings)
    }

    /// `max_retries` and `retry_timeout` (seconds) are options of our own beside object_store's.
    fn patience(&self, default: Patience) -> Result<Patience, StorageError> {
        let mut patience = default;
        let number = |name: &str| {
            let parse = |value: &str| {
                value.parse::<u64>().map_err(|_| {
                    StorageError::Configuration(format!(
                        "{}: option {name} must be a whole number",
                        self.bucket.url()
                    ))
                })
            };
            self.options.get(name).map(parse).transpose()
        };
        if let Some(retries) = number("max_retries")? {
            patience.retries = retries.min(default.most as u64) as usize;
        }
        if let Some(seconds) = number("retry_timeout")? {
            patience.time = Duration::from_secs(seconds);
        }
        Ok(patience)
    }

    fn unusable(&self, error: &object_store::Error) -> StorageError {
        let mut text = error.to_string();
        for secret in self.secrets() {
            text = text.replace(&secret, "***");
        }
        StorageError::Configuration(format!("{}: {text}", self.bucket.url()))
    }
}

impl Patience {
    fn retry(self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: self.wait,
                base: 2.0,
            },
            max_retries: self.retries,
            retry_timeout: self.time,
        }
    }
}

/// Whether an option is ours and not object_store's.
pub(in super::super) fn is_own(name: &str) -> bool {
    matches!(name, "max_retries" | "retry_timeout")
}
