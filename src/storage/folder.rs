//! A folder of the file system as a storage.
//!
//! Every access goes from the trusted `base` down by one open directory after the other, following no
//! symbolic link, so that a path from a request cannot leave `base`, not even by a link made meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use url::Url;
use uuid::Uuid;

use super::upload::{UploadHint, UploadJournal, record};
use super::{Remains, StorageError, StoredObject, name};

mod object;
mod upload;

pub(super) use object::FolderObject;
pub(super) use upload::FolderUpload;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Folder {
    /// Named by the operator: followed wherever it leads.
    base: PathBuf,
    /// Folders below it, perhaps named by a request: never followed out of `base`.
    below: Vec<String>,
    /// Whether an archive may itself be a symbolic link; only where the operator named the file.
    follow: bool,
    url: Url,
}

impl Folder {
    /// `base` must be absolute; `below` must be plain names.
    pub(super) fn new(
        base: PathBuf,
        below: Vec<String>,
        follow: bool,
    ) -> Result<Self, StorageError> {
        let mut path = base.clone();
        path.extend(&below);
        let url = Url::from_directory_path(&path).map_err(|()| {
            StorageError::Invalid(format!("{} is not an absolute path", path.display()))
        })?;
        Ok(Self { base, below, follow, url })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn path(&self) -> PathBuf {
        let mut path = self.base.clone();
        path.extend(&self.below);
        path
    }

    /// Finds a symbolic link or a file among the folders on the way, for an early answer to a request.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.directory(false) {
            Err(error @ StorageError::Invalid(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Opens the folder. None when it does not exist and is not to be made.
    fn directory(&self, make: bool) -> Result<Option<OwnedFd>, StorageError> {
        let mut path = self.base.clone();
        let base = match rustix::fs::open(&path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(Errno::NOENT) => {
                make_base(&path).map_err(|error| {
                    let what = format!("cannot make folder {}", path.display());
                    StorageError::from_io(&what, &error)
                })?;
                rustix::fs::open(&path, FOLDER, Mode::empty())
            }
            other => other,
        };
        let fail = |path: &PathBuf, error: Errno| {
            let error = std::io::Error::from(error);
            StorageError::from_io(&format!("cannot open folder {}", path.display()), &error)
        };
        let mut at = base.map_err(|e| fail(&path, e))?;
        for part in &self.below {
            path.push(part);
            let flags = FOLDER | OFlags::NOFOLLOW;
            let next = match rustix::fs::openat(&at, part.as_str(), flags, Mode::empty()) {
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&at, part.as_str(), Mode::RWXU) {
                        // Somebody else may have made it just now.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(fail(&path, e)),
                    }
                    rustix::fs::fsync(&at).map_err(|e| fail(&path, e))?;
                    rustix::fs::openat(&at, part.as_str(), flags, Mode::empty())
                }
                other => other,
            };
            at = next.map_err(|error| match error {
                // Linux says "not a directory" for a link that is not followed.
                Errno::LOOP | Errno::NOTDIR => StorageError::Invalid(format!(
                    "{} is not a folder but a file or a symbolic link, which is not followed here",
                    path.display()
                )),
                other => fail(&path, other),
            })?;
        }
        Ok(Some(at))
    }

    fn describe(&self, doing: &str, name: &str) -> String {
        format!("cannot {doing} {}", self.path().join(name).display())
    }

    fn fail(&self, doing: &str, name: &str, error: Errno) -> StorageError {
        StorageError::from_io(&self.describe(doing, name), &error.into())
    }

    fn status_flags(&self) -> AtFlags {
        if self.follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW }
    }

