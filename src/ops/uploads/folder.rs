//! Where uploads lie on disc: a folder in the local storage's root, which outlives restarts, has room for
//! archives, is shared by the processes of an installation, and is left out of backups.
//!
//! Of tenant 7 there are `7-backup.part` and `7-backup.json` (how far it is) while chunks come in, and
//! `7-backup.tar.gz`, `7-backup.tar` or `7-backup.tar.gz.age` when it is whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Extension, FINISHED_FOR, Received, UNFINISHED_FOR};
use crate::app::App;
use crate::ops::OpError;
use crate::storage::UPLOADS;

const LOCK: &str = "lock";

#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// How far an unfinished upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Told anew by each `begin`, so that a chunk of an earlier upload is known.
    id: Uuid,
    extension: Extension,
    pub total: u64,
    /// Bytes of whole chunks; what the part holds beyond them does not count.
    pub received: u64,
}

impl Folder {
    /// Makes nothing yet.
    pub fn of(app: &App) -> Result<Self, OpError> {
        let root =
            std::path::absolute(&app.config.storage.local.root).map_err(OpError::internal)?;
        Ok(Self(root.join(UPLOADS)))
    }

    fn file(&self, tenant: i64, ending: &str) -> PathBuf {
        self.0.join(format!("{tenant}-backup.{ending}"))
    }

    /// The state of the tenant's unfinished upload.
    pub fn state(&self, tenant: i64) -> Result<Option<State>, OpError> {
        let Some(state) = self.recorded(tenant)? else { return Ok(None) };
        let there = size(&self.file(tenant, "part"))?.is_some_and(|size| size >= state.received);
        Ok(Some(state).filter(|state| there && state.received < state.total))
    }

    fn recorded(&self, tenant: i64) -> Result<Option<State>, OpError> {
        match std::fs::read(self.file(tenant, "json")) {
            // What cannot be read is as good as none: the client begins again.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The tenant's whole archive and its size.
    pub fn whole(&self, tenant: i64) -> Result<Option<(PathBuf, u64)>, OpError> {
        if let Some(state) = self.recorded(tenant)? {
            if state.received < state.total {
                return Ok(None);
            }
            let _lock = self.lock()?;
            self.finish(tenant, &state).map_err(|error| failed(&error))?;
        }
        for extension in [Extension::TarGz, Extension::Tar, Extension::Age] {
            let path = self.file(tenant, extension.as_str());
            if let Some(size) = size(&path)? {
                return Ok(Some((path, size)));
            }
        }
        Ok(None)
    }

    pub fn begin(&self, tenant: i64, total: u64, extension: Extension) -> Result<(), OpError> {
        self.make().map_err(|error| {
            let text = format!("uploads cannot be kept under storage.local.root: {error}");
            OpError::Unavailable(text)
        })?;
        let _lock = self.lock()?;
        let mut free = free_space(&self.0).map_err(|error| failed(&error))?;
        for path in self.all(tenant) {
            free += size(&path)?.unwrap_or(0);
        }
        if total > free {
            return Err(OpError::Invalid(format!(
                "there is not enough space: the file has {total} bytes, {free} are free"
            )));
        }
        self.remove_files(tenant)?;
        let part = self.file(tenant, "part");
        create(&part).map_err(|error| failed(&error))?;
        self.record(tenant, &State { id: Uuid::new_v4(), extension, total, received: 0 })
    }

    /// A file for a chunk that nobody sees, and that is gone when it is closed.
    pub fn nameless(&self) -> Result<File, OpError> {
        tempfile::tempfile_in(&self.0).map_err(|error| failed(&error))
    }

    /// Appends a chunk. `seen`: the state that it was received for.
    pub fn commit(
        &self,
        tenant: i64,
        seen: &State,
        mut chunk: File,
        length: u64,
    ) -> Result<Received, OpError> {
        let _lock = self.lock()?;
        let state = self.state(tenant)?;
        let Some(mut state) = state.filter(|state| state.id == seen.id) else {
            return Err(OpError::Conflict("the upload was begun anew meanwhile".to_owned()));
        };
        if state.received != seen.received {
            return Err(OpError::Conflict(
                "another chunk arrived meanwhile: send them one after the other".to_owned(),
            ));
        }
        let part = self.file(tenant, "part");
        let mut append = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).open(&part)?;
            file.set_len(state.received)?;
            file.seek(SeekFrom::Start(state.received))?;
            chunk.seek(SeekFrom::Start(0))?;
            if io::copy(&mut chunk, &mut file)? != length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            file.sync_data()
        };
        append().map_err(|error| failed(&error))?;
        state.received += length;
        self.record(tenant, &state)?;
        if state.received == state.total {
            self.finish(tenant, &state).map_err(|error| failed(&error))?;
        }
        Ok(state.into())
    }

