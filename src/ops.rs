//! What the program does; called by `http`, `cli` and the jobs alike.

pub mod archives;
pub mod backup;
pub mod entries;
pub mod health;
pub mod jobs;
pub mod verify;

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

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    pub offset: u64,
    pub limit: u32,
}

/// A part of a list, and how long the whole list is.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}
