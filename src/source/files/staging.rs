//! Putting a filesystem back: files are staged on the same volume or in the same bucket, then swapped in.

use super::{Content, FileMeta, FilesError, Filesystem};
use crate::source::restore::{AttemptId, Staged};

/// What a swap replaces. Paths are relative to the filesystem's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// All that lies in these folders (`""`: everything), except what lies at or under `kept`, which is never
    /// moved: storages, the catalog. What is there and was not staged is gone after it.
    Folders { folders: Vec<String>, kept: Vec<String> },
    /// Only the files that were staged; all others stay.
    Staged,
}

/// A place beside the live files. Dropping it leaves what is there for [`Filesystem::staged`].
pub struct FilesStaging {}

impl Filesystem {
    /// Makes an empty place; what an attempt of that name left is dropped first.
    pub async fn stage(&self, _attempt: &AttemptId) -> Result<FilesStaging, FilesError> {
        todo!()
    }

    /// What an attempt staged and maybe swapped, also when there is nothing (any more).
    pub fn staged(&self, _attempt: &AttemptId) -> Box<dyn Staged> {
        todo!()
    }

    /// Bytes that can still be written, where that can be found out.
    pub async fn free_space(&self) -> Option<u64> {
        todo!()
    }

    /// Tries whether a restore may write here.
    pub async fn check_writable(&self) -> Result<(), FilesError> {
        todo!()
    }
}

impl FilesStaging {
    /// Stages one file (or an empty directory) with its content, which must be `size` bytes, and its time. A second
    /// file of the same path replaces the first. May be called many times at once.
    pub async fn put(&self, _file: &FileMeta, _content: Content) -> Result<(), FilesError> {
        todo!()
    }

    /// Everything is staged and on disc.
    pub async fn ready(self, _replaced: Replaced) -> Result<Box<dyn Staged>, FilesError> {
        todo!()
    }
}
