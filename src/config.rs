//! The configuration: one TOML file, overridden by the environment. One struct a concern, each in a
//! file of its own; `load` reads them all, and what it returns is checked.

mod auth;
mod limits;
mod load;
mod portal;
mod server;
mod storage;
mod value;

use serde::Deserialize;

pub use auth::{AuthConfig, JwtConfig};
pub use limits::LimitsConfig;
pub use load::{ConfigError, load};
pub use portal::{
    DatabaseConfig, DocSpaceConfig, FilesystemConfig, IndexConfig, LayoutKind, PortalConfig,
};
pub use server::{
    BackupConfig, CatalogConfig, EncryptionConfig, NotifyConfig, RavenConfig, RavenVersion, Role,
    ServerConfig,
};
pub use storage::{CopyConfig, LocalConfig, StorageConfig, UrlConfig};
pub use value::{ByteSize, Options, Secret};

/// Everything that can be configured. Every section has defaults, so an empty file is valid.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: ServerConfig,
    pub portal: PortalConfig,
    pub catalog: CatalogConfig,
    pub backup: BackupConfig,
    pub storage: StorageConfig,
    /// `[consumers.NAME]`: credentials of DocSpace's third-party storages.
    pub consumers: std::collections::BTreeMap<String, Options>,
    pub auth: AuthConfig,
    pub limits: LimitsConfig,
    pub encryption: EncryptionConfig,
    pub notify: NotifyConfig,
    pub ravendb: RavenConfig,
}
