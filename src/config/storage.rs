//! `[storage]`: where archives go.

use std::path::PathBuf;

use serde::Deserialize;

use super::value::{Options, lenient, list};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// URL prefixes and endpoints that a request may name.
    #[serde(deserialize_with = "list")]
    pub allow: Vec<String>,
    /// Whether a request may bring its own credentials.
    #[serde(deserialize_with = "lenient")]
    pub allow_request_credentials: bool,
    /// How many parts a multipart upload may have; some providers take only 1,000.
    #[serde(deserialize_with = "lenient")]
    pub max_parts: u32,
    pub local: LocalConfig,
    pub custom_cloud: Option<UrlConfig>,
    pub data_store: Option<UrlConfig>,
    /// Further storages that each finished archive is sent to.
    pub copy: Vec<CopyConfig>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            allow_request_credentials: false,
            max_parts: 10_000,
            local: LocalConfig::default(),
            custom_cloud: None,
            data_store: None,
            copy: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// Every `Local` path lies under it.
    pub root: PathBuf,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { root: PathBuf::from("/backups") }
    }
}

/// A further storage, by a name of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyConfig {
    pub name: String,
    pub url: url::Url,
    #[serde(default)]
    pub options: Options,
}

impl CopyConfig {
    /// Its place, as other storages have it.
    pub fn place(&self) -> UrlConfig {
        UrlConfig { url: self.url.clone(), options: self.options.clone() }
    }
}

/// A place by its URL: `file://`, `s3://`, `gs://` or `az://`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlConfig {
    pub url: url::Url,
    #[serde(default)]
    pub options: Options,
}