    /// Gives a whole upload its name; may be repeated after a crash.
    fn finish(&self, tenant: i64, state: &State) -> io::Result<()> {
        let part = self.file(tenant, "part");
        match std::fs::rename(part, self.file(tenant, state.extension.as_str())) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(&self.0)?.sync_all()?;
        remove_file(&self.file(tenant, "json"))
    }

    pub fn remove(&self, tenant: i64) -> Result<(), OpError> {
        match std::fs::exists(&self.0) {
            Ok(true) => {
                let _lock = self.lock()?;
                self.remove_files(tenant)
            }
            _ => Ok(()),
        }
    }

    fn all(&self, tenant: i64) -> impl Iterator<Item = PathBuf> {
        // The state goes first: without it the rest is nothing to go on with.
        ["json", "part", "tar.gz", "tar", "tar.gz.age"]
            .into_iter()
            .map(move |end| self.file(tenant, end))
    }

    fn remove_files(&self, tenant: i64) -> Result<(), OpError> {
        for path in self.all(tenant) {
            remove_file(&path).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Removes what is too old; returns how many files that were.
    pub fn sweep(&self, now: SystemTime) -> Result<usize, OpError> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            entries => entries.map_err(|error| failed(&error))?,
        };
        let _lock = self.lock()?;
        let mut removed = 0;
        for entry in entries {
            let path = entry.map_err(|error| failed(&error))?.path();
            let Some(keep) = path.file_name().and_then(|name| keep_for(name.to_str()?)) else {
                continue;
            };
            let changed = match std::fs::symlink_metadata(&path).and_then(|file| file.modified()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                changed => changed.map_err(|error| failed(&error))?,
            };
            if now.duration_since(changed).is_ok_and(|age| age > keep) {
                remove_file(&path).map_err(|error| failed(&error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Writes the state so that a reader sees the old or the new one.
    fn record(&self, tenant: i64, state: &State) -> Result<(), OpError> {
        let text = serde_json::to_vec(state).map_err(OpError::internal)?;
        let new = self.file(tenant, "json.new");
        let write = || {
            let mut file = create(&new)?;
            io::Write::write_all(&mut file, &text)?;
            file.sync_data()?;
            std::fs::rename(&new, self.file(tenant, "json"))
        };
        write().map_err(|error| failed(&error))
    }

    fn make(&self) -> io::Result<()> {
        if let Some(root) = self.0.parent() {
            std::fs::create_dir_all(root)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Held while files are changed: by one process and one request at a time, and never across a wait
    /// for a client.
    fn lock(&self) -> Result<File, OpError> {
        let lock = || {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(self.0.join(LOCK))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error: io::Error| failed(&error))
    }
}

/// How long a file of this name is kept; None: it is none of ours, or kept for good.
fn keep_for(name: &str) -> Option<std::time::Duration> {
    let (tenant, ending) = name.split_once("-backup.")?;
    tenant.parse::<i64>().ok()?;
    match ending {
        "json" | "json.new" | "part" => Some(UNFINISHED_FOR),
        "tar" | "tar.gz" | "tar.gz.age" => Some(FINISHED_FOR),
        _ => None,
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn size(path: &Path) -> Result<Option<u64>, OpError> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(file.is_file().then_some(file.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn free_space(path: &Path) -> io::Result<u64> {
    let disc = rustix::fs::statvfs(path)?;
    Ok(disc.f_bavail.saturating_mul(disc.f_frsize))
}

/// An error of the disc as a client may read it.
pub(super) fn failed(error: &io::Error) -> OpError {
    let text = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no space is left".to_owned(),
        _ => error.to_string(),
    };
    OpError::Unavailable(format!("the upload cannot be kept: {text}"))
}
