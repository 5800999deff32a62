//! Indexes into the archive: captured before anything else is opened, so that the database knows of everything that
//! they do.

use std::sync::{Mutex, PoisonError};

use archive::{EntryKind, NewEntry, Writer};
use futures::StreamExt;

use super::chunked::{Base, refer};
use super::run::RunError;
use crate::app::App;
use crate::jobs::JobContext;
use crate::limits::Rate;
use crate::portal::EXTRA_INDEX;
use crate::source::files::FileMeta;
use crate::source::index::{Capture, IndexError};

/// An index of one moment, still to be written.
pub struct CapturedIndex {
    name: String,
    capture: Capture,
}

/// What was done with each file of the indexes, for those who tell of it while the backup goes on.
#[derive(Default)]
pub struct IndexFiles(Mutex<Vec<IndexFile>>);

/// A file of an index, by its index and path.
pub struct IndexFile {
    pub path: String,
    /// Or else copied.
    pub linked: bool,
}

impl IndexFiles {
    fn add(&self, index: &str, capture: &Capture) {
        let files = capture
            .ways()
            .map(|(path, linked)| IndexFile { path: format!("{index}/{path}"), linked });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
    }

    /// Those that were not taken yet.
    pub fn take(&self) -> Vec<IndexFile> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Captures all indexes. One that cannot be captured is named and left out: it can be built again.
pub async fn capture(
    app: &App,
    ctx: &JobContext,
    told: Option<&IndexFiles>,
) -> Result<Vec<CapturedIndex>, RunError> {
    let mut captured = Vec::new();
    for source in app.portal.indexes() {
        let name = source.name.clone();
        match source.index.capture(ctx.cancel.token()).await {
            Ok(capture) => {
                if let Some((path, error)) = unstorable(&capture) {
                    ctx.warn(left_out(&name, format!("{path:?}: {error}")));
                    continue;
                }
                for warning in capture.warnings() {
                    ctx.warn(format!("index {name}: {warning}"));
                }
                if let Some(told) = told {
                    told.add(&name, &capture);
                }
                captured.push(CapturedIndex { name, capture });
            }
            Err(IndexError::Stopped) => return Err(RunError::Cancelled),
            Err(error) => ctx.warn(left_out(&name, error)),
        }
    }
    Ok(captured)
}

fn left_out(name: &str, why: impl std::fmt::Display) -> String {
    format!("index {name} was left out, and a restore will have it built again: {why}")
}

/// A name that no archive can hold.
fn unstorable(capture: &Capture) -> Option<(String, archive::Error)> {
    capture.files().find_map(|file| {
        let member = format!("{EXTRA_INDEX}x/{}", file.path);
        Some((file.path.clone(), archive::clean_path(&member).err()?))
    })
}

pub fn bytes(indexes: &[CapturedIndex]) -> u64 {
    indexes.iter().map(|index| index.capture.bytes()).sum()
}

pub fn names(indexes: &[CapturedIndex]) -> Vec<String> {
    indexes.iter().map(|index| index.name.clone()).collect()
}

/// Appends the captured files, and lets go of them.
pub async fn store(
    indexes: Vec<CapturedIndex>,
    writer: &mut Writer,
    ctx: &JobContext,
    base: &Base,
    limit: &Rate,
) -> Result<(), RunError> {
    for CapturedIndex { name, capture } in indexes {
        let failed = |error: IndexError| RunError::Failed(format!("index {name}: {error}"));
        for file in capture.files() {
            let entry = entry(&name, file);
            ctx.progress.current(&entry.path);
            if file.is_directory {
                writer.append(entry, &[]).await?;
                continue;
            }
            // Of an increment: files of an index are never changed, but replaced.
            if let Some(parent) = &base.parent
                && let Some((old, true)) = parent.file(&entry.path, file)?
            {
                ctx.progress.correct_total(-(file.size as i64));
                refer(writer, old, entry).await?;
                continue;
            }
            let mut content = capture.read(file).await.map_err(failed)?;
            writer.begin(entry, file.size).await?;
            while let Some(piece) = content.next().await {
                let piece = piece.map_err(|error| failed(error.into()))?;
                limit.take(piece.len()).await;
                ctx.progress.add(piece.len() as u64);
                writer.write(piece).await.map_err(|error| match error {
                    archive::Error::TooLong { .. } => {
                        failed(IndexError::Changed(file.path.clone()))
                    }
                    other => other.into(),
                })?;
            }
            writer.end().await.map_err(|error| match error {
                archive::Error::TooShort { .. } => failed(IndexError::Changed(file.path.clone())),
                other => other.into(),
            })?;
        }
        capture.unchanged().await.map_err(failed)?;
    }
    Ok(())
}

fn entry(index: &str, file: &FileMeta) -> NewEntry {
    NewEntry {
        path: format!("{EXTRA_INDEX}{index}/{}", file.path),
        kind: if file.is_directory { EntryKind::Directory } else { EntryKind::File },
        mtime: file.modified,
        rows: None,
        note: None,
        version: file.version.clone(),
    }
}
