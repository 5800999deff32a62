//! `[server]`, `[catalog]`, `[backup]`, and the sections of features with few settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::value::{ByteSize, Secret, lenient, list};

/// What one process does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    All,
    Api,
    Worker,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    /// The address that clients reach the service by; links begin with it. Default: `http://{listen}`.
    pub public_url: Option<url::Url>,
    pub role: Role,
    /// Seals secrets in the catalog and signs links. Default: made once, beside a SQLite catalog.
    pub secret_key: Secret,
    /// Addresses or networks whose `X-Forwarded-*` headers are believed.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5012)),
            public_url: None,
            role: Role::All,
            secret_key: Secret::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogConfig {
    pub url: Secret,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self { url: Secret::new("sqlite://portal-backup.db") }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// The budget of one job's buffers.
    pub memory: ByteSize,
    /// Where spill files go.
    pub temp_dir: PathBuf,
    pub compression: archive::Compression,
    /// Every so many archives the newest is proved by a restore into a scratch place; 0: none is.
    pub prove_every: u32,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize(96 << 20),
            temp_dir: std::env::temp_dir(),
            compression: archive::Compression::Fast,
            prove_every: 0,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    #[serde(deserialize_with = "list")]
    /// `age1…`: archives are encrypted for them.
    pub recipients: Vec<String>,
    /// Without recipients archives are encrypted with it; with them it only opens older ones.
    pub passphrase: Secret,
    /// Where the identities are that open archives.
    pub identity_file: PathBuf,
}

impl EncryptionConfig {
    /// The same with the identities of another file.
    pub fn with_identity_file(&self, path: &Path) -> Self {
        Self { identity_file: path.to_path_buf(), ..self.clone() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Where failures are posted; the address may hold a secret.
    pub webhook: Secret,
    /// Signs what is posted.
    pub secret: Secret,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RavenConfig {
    pub version: RavenVersion,
    /// Whether secrets of a configuration document are stored with a backup.
    #[serde(deserialize_with = "lenient")]
    pub store_secrets: bool,
}

/// Which RavenDB's answers clients get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum RavenVersion {
    #[default]
    #[serde(rename = "3.0")]
    V30,
    #[serde(rename = "3.5")]
    V35,
}
