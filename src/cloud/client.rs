//! Building the clients of a bucket from its options.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{
    BackoffConfig, ClientOptions, HeaderMap, HeaderValue, ObjectStore, RetryConfig,
};
use url::Url;

use super::Provider;
use super::listed::Unnamable;
use super::middle::Middle;
use super::odd::Names;
use super::put::{Lock, PutSettings};
use crate::config::Options;
use crate::storage::is_secret_param;

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

/// For the bytes of archives and files, when minutes of work would be lost: as long as the time lasts.
const PATIENT: Patience = Patience {
    retries: 1000,
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

/// Options that are ours and not object_store's: of requests, and of what is written.
const OWN: [&str; 2] = ["max_retries", "retry_timeout"];

/// The ways to reach one bucket.
pub struct Clients {
    pub data: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    pub quick: Arc<dyn ObjectStore>,
    pub quick_parts: Arc<dyn MultipartStore>,
    pub signer: Arc<dyn Signer>,
}

impl Clients {
    fn of<T: ObjectStore + MultipartStore + Signer>(data: T, quick: T) -> Self {
        let (data, quick) = (Arc::new(data), Arc::new(quick));
        Self {
            data: data.clone(),
            parts: data,
            quick: quick.clone(),
            quick_parts: quick.clone(),
            signer: quick,
        }
    }
}

/// The way to a bucket that is a source.
pub struct SourceClient {
    pub store: Arc<dyn ObjectStore>,
    pub quick: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    pub unnamable: Unnamable,
}

impl SourceClient {
    fn of<T: ObjectStore + MultipartStore>(store: T, quick: T, unnamable: Unnamable) -> Self {
        let store = Arc::new(store);
        Self { parts: store.clone(), store, quick: Arc::new(quick), unnamable }
    }
}

/// What a client is built from. The errors of all its methods are sentences without secrets.
#[derive(Clone)]
pub struct ClientConfig {
    pub provider: Provider,
    /// The bucket's or container's name.
    pub bucket: String,
    /// The URL up to the bucket.
    pub root: Url,
    pub options: Options,
    /// Whether what the options leave open comes from the environment (`AWS_…`).
    pub environment: bool,
}

impl ClientConfig {
    /// For a storage. Sends nothing.
    pub fn clients(&self) -> Result<Clients, String> {
        let (patient, quick) = (self.patience(PATIENT)?, self.patience(QUICK)?);
        // Somebody else's odd key beside the archives must not hide them.
        let middle = || Some(Middle::default());
        Ok(match self.provider {
            Provider::S3 => {
                Clients::of(self.s3(patient, middle(), None)?, self.s3(quick, middle(), None)?)
            }
            Provider::Google => {
                Clients::of(self.google(patient, middle())?, self.google(quick, middle())?)
            }
            Provider::Azure => {
                Clients::of(self.azure(patient, middle())?, self.azure(quick, middle())?)
            }
        })
    }

    /// For a source. Keys that no path can hold are said as `names` does; what that cannot is left out of listings and
    /// told by the second.
    pub fn source(&self, names: Names) -> Result<SourceClient, String> {
        if let Some(name) = self.options.iter().map(|(name, _)| name).find(|n| PutSettings::has(n))
        {
            return Err(format!("option {name:?} is one of storages, not of a filesystem"));
        }
        let (middle, patience) = (Middle::new(names), self.patience(PATIENT)?);
        let (unnamable, signing) = (middle.unnamable(), middle.signing.clone());
        let (quick, other) = (self.patience(QUICK)?, Some(Middle::default()));
        Ok(match self.provider {
            Provider::S3 => {
                let store = self.s3(patience, Some(middle), None)?;
                signing.s3(&store);
                SourceClient::of(store, self.s3(quick, other, None)?, unnamable)
            }
            Provider::Google => {
                let store = self.google(patience, Some(middle))?;
                SourceClient::of(store, self.google(quick, other)?, unnamable)
            }
            Provider::Azure => {
                let store = self.azure(patience, Some(middle))?;
                signing.azure(&store);
                SourceClient::of(store, self.azure(quick, other)?, unnamable)
            }
        })
    }

    /// A client whose every request asks for a lock: only for those that begin an object. S3 wants such
    /// headers signed, and object_store signs only those that all requests of a client have.
    pub fn locking(&self, lock: &Lock, until: Timestamp) -> Result<Arc<AmazonS3>, String> {
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-object-lock-mode", HeaderValue::from_static(lock.mode.header()));
        let until = HeaderValue::try_from(until).map_err(|error| error.to_string())?;
        headers.insert("x-amz-object-lock-retain-until-date", until);
        let client = ClientOptions::new().with_default_headers(headers);
        self.s3(self.patience(PATIENT)?, None, Some(client)).map(Arc::new)
    }

    /// What the options say of objects that are written.
    pub fn put(&self) -> Result<PutSettings, String> {
        PutSettings::of(self.provider, &self.options)
    }

    /// Whether objects are encrypted with a key that whoever reads them must send.
    pub fn has_customer_key(&self) -> bool {
        self.options.iter().any(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.ends_with("sse_customer_key_base64")
                || (self.provider == Provider::Azure && name.ends_with("encryption_key"))
        })
    }

    /// Values to be kept out of messages.
    pub fn secrets(&self) -> Vec<String> {
        self.options
            .iter()
            .filter(|(name, value)| is_secret_param(name) && value.len() >= 4)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    fn s3(
        &self,
        patience: Patience,
        middle: Option<Middle>,
        client: Option<ClientOptions>,
    ) -> Result<AmazonS3, String> {
        let mut builder = AmazonS3Builder::new();
        if let Some(client) = client {
            builder = builder.with_client_options(client);
        }
        for (key, value) in self.settings::<AmazonS3ConfigKey>("AWS_", patience)? {
            builder = builder.with_config(key, value);
        }
        if let Some(middle) = middle {
            builder = builder.with_http_connector(middle);
        }
        builder
            .with_retry(patience.retry())
            .with_bucket_name(&self.bucket)
            .build()
            .map_err(|error| self.unusable(&error))
    }

    fn google(
        &self,
        patience: Patience,
        middle: Option<Middle>,
    ) -> Result<GoogleCloudStorage, String> {
        let mut builder = GoogleCloudStorageBuilder::new();
        for (key, value) in self.settings::<GoogleConfigKey>("GOOGLE_", patience)? {
            builder = builder.with_config(key, value);
        }
        if let Some(middle) = middle {
            builder = builder.with_http_connector(middle);
        }
        builder
            .with_retry(patience.retry())
            .with_bucket_name(&self.bucket)
            .build()
            .map_err(|error| self.unusable(&error))
    }

    fn azure(&self, patience: Patience, middle: Option<Middle>) -> Result<MicrosoftAzure, String> {
        let mut builder = MicrosoftAzureBuilder::new();
        for (key, value) in self.settings::<AzureConfigKey>("AZURE_", patience)? {
            builder = builder.with_config(key, value);
        }
        if let Some(middle) = middle {
            builder = builder.with_http_connector(middle);
        }
        builder
            .with_retry(patience.retry())
            .with_url(self.root.as_str())
            .build()
            .map_err(|error| self.unusable(&error))
    }

    /// Our defaults, then the environment where it counts, then the options: the last of a name holds.
    /// An option that object_store does not know is an error, as it may be a mistyped secret; among the
    /// environment's variables there are always some of other programs.
    fn settings<K: FromStr + PartialEq>(
        &self,
        variables: &str,
        patience: Patience,
    ) -> Result<Vec<(K, String)>, String> {
        let mut defaults = vec![
            ("timeout", format!("{}s", patience.request.as_secs())),
            ("connect_timeout", "10s".to_owned()),
            ("user_agent", concat!("portal-backup/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if self.provider == Provider::S3 {
            // What is sent is read back and compared, so its signature need not cover it too; TLS guards it on its way.
            defaults.push(("unsigned_payload", "true".to_owned()));
        }
        if self.provider == Provider::S3 && self.options.get("object_lock_days").is_some() {
            // S3 takes locked objects only with a checksum.
            defaults.push(("checksum_algorithm", "sha256".to_owned()));
        }
        let mut settings: Vec<(K, String)> = defaults
            .into_iter()
            .filter_map(|(key, value)| Some((key.parse().ok()?, value)))
            .collect();
        if self.environment {
            for (name, value) in std::env::vars_os() {
                let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
                let lower = name.to_ascii_lowercase();
                let is_said = name.starts_with(variables) && !value.is_empty();
                let key = is_said.then(|| lower.parse().ok()).flatten();
                settings.extend(key.map(|key| (key, value.to_owned())));
            }
        }
        for (name, value) in self.options.iter() {
            let lower = name.to_ascii_lowercase();
            let is_off =
                lower.ends_with("checksum_algorithm") && value.eq_ignore_ascii_case("none");
            if OWN.contains(&lower.as_str()) || PutSettings::has(&lower) || is_off {
                continue;
            }
            // One word for the same thing everywhere.
            let known = match (self.provider, lower.as_str()) {
                (Provider::Google, "endpoint") => "base_url",
                _ => &lower,
            };
            let key = known.parse().map_err(|_| format!("there is no option {name:?}"))?;
            settings.push((key, value.to_owned()));
        }
        for name in ["endpoint", "aws_endpoint_url_s3", "base_url"] {
            let Ok(key) = name.parse::<K>() else { continue };
            if let Some((_, value)) = settings.iter().rev().find(|(known, _)| *known == key) {
                check_endpoint(value)?;
            }
        }
        Ok(settings)
    }

    /// `max_retries` and `retry_timeout` (seconds) are options of our own beside object_store's.
    fn patience(&self, default: Patience) -> Result<Patience, String> {
        let mut patience = default;
        let number = |name: &str| {
            let parse = |value: &str| {
                value.parse::<u64>().map_err(|_| format!("option {name} must be a whole number"))
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

    fn unusable(&self, error: &object_store::Error) -> String {
        let mut text = error.to_string();
        for secret in self.secrets() {
            text = text.replace(&secret, "***");
        }
        text
    }
}

/// object_store believes that it is one.
fn check_endpoint(value: &str) -> Result<(), String> {
    let is_web = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    match Url::parse(value).is_ok_and(is_web) && value.parse::<http::Uri>().is_ok() {
        true => Ok(()),
        false => Err("option \"endpoint\" must be a URL such as https://host:9000".to_owned()),
    }
}

impl Patience {
    fn retry(self) -> RetryConfig {
        RetryConfig {
            // The wait is drawn between the first one and the last times the base: with 2 it would not grow.
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: self.wait,
                base: 5.0,
            },
            max_retries: self.retries,
            retry_timeout: self.time,
        }
    }
}
