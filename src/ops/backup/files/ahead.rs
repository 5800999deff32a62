//! Reading files before they are written.

use archive::EntryRecord;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use super::super::chunked::Base;
use super::super::run::RunError;
use crate::jobs::Progress;
use crate::limits::Rate;
use crate::portal::{Portal, PortalEntry, PortalError, PortalFile};
use crate::source::files::{Content, FileMeta, FilesError, Opened};

/// Files up to this size are read before their header is written; of others the header says the size that they were
/// opened with.
const SMALL: u64 = 1 << 20;

/// A file ready to be written.
pub(super) enum Ready {
    Skipped(String),
    Directory(PortalFile),
    /// Of an increment: the parent has the same content.
    Same(PortalFile, EntryRecord),
    Whole(PortalFile, Bytes),
    Stream(PortalFile, BoxStream<'static, Result<Bytes, FilesError>>),
    /// Listed as a small file; it is opened only when its turn comes, because many may have grown.
    Grown(Candidate),
    /// Gone, or refused to us.
    Missing(PortalFile, FilesError),
}

/// A file to be read, and what the parent of an increment has under its name.
pub(super) struct Candidate {
    file: PortalFile,
    old: Option<EntryRecord>,
}

impl Candidate {
    /// Takes over what the file was when it was opened: it may have been replaced since it was listed.
    fn opened(&mut self, now: FileMeta, progress: &Progress) {
        progress.correct_total(now.size as i64 - self.file.file.size as i64);
        self.file.file = now;
    }

    /// Whether this is what the parent has, though its times or version have changed.
    fn is_old(&self, content: Sha256) -> bool {
        let known = self.old.as_ref().and_then(|old| old.sha256);
        known.is_some_and(|known| known.0[..] == content.finalize()[..])
    }
}

/// What is read in one go.
pub(super) enum Batch {
    Small(Vec<Candidate>),
    Large(Candidate),
    Known(Result<Ready, RunError>),
}

/// Keeps the order of what was found.
pub(super) fn batches(found: Vec<Result<PortalEntry, PortalError>>, base: &Base) -> Vec<Batch> {
    let mut batches = Vec::new();
    let (mut small, mut bytes) = (Vec::new(), 0);
    for entry in found {
        let next = match unread(entry, base) {
            Batch::Small(candidates) => {
                bytes += candidates.iter().map(|candidate| candidate.file.file.size).sum::<u64>();
                small.extend(candidates);
                if bytes < SMALL {
                    continue;
                }
                None
            }
            other => Some(other),
        };
        if !small.is_empty() {
            bytes = 0;
            batches.push(Batch::Small(std::mem::take(&mut small)));
        }
        batches.extend(next);
    }
    if !small.is_empty() {
        batches.push(Batch::Small(small));
    }
    batches
}

/// What is to be done about one entry of the listing.
fn unread(entry: Result<PortalEntry, PortalError>, base: &Base) -> Batch {
    let file = match entry {
        Ok(PortalEntry::File(file)) => file,
        Ok(PortalEntry::Skipped(reason)) => return Batch::Known(Ok(Ready::Skipped(reason))),
        Ok(PortalEntry::Denied(file, message)) => {
            let error = FilesError::Denied { path: file.file.path.clone(), message };
            return Batch::Known(Ok(Ready::Missing(file, error)));
        }
        Err(error) => return Batch::Known(Err(error.into())),
    };
    // Names that no archive can hold; one of them must not stop the backup of all others.
    if let Err(error) = archive::clean_path(&file.member) {
        let error = FilesError::Denied { path: file.file.path.clone(), message: error.to_string() };
        return Batch::Known(Ok(Ready::Missing(file, error)));
    }
    let old = base.parent.as_ref().map(|parent| parent.file(&file.member, &file.file));
    let old = match old.transpose() {
        Ok(old) => old.flatten(),
        Err(error) => return Batch::Known(Err(error)),
    };
    let old = match old {
        Some((old, true)) => return Batch::Known(Ok(Ready::Same(file, old))),
        Some((old, false)) => Some(old),
        None => None,
    };
    if file.file.is_directory {
        return Batch::Known(Ok(match old {
            Some(old) => Ready::Same(file, old),
            None => Ready::Directory(file),
        }));
    }
    match file.file.size > SMALL {
        true => Batch::Large(Candidate { file, old }),
        false => Batch::Small(vec![Candidate { file, old }]),
    }
}

pub(super) async fn read(
    portal: &Portal,
    limit: &Rate,
    progress: &Progress,
    batch: Batch,
) -> Result<Vec<Ready>, RunError> {
    match batch {
        Batch::Known(known) => Ok(vec![known?]),
        Batch::Large(candidate) => Ok(vec![large(portal, limit, progress, candidate).await?]),
        Batch::Small(candidates) => {
            let (files, old): (Vec<_>, Vec<_>) =
                candidates.into_iter().map(|candidate| (candidate.file, candidate.old)).unzip();
            let contents = portal.read_small(&files).await;
            let whole = |content: &(_, Option<Bytes>)| content.1.as_ref().map_or(0, Bytes::len);
            limit.take(contents.iter().flatten().map(whole).sum()).await;
            let ready = |((file, old), content)| small(Candidate { file, old }, content, progress);
            files.into_iter().zip(old).zip(contents).map(ready).collect()
        }
    }
}

fn small(
    mut candidate: Candidate,
    content: Result<Opened<Option<Bytes>>, FilesError>,
    progress: &Progress,
) -> Result<Ready, RunError> {
    let content = match content {
        Ok((now, Some(content))) => {
            candidate.opened(now, progress);
            content
        }
        Ok((_, None)) => return Ok(Ready::Grown(candidate)),
        Err(error) => return missing(candidate.file, error),
    };
    if candidate.old.is_some()
        && candidate.is_old(Sha256::new_with_prefix(&content))
        && let Some(old) = candidate.old
    {
        return Ok(Ready::Same(candidate.file, old));
    }
    Ok(Ready::Whole(candidate.file, content))
}

pub(super) async fn large(
    portal: &Portal,
    limit: &Rate,
    progress: &Progress,
    mut candidate: Candidate,
) -> Result<Ready, RunError> {
    if candidate.old.is_some()
        && let Ok((now, content)) = portal.read(&candidate.file).await
        // Only its times have changed, as far as is known: it is read for its digest alone first.
        && let Ok(digest) = digest(content, limit).await
        && candidate.is_old(digest)
        && let Some(old) = candidate.old.take()
    {
        candidate.opened(now, progress);
        return Ok(Ready::Same(candidate.file, old));
    }
    match portal.read(&candidate.file).await {
        Ok((now, content)) => {
            candidate.opened(now, progress);
            Ok(Ready::Stream(candidate.file, content))
        }
        Err(error) => missing(candidate.file, error),
    }
}

/// A file that is gone or refused is named; anything else may hit the next file too.
fn missing(file: PortalFile, error: FilesError) -> Result<Ready, RunError> {
    match error {
        FilesError::NotFound { .. } | FilesError::Denied { .. } => Ok(Ready::Missing(file, error)),
        other => Err(RunError::Failed(other.to_string())),
    }
}

async fn digest(mut content: Content, limit: &Rate) -> Result<Sha256, RunError> {
    let mut digest = Sha256::new();
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(|error| RunError::Failed(error.to_string()))?;
        limit.take(piece.len()).await;
        let work = move || {
            digest.update(&piece);
            digest
        };
        digest = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| RunError::Internal(error.to_string()))?;
    }
    Ok(digest)
}
