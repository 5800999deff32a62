//! The portal: which tenants it has, which files belong to a backup, and under which names.

pub mod docspace;
mod plain;

use futures::stream::BoxStream;

use crate::source::files::{FileMeta, FilesError};

/// One file as the archive carries it.
#[derive(Debug, Clone)]
pub struct PortalFile {
    /// Which of the configured filesystems holds it.
    pub filesystem: usize,
    pub file: FileMeta,
    /// The archive member.
    pub member: String,
    /// How DocSpace calls it; None in the plain layout and for members that DocSpace must not see.
    pub stored: Option<StoredFile>,
}

/// A file as `storage/restore_info` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub module: String,
    pub domain: String,
    pub path: String,
    pub tenant: i64,
}

#[derive(Debug, Clone)]
pub enum PortalEntry {
    File(PortalFile),
    /// A sentence for the job's warnings.
    Skipped(String),
}

#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the portal's database: {0}")]
    Database(String),
    #[error("{0}")]
    Invalid(String),
}

pub type PortalFiles = BoxStream<'static, Result<PortalEntry, PortalError>>;
