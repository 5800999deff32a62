//! `[portal]`: what is protected.

use serde::Deserialize;

use super::value::{Options, Secret, lenient};

/// How the portal's database and files are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayoutKind {
    /// DocSpace's tables and storage tree, several tenants.
    Docspace,
    /// Any database and any folder or bucket, one tenant with id 1.
    #[default]
    Plain,
}

impl LayoutKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docspace => "docspace",
            Self::Plain => "plain",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PortalConfig {
    pub layout: LayoutKind,
    /// Begins the names of archives in the plain layout.
    pub name: String,
    /// Of the plain layout; DocSpace's tenants have their own.
    pub timezone: String,
    /// The first of each kind is the portal's own.
    pub database: Vec<DatabaseConfig>,
    pub filesystem: Vec<FilesystemConfig>,
    pub index: Vec<IndexConfig>,
    pub docspace: DocSpaceConfig,
}

impl Default for PortalConfig {
    fn default() -> Self {
        Self {
            layout: LayoutKind::default(),
            name: "workspace".to_owned(),
            timezone: "UTC".to_owned(),
            database: Vec::new(),
            filesystem: Vec::new(),
            index: Vec::new(),
            docspace: DocSpaceConfig::default(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    pub name: String,
    /// `mysql://`, `postgres://` or `sqlite://`; it may hold a password.
    pub url: Secret,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemConfig {
    pub name: String,
    /// `file://`, `s3://`, `gs://` or `az://`.
    pub url: url::Url,
    #[serde(default)]
    pub options: Options,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexConfig {
    pub name: String,
    pub url: url::Url,
    #[serde(default)]
    pub options: Options,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DocSpaceConfig {
    /// DocSpace's `core:machinekey`: its API keys and cookies are checked with it.
    pub machine_key: Secret,
    /// DocSpace's `core:password:salt`, where it has one: its API keys are hashed with it.
    pub password_salt: Secret,
    /// `localhost` means a standalone installation.
    pub base_domain: String,
    /// Where DocSpace's own HTTP API answers: archives in its documents go there.
    pub url: Option<url::Url>,
    /// An API key of DocSpace's, for what is done there without a user: reading back, schedules, deleting.
    pub api_key: Secret,
    /// Where DocSpace's socket service answers; progress is told there, signed with the machine key.
    pub socket_url: Option<url::Url>,
    /// Whether backups and schedules are written into DocSpace's own tables, and taken over from there.
    #[serde(deserialize_with = "lenient")]
    pub mirror: bool,
}

impl Default for DocSpaceConfig {
    fn default() -> Self {
        Self {
            machine_key: Secret::default(),
            password_salt: Secret::default(),
            base_domain: "localhost".to_owned(),
            url: None,
            api_key: Secret::default(),
            socket_url: None,
            mirror: true,
        }
    }
}
