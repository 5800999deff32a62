//! Archives uploaded for a restore, one a tenant, through DocSpace's chunked protocol.
//!
//! A chunk counts only when all of it has arrived: it is received into a file without a name and appended
//! then, so that a broken connection leaves the upload at its last whole chunk, where the client goes on.

mod folder;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::app::App;
use crate::jobs::{JobFilter, JobKind};
use crate::ops::OpError;
use folder::{Folder, State};

/// The most bytes of one chunk.
pub const CHUNK: u64 = 10_485_760;
/// How long nothing may arrive of a chunk.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER: usize = 1 << 20;
/// An upload that nobody goes on with is removed after this.
pub const UNFINISHED_FOR: Duration = Duration::from_secs(24 * 3600);
/// A whole archive that nobody restores is removed after this: it holds every secret of a portal.
pub const FINISHED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What kind of file is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extension {
    #[serde(rename = "tar")]
    Tar,
    #[serde(rename = "tar.gz")]
    TarGz,
    /// Encrypted with age.
    #[serde(rename = "tar.gz.age")]
    Age,
}

impl Extension {
    /// Reads `tar`, `tar.gz` or `tar.gz.age`, in any case and with or without a dot before it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase().as_str() {
            "tar" => Some(Self::Tar),
            "tar.gz" => Some(Self::TarGz),
            "tar.gz.age" | "age" => Some(Self::Age),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Age => "tar.gz.age",
        }
    }
}

/// Which bytes of the file a chunk says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub start: u64,
    /// The first byte after it.
    pub end: u64,
    /// The whole file's bytes; None: not said.
    pub total: Option<u64>,
}

/// How far an upload is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub bytes: u64,
    pub total: u64,
}

impl Received {
    pub fn is_complete(self) -> bool {
        self.bytes == self.total
    }
}

/// Begins an upload of `total` bytes. What the tenant had uploaded before, whole or not, is gone then.
pub async fn begin(
    app: &App,
    tenant: i64,
    total: u64,
    extension: Extension,
) -> Result<Received, OpError> {
    if total == 0 {
        return Err(OpError::Invalid("totalSize must be more than 0".to_owned()));
    }
    if restore_runs(app).await? {
        return Err(OpError::Conflict(
            "a restore is under way: upload again when it has ended".to_owned(),
        ));
    }
    let folder = Folder::of(app)?;
    blocking(move || folder.begin(tenant, total, extension)).await?;
    Ok(Received { bytes: 0, total })
}

/// Appends one chunk to the tenant's upload. `extent`: where the client says that it belongs; a chunk that
/// is there already is not taken twice. On an error the upload is as it was.
pub async fn append<S, E>(
    app: &App,
    tenant: i64,
    extent: Option<Extent>,
    chunk: &mut S,
) -> Result<Received, OpError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let folder = Folder::of(app)?;
    let Some(state) = at(&folder, move |folder| folder.state(tenant)).await? else {
        let whole = at(&folder, move |folder| folder.whole(tenant)).await?;
        return match (whole, extent) {
            (Some((_, total)), Some(extent)) if extent.is_within(total, total) => {
                Ok(Received { bytes: total, total })
            }
            (Some(_), _) => Err(OpError::Invalid(
                "the upload is complete already: begin another one with init=true".to_owned(),
            )),
            (None, _) => {
                Err(OpError::Invalid("no upload was begun: send init=true first".to_owned()))
            }
        };
    };
    if let Some(extent) = extent {
        if extent.is_within(state.received, state.total) {
            return Ok(state.into());
        }
        extent.check(&state)?;
    }
    let file = at(&folder, Folder::nameless).await?;
    let (file, length) = receive(file, &state, chunk).await?;
    if length == 0 {
        return Err(OpError::Invalid("the chunk is empty".to_owned()));
    }
    if extent.is_some_and(|extent| extent.end - extent.start != length) {
        return Err(OpError::Invalid(format!(
            "the chunk has {length} bytes, which is not what its Content-Range says"
        )));
    }
    blocking(move || folder.commit(tenant, &state, file, length)).await
}

