//! What the program does; called by `http`, `cli` and the jobs alike.

mod actor;
pub mod archives;
pub mod backup;
pub mod chain;
pub mod copies;
pub mod counts;
pub mod entries;
pub mod fingerprint;
pub mod handler;
pub mod health;
pub mod import;
pub mod index_copies;
pub mod jobs;
pub mod links;
pub mod mirror;
pub mod named;
pub mod presence;
mod proving;
pub mod recent;
pub mod rekey;
pub mod restore;
pub mod retention;
pub mod scheduler;
pub mod schedules;
pub mod uploads;
pub mod verify;

pub use crate::catalog::Page;
pub use actor::Actor;

use crate::catalog::CatalogError;
use crate::encryption::EncryptionError;
use crate::portal::PortalError;
use crate::storage::StorageError;

/// Why an operation was refused or failed, before any mapping to an API's own form.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The request is wrong; the text says how to mend it.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this.
    #[error("Access denied")]
    Forbidden,
    /// The archive is encrypted, and nothing here opens it; the text says what is missing.
    #[error("{0}")]
    Locked(String),
    /// Not now: something else is under way.
    #[error("{0}")]
    Conflict(String),
    /// A part we depend on does not answer (storage, portal database); the text is safe to show.
    #[error("{0}")]
    Unavailable(String),
    /// Unexpected: the client gets an id, the log the story.
    #[error("{0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OpError {
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}

impl From<CatalogError> for OpError {
    fn from(error: CatalogError) -> Self {
        Self::internal(error)
    }
}

/// The error of opening the archive of this name.
pub(crate) fn unopened(name: &str, error: &EncryptionError) -> OpError {
    let text = format!("{name}: {error}");
    match error {
        EncryptionError::NoIdentity | EncryptionError::WrongIdentity => OpError::Locked(text),
        EncryptionError::TooMuchWork(_) => OpError::Invalid(text),
        EncryptionError::Damaged(_) | EncryptionError::Io(_) => OpError::Unavailable(text),
        EncryptionError::Failed => OpError::internal(text),
    }
}

impl From<PortalError> for OpError {
    fn from(error: PortalError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<StorageError> for OpError {
    fn from(error: StorageError) -> Self {
        match error {
            error if error.is_bad_request() => Self::Invalid(error.to_string()),
            StorageError::NotFound(text) => Self::NotFound(text),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    pub offset: u64,
    pub limit: u32,
}
