//! Writing entries to disk, never outside of the folder given.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, renameat, unlinkat};

use crate::source::blocking;
use crate::{Archive, EntryKind, EntryRecord, Result, clean_path};

/// Writes an entry of `archive` to its place below the folder `root`, and returns that place: see [`Extraction`].
pub async fn extract(archive: &Archive, entry: &EntryRecord, root: &Path) -> Result<PathBuf> {
    let mut extraction = Extraction::begin(entry, root).await?;
    if entry.kind != EntryKind::Directory {
        let mut content = archive.read(entry, None);
        while let Some(bytes) = content.try_next().await? {
            extraction.write(bytes).await?;
        }
    }
    extraction.end().await
}

/// An entry on its way to its place below a folder, which must exist. Folders on the way are made. What is there is
/// replaced once the content is whole and checked; until then it is written under another name, beside it. Symbolic
/// links below `root` are not followed, also not when they appear meanwhile: a folder that is one is an error, a file
/// that is one is replaced.
pub struct Extraction {
    target: PathBuf,
    /// None of a folder.
    file: Option<Unfinished>,
}

struct Unfinished {
    file: File,
    part: Part,
    name: String,
    modified: SystemTime,
}

impl Extraction {
    /// Errors with [`crate::Error::BadPath`] for names that lead outside.
    pub async fn begin(entry: &EntryRecord, root: &Path) -> Result<Self> {
        let path = clean_path(&entry.path)?;
        let (target, root) = (root.join(&path), root.to_owned());
        if entry.kind == EntryKind::Directory {
            blocking(move || folder(&root, &path)).await?;
            return Ok(Self { target, file: None });
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (parent, name) = (parent.to_owned(), name.to_owned());
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.mtime.max(0) as u64);
        let (file, part) =
            blocking(move || Part::create(Arc::new(folder(&root, &parent)?))).await?;
        Ok(Self { target, file: Some(Unfinished { file, part, name, modified }) })
    }

    /// The next of its content.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(mut open) = self.file.take() else { return Ok(()) };
        let written = blocking(move || {
            open.file.write_all(&bytes)?;
            Ok(open)
        });
        self.file = Some(written.await?);
        Ok(())
    }

    /// All of it was written: it takes its name. Its place.
    pub async fn end(self) -> Result<PathBuf> {
        if let Some(Unfinished { file, part, name, modified }) = self.file {
            blocking(move || {
                file.set_modified(modified)?;
                part.rename(&name)
            })
            .await?;
        }
        Ok(self.target)
    }
}

/// Opens the folder `path` below `root`, making what is missing.
fn folder(root: &Path, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut folder = open(root, flags, Mode::empty())?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

/// A file under a name of its own, removed unless it is renamed.
struct Part {
    folder: Arc<OwnedFd>,
    name: Option<String>,
}

impl Part {
    fn create(folder: Arc<OwnedFd>) -> io::Result<(File, Self)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".portal-backup-{}-{count}.part", std::process::id());
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&*folder, &name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => return Ok((File::from(file), Self { folder, name: Some(name) })),
                // Left by an earlier process with this number.
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn rename(mut self, name: &str) -> io::Result<()> {
        if let Some(own) = &self.name {
            renameat(&*self.folder, own, &*self.folder, name)?;
            self.name = None;
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing more can be done about what cannot be removed.
            let _ = unlinkat(&*self.folder, name, AtFlags::empty());
        }
    }
}