/// How far the tenant's upload is; None: there is none.
pub async fn status(app: &App, tenant: i64) -> Result<Option<Received>, OpError> {
    let folder = Folder::of(app)?;
    blocking(move || {
        if let Some(state) = folder.state(tenant)? {
            return Ok(Some(state.into()));
        }
        Ok(folder.whole(tenant)?.map(|(_, total)| Received { bytes: total, total }))
    })
    .await
}

/// The archive that a tenant uploaded, complete; None: there is none.
pub async fn uploaded(app: &App, tenant: i64) -> Option<PathBuf> {
    let folder = Folder::of(app).ok()?;
    let whole = blocking(move || folder.whole(tenant)).await;
    match whole {
        Ok(whole) => whole.map(|(path, _)| path),
        Err(error) => {
            tracing::warn!(%error, "cannot look for an uploaded archive");
            None
        }
    }
}

/// Removes what a tenant uploaded, after it was restored. What cannot be removed goes with its age.
pub async fn remove(app: &App, tenant: i64) {
    let removed = async {
        let folder = Folder::of(app)?;
        blocking(move || folder.remove(tenant)).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%error, "cannot remove an uploaded archive");
    }
}

/// Removes uploads that nobody has gone on with, or restored, for long. `now`: the time to compare with.
/// Returns how many files it removed.
pub async fn sweep(app: &App, now: SystemTime) -> Result<usize, OpError> {
    if restore_runs(app).await? {
        return Ok(0);
    }
    let folder = Folder::of(app)?;
    blocking(move || folder.sweep(now)).await
}

/// Sweeps at once and then every hour, until dropped.
pub async fn keep_swept(app: &App) {
    loop {
        match sweep(app, SystemTime::now()).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed abandoned uploads"),
            Err(error) => tracing::warn!(%error, "cannot look for abandoned uploads"),
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

async fn restore_runs(app: &App) -> Result<bool, OpError> {
    let filter =
        JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
    Ok(app.queue.latest(filter).await?.is_some())
}

impl Extent {
    /// Whether all of it is among the `received` bytes of a file of `total`.
    fn is_within(&self, received: u64, total: u64) -> bool {
        self.end <= received && self.total.is_none_or(|known| known == total)
    }

    fn check(&self, state: &State) -> Result<(), OpError> {
        if let Some(total) = self.total.filter(|total| *total != state.total) {
            return Err(OpError::Invalid(format!(
                "Content-Range says that the file has {total} bytes, but {} were announced",
                state.total
            )));
        }
        if self.start != state.received {
            return Err(OpError::Invalid(format!(
                "the chunk is out of order: it begins at byte {}, byte {} is next",
                self.start, state.received
            )));
        }
        Ok(())
    }
}

impl From<State> for Received {
    fn from(state: State) -> Self {
        Self { bytes: state.received, total: state.total }
    }
}

/// Takes a chunk into a file of its own; returns the file and how many bytes there were.
async fn receive<S, E>(
    file: std::fs::File,
    state: &State,
    chunk: &mut S,
) -> Result<(std::fs::File, u64), OpError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut writer = BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file));
    let mut length = 0;
    let broken = || OpError::Invalid("the chunk did not arrive whole: send it again".to_owned());
    while let Some(piece) =
        tokio::time::timeout(PATIENCE, chunk.next()).await.map_err(|_| broken())?
    {
        let piece = piece.map_err(|_| broken())?;
        length += piece.len() as u64;
        if length > CHUNK {
            return Err(OpError::Invalid(format!("a chunk may have at most {CHUNK} bytes")));
        }
        if length > state.total - state.received {
            return Err(OpError::Invalid(format!(
                "the file would be larger than the {} bytes that were announced",
                state.total
            )));
        }
        writer.write_all(&piece).await.map_err(|error| folder::failed(&error))?;
    }
    writer.flush().await.map_err(|error| folder::failed(&error))?;
    Ok((writer.into_inner().into_std().await, length))
}

/// Looks at the folder on a thread that may wait for the disc.
async fn at<T: Send + 'static>(
    folder: &Folder,
    work: impl FnOnce(&Folder) -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    let folder = folder.clone();
    blocking(move || work(&folder)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    tokio::task::spawn_blocking(work).await.map_err(OpError::internal)?
}

#[cfg(test)]
#[path = "uploads/tests.rs"]
mod tests;
