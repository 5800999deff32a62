//! Putting a filesystem back: files are staged on the same volume or in the same bucket, then swapped in.
//!
//! Everything lies in `.portal-backup/{attempt}` under the root, which listings leave out. In folders the swap is made
//! of renames, in buckets of copies within the store.

mod bucket;
mod bucket_swap;
mod journal;
mod keys;
mod left_out;
mod local;
mod paths;
mod place;
mod plan;
mod remove;
mod steps;
mod swap;
mod upload;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::text;
use super::{Backend, Content, FileMeta, FilesError, Filesystem, STAGING_FOLDER};
use crate::limits::Rate;
use crate::source::restore::{AttemptId, Space, Staged};

use bucket::{BucketStaging, Warnings};
use bucket_swap::BucketStaged;
use local::LocalStaging;
use steps::Steps;
use swap::LocalStaged;

/// The longest name that file systems take, in bytes.
const MAX_NAME: usize = 255;

/// What a swap replaces. Paths are relative to the filesystem's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// All that lies in these folders (`""`: everything), except what lies at or under `kept`, which is never
    /// moved: storages, the catalog. What is there and was not staged is gone after it, but for what no backup can
    /// hold (links that lead elsewhere, sockets): that stays. Files that were staged
    /// elsewhere are swapped in as with [`Replaced::Staged`]; those at or under `kept` are not.
    Folders { folders: Vec<String>, kept: Vec<String> },
    /// Only the files that were staged; all others stay.
    Staged,
}

/// A place beside the live files. Dropping it leaves what is there for [`Filesystem::staged`].
pub struct FilesStaging {
    kind: Kind,
    upload: Rate,
}

enum Kind {
    Local(LocalStaging),
    Bucket(BucketStaging),
}

impl Filesystem {
    /// Makes an empty place, and a folder's root if it is missing. What an attempt of that name left is rolled back
    /// and dropped first.
    pub async fn stage(&self, attempt: &AttemptId) -> Result<FilesStaging, FilesError> {
        let attempt = attempt.clone();
        let kind = match &self.0 {
            Backend::Local(folder) => {
                Kind::Local(LocalStaging::create(Arc::clone(folder), attempt).await?)
            }
            Backend::Store(bucket) => {
                Kind::Bucket(BucketStaging::create(Arc::clone(bucket), &attempt).await?)
            }
        };
        Ok(FilesStaging { kind, upload: Rate::default() })
    }

    /// What an attempt staged and maybe swapped, also when there is nothing (any more).
    pub fn staged(&self, attempt: &AttemptId) -> Box<dyn Staged> {
        match &self.0 {
            Backend::Local(folder) => Box::new(LocalStaged {
                folder: Arc::clone(folder),
                attempt: attempt.clone(),
                steps: Steps::default(),
            }),
            Backend::Store(bucket) => Box::new(BucketStaged::new(Arc::clone(bucket), attempt)),
        }
    }

    /// The room on its volume; None in buckets.
    pub async fn space(&self) -> Option<Space> {
        let Backend::Local(folder) = &self.0 else { return None };
        let folder = Arc::clone(folder);
        let found = tokio::task::spawn_blocking(move || Space::of(folder.nearest_existing()));
        found.await.ok().flatten()
    }

    /// Tries whether a restore may write here, and leaves nothing.
    pub async fn check_writable(&self) -> Result<(), FilesError> {
        match &self.0 {
            Backend::Local(folder) => {
                let folder = Arc::clone(folder);
                let path = STAGING_FOLDER.to_owned();
                super::local::blocking(path, move || place::check_writable(&folder)).await
            }
            Backend::Store(bucket) => bucket::check_writable(bucket).await,
        }
    }
}

impl FilesStaging {
    /// The same, sending to buckets no faster than this; disks have no such limit.
    #[must_use]
    pub fn limited(self, upload: &Rate) -> Self {
        Self { upload: upload.clone(), ..self }
    }

    /// Stages one file (or an empty directory) with its content, which must be `size` bytes, and its time. A second
    /// file of the same path replaces the first. May be called many times at once.
    ///
    /// In folders a file gets the permissions and the owner of the live one that it replaces, or else 0644 (folders
    /// 0755) and, if root restores, the owner of the filesystem's root. Buckets have neither times nor folders.
    pub async fn put(&self, file: &FileMeta, content: Content) -> Result<(), FilesError> {
        check_path(&file.path)?;
        match &self.kind {
            Kind::Local(staging) => {
                check_names(&file.path)?;
                staging.put(file, content).await
            }
            Kind::Bucket(staging) => staging.put(file, self.upload.slow(content)).await,
        }
    }

    /// What will be lost though it was there, or stays though it is not in the archive; to be asked for its sentences
    /// once all is ready.
    pub fn warnings(&self) -> Arc<Warnings> {
        match &self.kind {
            Kind::Local(_) => Arc::default(),
            Kind::Bucket(staging) => staging.warnings(),
        }
    }

    /// Everything is staged and on disc. Refuses what cannot be swapped: mounts in what is replaced, links to folders
    /// on the way, no permission. Nothing live is touched.
    pub async fn ready(self, replaced: Replaced) -> Result<Box<dyn Staged>, FilesError> {
        Ok(match self.kind {
            Kind::Local(staging) => Box::new(staging.ready(replaced).await?),
            Kind::Bucket(staging) => Box::new(staging.ready(replaced).await?),
        })
    }
}

/// Names come from archives, which anybody may have written.
fn check_path(path: &str) -> Result<(), FilesError> {
    let refuse = |message: &str| {
        Err(FilesError::Refused { path: path.to_owned(), message: message.to_owned() })
    };
    if path.contains('\0') {
        return refuse("its name contains NUL");
    }
    if path.split('/').next() == Some(STAGING_FOLDER) {
        return refuse("the name is taken for staging");
    }
    for name in path.split('/') {
        match name {
            "" => return refuse("it is no relative path"),
            "." | ".." => return refuse("it leads elsewhere"),
            _ => {}
        }
    }
    Ok(())
}

/// Keys of objects may be longer than names of files.
fn check_names(path: &str) -> Result<(), FilesError> {
    match path.split('/').any(|name| text::to_bytes(name).len() > MAX_NAME) {
        false => Ok(()),
        true => Err(FilesError::Refused {
            path: path.to_owned(),
            message: "a name in it is longer than 255 bytes".to_owned(),
        }),
    }
}

/// The content, which fails when it is not as long as it should be.
fn sized(file: &FileMeta, content: Content) -> Content {
    let (path, size) = (file.path.clone(), file.size);
    let wrong = move |found: u64| FilesError::Read {
        path: path.clone(),
        message: match found > size {
            true => format!("it is longer than the {size} bytes that were announced"),
            false => format!("it ends after {found} of {size} bytes"),
        },
    };
    futures::stream::try_unfold((content, 0u64), move |(mut content, found)| {
        let wrong = wrong.clone();
        async move {
            match content.try_next().await? {
                Some(piece) => {
                    let found = found + piece.len() as u64;
                    if found > size {
                        Err(wrong(found))
                    } else {
                        Ok(Some((piece, (content, found))))
                    }
                }
                None if found < size => Err(wrong(found)),
                None => Ok(None),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests;
