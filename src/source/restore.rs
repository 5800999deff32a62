//! What putting a source back has in common, be it a database or a filesystem: the new state is staged beside the
//! live one, swapped in, and later undone or finished, maybe by another process.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;

use super::database::DatabaseError;
use super::files::FilesError;

/// Names what one attempt of a restore stages, in every source: lower-case letters and digits, at most 24.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId(String);

impl AttemptId {
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let good = (1..=24).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        good.then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AttemptId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text).ok_or("not the name of an attempt")
    }
}

impl From<AttemptId> for String {
    fn from(id: AttemptId) -> Self {
        id.0
    }
}

/// The room on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Tells volumes apart.
    pub volume: u64,
    /// Bytes that this user can still write.
    pub free: u64,
}

impl Space {
    /// Of the volume that a path lies on, if that can be found out.
    pub fn of(path: &Path) -> Option<Self> {
        let disk = rustix::fs::statvfs(path).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Some(Self { volume: rustix::fs::stat(path).ok()?.st_dev, free })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// What is staged in one source under an [`AttemptId`], as far as it got.
///
/// Every step keeps its own journal beside what it stages, so that it may be killed at any point, asked again, and
/// asked by another process that knows nothing but the attempt's name. A step with nothing (more) to do succeeds.
#[async_trait]
pub trait Staged: Send + Sync {
    /// Puts the staged state in the live one's place and keeps the live one aside.
    async fn swap(&self) -> Result<(), RestoreError>;

    /// After every source was swapped: completes what needed another source's new state. What could not be completed
    /// comes back, for users; it may be asked again.
    async fn settle(&self) -> Result<Vec<String>, RestoreError> {
        Ok(Vec::new())
    }

    /// Puts the kept state back, however far `swap` went, and drops everything that was staged.
    async fn roll_back(&self) -> Result<(), RestoreError>;

    /// Drops the kept state after a complete `swap`: from then on there is no way back.
    async fn finish(&self) -> Result<(), RestoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attempts_are_safe_everywhere() {
        assert!(AttemptId::new("3f2a9c01b2c41").is_some());
        for bad in ["", "A", "a-b", "a/b", "../x", &"a".repeat(25)] {
            assert!(AttemptId::new(bad).is_none(), "{bad}");
        }
    }
}
