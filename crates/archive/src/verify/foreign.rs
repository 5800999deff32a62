//! Verifying an archive that something else wrote.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::names::Seen;
use super::{Report, hash_only};
use crate::pull::Pull;
use crate::reader::{drain, walk_blocking};
use crate::{Error, Format, MANIFEST, Piece, ReadAt, Result};

pub(super) async fn verify(
    source: Arc<dyn ReadAt>,
    format: Format,
    progress: &(impl Fn(u64) + Sync),
    report: &mut Report,
) -> Result<()> {
    let (counted, mut counts) = Counted::new(Arc::clone(&source));
    let pull = Pull::new(Arc::new(counted), 0..source.len(), true);
    let walk = tokio::task::spawn_blocking(move || walk(pull, format == Format::GzipTar));
    while let Some(bytes) = counts.recv().await {
        progress(bytes);
    }
    let walked = walk.await.map_err(|_| Error::Closed)??;
    let (tar_bytes, sha256) = (walked.tar_bytes, walked.sha256);
    let failed = !walked.ok();
    report.add(walked);
    report.tar_bytes = tar_bytes;
    report.sha256 = sha256;
    // Reading stopped at the damage, so the digest has to be made from the start.
    if failed { hash_only(&*source, &|_| (), report).await } else { Ok(()) }
}

fn walk(pull: Pull, gzip: bool) -> Result<Report> {
    let mut report = Report::default();
    let mut seen = Seen::default();
    let mut ours = Ours::default();
    let walked = walk_blocking(pull, gzip, &mut |piece| {
        match piece {
            Piece::Entry(entry) => {
                report.count(&entry);
                if seen.again(&entry.path) {
                    report.warning(format!(
                        "the entry {:?} is there twice: the last one counts",
                        entry.path
                    ));
                }
                ours.entry(&entry.path);
            }
            Piece::Data(bytes) => ours.data(&bytes),
            Piece::End => {}
            Piece::Warning(text) => report.warning(text),
        }
        Ok(())
    });
    match walked {
        Ok((tar_bytes, mut pull)) => {
            report.tar_bytes = tar_bytes;
            drain(&mut pull)?;
            report.sha256 = pull.digest().map(|digest| digest.0).unwrap_or_default();
        }
        Err(error) => report.note(error)?,
    }
    if seen.full() {
        report.warning("it has too many entries to look for every name that is there twice");
    }
    if ours.is_manifest() {
        report.problem("it has a manifest of Portal Backup, but its tail is missing or damaged");
    }
    Ok(report)
}

/// Recognises our manifest as the last entry: an archive with one is not foreign, it has lost its tail.
#[derive(Default)]
struct Ours {
    last: bool,
    start: Vec<u8>,
}

impl Ours {
    fn entry(&mut self, path: &str) {
        self.last = path == MANIFEST;
        self.start.clear();
    }

    fn data(&mut self, bytes: &[u8]) {
        if self.last && self.start.len() < 10 {
            self.start.extend_from_slice(&bytes[..bytes.len().min(10)]);
        }
    }

    fn is_manifest(&self) -> bool {
        self.last && self.start.starts_with(b"{\"format\":")
    }
}

/// Tells how much is read.
struct Counted {
    source: Arc<dyn ReadAt>,
    counts: mpsc::UnboundedSender<u64>,
}

impl Counted {
    fn new(source: Arc<dyn ReadAt>) -> (Self, mpsc::UnboundedReceiver<u64>) {
        let (counts, receiver) = mpsc::unbounded_channel();
        (Self { source, counts }, receiver)
    }
}

#[async_trait]
impl ReadAt for Counted {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        let bytes = self.source.read_at(range).await?;
        // Nobody listens any more when the verification was dropped.
        let _ = self.counts.send(bytes.len() as u64);
        Ok(bytes)
    }
}
