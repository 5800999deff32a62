//! Archives encrypted with age (<https://age-encryption.org/v1>), so that any `age` tool opens them.
//!
//! The `age` crate writes and reads the header, which wraps a file key for each recipient. The payload after it is
//! sealed in chunks of 64 KiB that can be opened alone, which gives the same random access as in clear.

mod keys;
mod open;
mod payload;
mod seal;
mod tap;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use keys::Keys;
pub use open::{Opened, OwnKey, is_encrypted};
pub use seal::{Sealed, Sealing, Stored, sealed};
pub use tap::{Tap, digest};

/// What the name of an encrypted archive ends with.
pub const ENDING: &str = ".age";

#[derive(Debug, Clone, thiserror::Error)]
pub enum EncryptionError {
    #[error(
        "the archive is encrypted, and there is nothing to open it with: give --identity FILE, or set \
         encryption.identity_file (or the passphrase)"
    )]
    NoIdentity,
    #[error("the archive is encrypted, and none of the identities (or the passphrase) opens it")]
    WrongIdentity,
    /// Opening it would take more memory and time than anybody should spend on a file from outside.
    #[error("the archive's passphrase has a work factor of {0}, more than {most}", most = keys::MOST_WORK)]
    TooMuchWork(u8),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("reading the archive: {0}")]
    Io(Arc<io::Error>),
    #[error("the cryptographic library failed")]
    Failed,
}

impl From<io::Error> for EncryptionError {
    fn from(error: io::Error) -> Self {
        match damage(&error) {
            Some(damaged) => Self::Damaged(damaged.clone()),
            None => Self::Io(Arc::new(error)),
        }
    }
}

/// Bytes are not those that were encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the encrypted archive is damaged: {0}")]
pub struct Damaged(String);

/// Whether an error of reading says that the archive is damaged, and not that it could not be read.
pub fn damage(error: &io::Error) -> Option<&Damaged> {
    error.get_ref()?.downcast_ref()
}

impl From<Damaged> for io::Error {
    fn from(damaged: Damaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}
