//! `[limits]`: how much of a machine, a line and a database backups may take.

use serde::Deserialize;

use super::value::{ByteSize, lenient};

/// Bytes a second, all jobs of one process together; None: no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Archives on their way to storages, copies included, and files that a restore puts into buckets.
    pub upload: Option<ByteSize>,
    /// Files of the portal, and archives that are read back.
    pub read: Option<ByteSize>,
    /// What is read of databases, as text of the dump.
    pub database_read: Option<ByteSize>,
    /// Connections that read one database at once.
    #[serde(deserialize_with = "lenient")]
    pub database_connections: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { upload: None, read: None, database_read: None, database_connections: 2 }
    }
}

impl LimitsConfig {
    /// What types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, rate) in
            [("upload", self.upload), ("read", self.read), ("database_read", self.database_read)]
        {
            if rate.is_some_and(|rate| rate.0 < 1024) {
                return Err(format!(
                    "limits.{name} must be at least 1KiB; leave it out for no limit"
                ));
            }
        }
        if !(1..=32).contains(&self.database_connections) {
            return Err("limits.database_connections must be 1 to 32".to_owned());
        }
        Ok(())
    }
}
