//! Verifying an archive of ours: frames are checked and unpacked side by side, their content is walked in order.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{CHUNK, Report, hash_only, names, walk};
use crate::pool::{Pending, Pool};
use crate::pull::read_exact;
use crate::reader::Framed;
use crate::tail::Tail;
use crate::{Compression, Digest, Error, ReadAt, Result};

pub(super) async fn verify(
    source: Arc<dyn ReadAt>,
    tail: Tail,
    workers: usize,
    progress: &(impl Fn(u64) + Sync),
    report: &mut Report,
) -> Result<()> {
    report.tar_bytes = tail.tar_bytes;
    let framed = match Framed::open(Arc::clone(&source), tail).await {
        Ok(framed) => Arc::new(framed),
        Err(error) => {
            report.note(error)?;
            return hash_only(&*source, progress, report).await;
        }
    };
    report.info = Some(framed.info.clone());
    report.frames = framed.frames.len() as u64;

    let (content, received) = mpsc::channel(2);
    let walking = Arc::clone(&framed);
    let pull = framed.pull();
    let walker = tokio::task::spawn_blocking(move || walk::walk(&walking, pull, received));

    let mut hashes = Hashes::new();
    let mut groups = framed.fetch(0..framed.frames.len(), workers + 1).boxed();
    while let Some(group) = groups.try_next().await? {
        for fetched in group {
            progress(fetched.compressed.len() as u64);
            hashes.add(fetched.compressed, false).await?;
            let piece = match fetched.content {
                Ok(bytes) => walk::Content::Data(bytes),
                Err(error) => {
                    report.note(error)?;
                    walk::Content::Missing(fetched.tar_length)
                }
            };
            // A walker that gave up has said why; the frames are still checked.
            drop(content.send(piece).await);
        }
    }
    drop(content);

    rest(&*source, &framed.tail, progress, &mut hashes).await?;
    let (whole, manifest) = hashes.finish().await?;
    report.sha256 = whole.0;
    let walked = walker.await.map_err(|_| Error::Closed)??;
    report.add(walked);
    if manifest != framed.tail.sha256 && report.ok() {
        report.problem("the manifest's digest is not what the tail says");
    }
    if report.ok() {
        names::check(&framed, report).await?;
    }
    Ok(())
}

/// Hashes the manifest and the tail.
async fn rest(
    source: &dyn ReadAt,
    tail: &Tail,
    progress: &(impl Fn(u64) + Sync),
    hashes: &mut Hashes,
) -> Result<()> {
    let manifest_end = tail.offset + tail.length;
    let mut at = tail.offset;
    while at < source.len() {
        let limit = if at < manifest_end { manifest_end } else { source.len() };
        let end = limit.min(at + CHUNK);
        let bytes = read_exact(source, at..end).await?;
        hashes.add(bytes, at < manifest_end).await?;
        progress(end - at);
        at = end;
    }
    Ok(())
}

/// The digests of the whole file and of its manifest, made on a thread of their own, which is never far behind.
struct Hashes {
    thread: Pool,
    digests: std::sync::Arc<std::sync::Mutex<(Sha256, Sha256)>>,
    before: Option<Pending<()>>,
}

impl Hashes {
    fn new() -> Self {
        Self { thread: Pool::new(1, Compression::None), digests: Arc::default(), before: None }
    }

    async fn add(&mut self, bytes: Bytes, manifest: bool) -> Result<()> {
        let digests = Arc::clone(&self.digests);
        let next = self.thread.submit(move |_| {
            let mut digests = digests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            digests.0.update(&bytes);
            if manifest {
                digests.1.update(&bytes);
            }
        })?;
        match self.before.replace(next) {
            Some(before) => before.wait().await,
            None => Ok(()),
        }
    }

    async fn finish(mut self) -> Result<(Digest, Digest)> {
        if let Some(before) = self.before.take() {
            before.wait().await?;
        }
        let digests =
            self.digests.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Ok((Digest(digests.0.finalize().into()), Digest(digests.1.finalize().into())))
    }
}
