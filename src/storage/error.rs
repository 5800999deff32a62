//! What can go wrong with a storage, in words for people.

use std::io;

/// Why a storage refused or failed. The texts name the bucket or the path, never credentials.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The request names a place wrongly, or one it may not name.
    #[error("{0}")]
    Invalid(String),
    /// This program does not write to storages of this type.
    #[error("{0}")]
    Unsupported(String),
    /// The storage type needs a section of the configuration that is missing.
    #[error("{0}")]
    NotConfigured(String),
    /// The configuration itself is wrong.
    #[error("{0}")]
    Configuration(String),
    #[error("{0}")]
    NotFound(String),
    /// Another archive has the name already.
    #[error("{0}")]
    Exists(String),
    /// The storage does not accept the credentials, or they may not do this.
    #[error("{0}")]
    Denied(String),
    /// No space left.
    #[error("{0}")]
    Full(String),
    /// The storage does not answer, or not sensibly; later it may.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Other(String),
}

impl StorageError {
    /// Whether the fault is the request's: HTTP status 400.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Unsupported(_) | Self::NotConfigured(_))
    }

    /// From an error of the operating system; `what` names what was being done, with the path.
    pub(super) fn from_io(what: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => {
                Self::Full(format!("{what}: no space left on device"))
            }
            Kind::FileTooLarge => Self::Full(format!(
                "{what}: no space left for a file of this size (a limit of the system)"
            )),
            Kind::NotFound => Self::NotFound(format!("{what}: it does not exist")),
            Kind::AlreadyExists => Self::Exists(format!("{what}: it exists already")),
            Kind::PermissionDenied => Self::Denied(format!("{what}: permission denied")),
            Kind::ReadOnlyFilesystem => {
                Self::Denied(format!("{what}: the file system is read-only"))
            }
            Kind::NotADirectory => Self::Invalid(format!("{what}: it is not a folder")),
            _ => Self::Other(format!("{what}: {error}")),
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::NotFound(_) => io::ErrorKind::NotFound,
            Self::Exists(_) => io::ErrorKind::AlreadyExists,
            Self::Denied(_) => io::ErrorKind::PermissionDenied,
            Self::Full(_) => io::ErrorKind::StorageFull,
            Self::Invalid(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}
