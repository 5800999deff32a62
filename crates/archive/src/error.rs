//! What can go wrong.

use std::io;
use std::sync::Arc;

/// Cloneable, because one failure of the writer is the answer to every later call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// The receiver of the archive's bytes is gone.
    #[error("the receiver of the archive was closed")]
    SinkClosed,
    /// The writer that this spool belonged to is gone, or stopped.
    #[error("the archive's writer was closed")]
    Closed,
    /// An earlier call was dropped before it ended, so the state of the archive is not known.
    #[error("an earlier write was interrupted")]
    Interrupted,
    #[error("no tokio runtime is running")]
    NoRuntime,
    #[error("the entry {0} is still open")]
    EntryOpen(String),
    #[error("no entry is open")]
    NoEntry,
    /// What fitted was written, nothing of the excess.
    #[error("the content of {path} is longer than the {size} bytes that were announced")]
    TooLong { path: String, size: u64 },
    /// The entry stays open: write more, or pad.
    #[error("the content of {path} ended after {written} of {size} bytes")]
    TooShort { path: String, size: u64, written: u64 },
    #[error("the name {path:?} is refused: {why}")]
    BadPath { path: String, why: &'static str },
    #[error("{0} is too large for this format")]
    TooLarge(&'static str),
    #[error("this is neither a tar file nor a gzip-compressed one")]
    NotAnArchive,
    #[error("the archive was written by a newer version (format {0})")]
    NewerFormat(u32),
    /// Bytes are not what they should be. The text says where.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// An archive that this one needs is not there, or not the one it was.
    #[error("the archive {name} ({id}), which this one needs, {why}")]
    Link { id: String, name: String, why: String },
    /// The archive holds something that no honest archive does.
    #[error("the archive is refused: {0}")]
    Hostile(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl Error {
    pub(crate) fn damaged(text: impl Into<String>) -> Self {
        Self::Damaged(text.into())
    }

    pub(crate) fn hostile(text: impl Into<String>) -> Self {
        Self::Hostile(text.into())
    }
}