    pub(super) async fn size(self: &Arc<Self>, name: &str) -> Result<Option<u64>, StorageError> {
        let (folder, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let Some(directory) = folder.directory(false)? else { return Ok(None) };
            match rustix::fs::statat(&directory, name.as_str(), folder.status_flags()) {
                Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
                    Ok(Some(status.st_size.unsigned_abs()))
                }
                Ok(_) => Err(StorageError::Invalid(format!(
                    "{} is not a file",
                    folder.path().join(&name).display()
                ))),
                Err(Errno::NOENT) => Ok(None),
                Err(error) => Err(folder.fail("read", &name, error)),
            }
        })
        .await
    }

    pub(super) async fn open(self: &Arc<Self>, name: &str) -> Result<StoredObject, StorageError> {
        let (folder, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let what = folder.describe("read", &name);
            let Some(directory) = folder.directory(false)? else {
                return Err(StorageError::NotFound(format!("{what}: its folder does not exist")));
            };
            // Non-blocking: opening a named pipe would wait for a writer for ever.
            let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            if !folder.follow {
                flags |= OFlags::NOFOLLOW;
            }
            let file = rustix::fs::openat(&directory, name.as_str(), flags, Mode::empty())
                .map_err(|error| folder.fail("read", &name, error))?;
            let file = File::from(file);
            let status = file.metadata().map_err(|e| StorageError::from_io(&what, &e))?;
            if !status.is_file() {
                return Err(StorageError::Invalid(format!("{what}: it is not a file")));
            }
            Ok(StoredObject::folder(FolderObject::new(file, what), status.len()))
        })
        .await
    }

    pub(super) async fn delete(self: &Arc<Self>, name: &str) -> Result<bool, StorageError> {
        let (folder, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let Some(directory) = folder.directory(false)? else { return Ok(false) };
            folder.unlink(&directory, &name)
        })
        .await
    }

    /// Removes a file durably; false when there was none.
    fn unlink(&self, directory: &OwnedFd, name: &str) -> Result<bool, StorageError> {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(self.fail("delete", name, error)),
        }
        rustix::fs::fsync(directory).map_err(|error| self.fail("delete", name, error))?;
        Ok(true)
    }

    pub(super) async fn list(
        self: &Arc<Self>,
    ) -> Result<BoxStream<'static, Result<(String, u64), StorageError>>, StorageError> {
        let folder = self.clone();
        let mut archives = blocking(move || {
            let mut archives = Vec::new();
            let Some(directory) = folder.directory(false)? else { return Ok(archives) };
            let entries = Dir::read_from(&directory).map_err(|e| folder.fail("list", "", e))?;
            for entry in entries {
                let entry = entry.map_err(|error| folder.fail("list", "", error))?;
                let Some(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_str() else {
                    continue;
                };
                if !name::is_archive(name) {
                    continue;
                }
                match rustix::fs::statat(&directory, name, folder.status_flags()) {
                    Ok(status)
                        if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile =>
                    {
                        archives.push((name.to_owned(), status.st_size.unsigned_abs()));
                    }
                    // Not a file, or deleted since.
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(folder.fail("list", name, error)),
                }
            }
            Ok(archives)
        })
        .await?;
        archives.sort();
        Ok(stream::iter(archives.into_iter().map(Ok)).boxed())
    }

    pub(super) async fn folders(self: &Arc<Self>) -> Result<Vec<String>, StorageError> {
        let folder = self.clone();
        let mut names = blocking(move || {
            let mut names = Vec::new();
            let Some(directory) = folder.directory(false)? else { return Ok(names) };
            let entries = Dir::read_from(&directory).map_err(|e| folder.fail("list", "", e))?;
            for entry in entries {
                let entry = entry.map_err(|error| folder.fail("list", "", error))?;
                let Some(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_str() else {
                    continue;
                };
                let status = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
                let is_folder = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
                if !name.starts_with('.') && status.is_ok_and(|status| is_folder(status.st_mode)) {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        })
        .await?;
        names.sort();
        Ok(names)
    }

    pub(super) async fn upload(
        self: &Arc<Self>,
        name: &str,
        hint: UploadHint,
        journal: &dyn UploadJournal,
    ) -> Result<FolderUpload, StorageError> {
        let attempt = Uuid::new_v4().simple().to_string();
        record(journal, name, attempt.clone()).await?;
        let staged = upload::Staged::create(self.clone(), name, &attempt).await?;
        // The number tells whether a file found later under the name is the one written here.
        record(journal, name, format!("{attempt}:{}", staged.number())).await?;
        FolderUpload::start(staged, hint.memory)
    }

    pub(super) async fn clean(self: &Arc<Self>, remains: &Remains) -> Result<(), StorageError> {
        let Some(id) = remains.upload_id.clone() else { return Ok(()) };
        let (folder, name) = (self.clone(), remains.name.clone());
        blocking(move || {
            let Some(directory) = folder.directory(false)? else { return Ok(()) };
            let (attempt, number) = match id.split_once(':') {
                Some((attempt, number)) => (attempt, number.parse::<u64>().ok()),
                None => (id.as_str(), None),
            };
            if attempt.contains('/') {
                return Err(StorageError::Invalid(format!("{id:?} is no upload id")));
            }
            folder.unlink(&directory, &upload::staged_name(&name, attempt))?;
            if let Some(number) = number {
                match rustix::fs::statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(status) if status.st_ino == number => {
                        folder.unlink(&directory, &name)?;
                    }
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(folder.fail("delete", &name, error)),
                }
            }
            Ok(())
        })
        .await
    }
}

/// Makes a folder and those above it, so that they outlast a power cut.
fn make_base(path: &Path) -> std::io::Result<()> {
    let exists = path.ancestors().find(|above| above.exists());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for above in path.ancestors().skip(1) {
        File::open(above)?.sync_all()?;
        if Some(above) == exists {
            break;
        }
    }
    Ok(())
}

/// Runs what may wait for a disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StorageError::Other(format!("file access was interrupted: {error}")))?
}
