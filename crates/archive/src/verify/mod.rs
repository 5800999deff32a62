//! Reading a whole archive and reporting everything that is wrong with it.

mod foreign;
mod framed;
mod links;
mod names;
mod walk;

use std::sync::Arc;

pub use links::verify_links;

use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};

use crate::pull::read_exact;
use crate::reader::{find_tail, recognise};
use crate::{EntryKind, EntryRecord, Error, Format, ManifestInfo, ReadAt, Result};

/// How many problems, and how many warnings, are told one by one.
const TOLD: usize = 100;
/// What is read at once where no frame says it.
const CHUNK: u64 = 1 << 20;
/// How many of these are asked for at once: one after the other, a distant store would be slow.
const AT_ONCE: usize = 4;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// None: it is no archive, or too damaged to say which.
    pub format: Option<Format>,
    /// From the manifest.
    pub info: Option<ManifestInfo>,
    /// Entries whose header and content were read.
    pub entries: u64,
    /// Of them, those of [`EntryKind::File`].
    pub files: u64,
    /// Of them, those of [`EntryKind::Scheme`].
    pub tables: u64,
    /// Whether the marker of a backup of the whole installation is in it.
    pub marker: bool,
    /// Whether the list of its files is in it.
    pub restore_info: bool,
    /// The rows that the entries say they hold.
    pub rows: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Bytes of the tar stream.
    pub tar_bytes: u64,
    pub frames: u64,
    /// Of the whole archive.
    pub sha256: [u8; 32],
    /// What is wrong, in the archive's order; the first 100.
    pub problems: Vec<String>,
    /// How many there are altogether.
    pub problem_count: u64,
    /// What a person should know though nothing is wrong; the first 100.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether the archive is whole and unchanged.
    pub fn ok(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, text: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(text.into());
        }
    }

    fn warning(&mut self, text: impl Into<String>) {
        if self.warnings.len() < TOLD {
            self.warnings.push(text.into());
        }
    }

    /// Notes an error that says something about the archive; gives back one that says something about the reading.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Damaged(text) | Error::Hostile(text) => self.problem(text),
            Error::Link { .. }
            | Error::NewerFormat(_)
            | Error::NotAnArchive
            | Error::BadPath { .. } => self.problem(error.to_string()),
            other => return Err(other),
        }
        Ok(())
    }

    fn count(&mut self, entry: &EntryRecord) {
        self.entries += 1;
        self.files += u64::from(entry.kind == EntryKind::File);
        self.tables += u64::from(entry.kind == EntryKind::Scheme);
        self.marker |= entry.kind == EntryKind::Marker;
        self.restore_info |= entry.path == "storage/restore_info";
        self.rows = self.rows.saturating_add(entry.rows.unwrap_or(0));
    }

    /// Adds what another report counted and found.
    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.files += other.files;
        self.tables += other.tables;
        self.marker |= other.marker;
        self.restore_info |= other.restore_info;
        self.rows = self.rows.saturating_add(other.rows);
        self.problem_count += other.problem_count;
        let room = TOLD - self.problems.len();
        self.problems.extend(other.problems.into_iter().take(room));
        let room = TOLD - self.warnings.len();
        self.warnings.extend(other.warnings.into_iter().take(room));
    }
}

/// Reads every byte of an archive and checks all that can be checked. For archives of ours: each frame's digest and
/// content, each header and content against the manifest, the manifest and the tail, and that there is nothing else; so
/// any change of any byte is found. For others: the compression's checksums, tar's structure and its end.
///
/// `workers`: frames unpacked at once. `progress` gets the number of bytes read since it was last called.
/// Errors only when reading fails; what is wrong with the archive is in the report. Memory is bounded whatever the
/// archive holds: about 12 MiB a worker, and at most 64 MiB for finding names that are there twice.
pub async fn verify(
    source: Arc<dyn ReadAt>,
    workers: usize,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Report> {
    let mut report = Report { bytes: source.len(), ..Report::default() };
    match find_tail(&*source).await {
        Ok(Some(tail)) => {
            report.format = Some(Format::Framed);
            framed::verify(source, tail, workers.max(1), &progress, &mut report).await?;
            return Ok(report);
        }
        Ok(None) => {}
        Err(error) => {
            report.note(error)?;
            report.format = Some(Format::Framed);
            hash_only(&*source, &progress, &mut report).await?;
            return Ok(report);
        }
    }
    match recognise(&*source).await {
        Ok(format) => {
            report.format = Some(format);
            foreign::verify(source, format, &progress, &mut report).await?;
        }
        Err(error) => {
            report.note(error)?;
            hash_only(&*source, &progress, &mut report).await?;
        }
    }
    Ok(report)
}

/// The SHA-256 of a whole file, read once from its start and whatever it is. `progress` as for [`verify`].
pub async fn sha256(source: &dyn ReadAt, progress: impl Fn(u64) + Sync) -> Result<[u8; 32]> {
    let starts = (0..source.len()).step_by(CHUNK as usize);
    let chunks = starts.map(|start| read_exact(source, start..source.len().min(start + CHUNK)));
    let mut chunks = stream::iter(chunks).buffered(AT_ONCE);
    let mut digest = Sha256::new();
    while let Some(bytes) = chunks.try_next().await? {
        let length = bytes.len() as u64;
        digest = hash_elsewhere(digest, bytes).await?;
        progress(length);
    }
    Ok(digest.finalize().into())
}

/// For a file that nothing else can be said of.
async fn hash_only(
    source: &dyn ReadAt,
    progress: &(impl Fn(u64) + Sync),
    report: &mut Report,
) -> Result<()> {
    report.sha256 = sha256(source, progress).await?;
    Ok(())
}

async fn hash_elsewhere(mut digest: Sha256, bytes: bytes::Bytes) -> Result<Sha256> {
    let hash = move || {
        digest.update(&bytes);
        digest
    };
    tokio::task::spawn_blocking(hash).await.map_err(|_| Error::Closed)
}
