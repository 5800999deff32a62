//! The archive's end: the manifest, assembled from lines that were spooled, then tar's end and the tail.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Summary;
use super::stream::TarStream;
use crate::emit::{Listed, Output};
use crate::spool::Spool;
use crate::tail::{self, Tail};
use crate::{BLOCK, EntryKind, Error, MANIFEST, ManifestInfo, Result, header, manifest, padding};

/// What the writer knows of the entries.
pub(super) struct Written {
    /// Their records, as lines of the manifest.
    pub(super) lines: Spool,
    pub(super) increment: bool,
    pub(super) entries: u64,
    /// The latest of their times, Unix seconds.
    pub(super) latest: i64,
}

pub(super) async fn finish(
    mut stream: TarStream,
    written: Written,
    info: ManifestInfo,
) -> Result<Summary> {
    stream.flush()?;
    let (reply, listed) = oneshot::channel();
    stream.output(Output::EndOfList(reply))?;
    let Listed { lines: frames, frames: frame_count, offset } = answer(&stream, listed).await?;
    let tar_offset = stream.tar_offset();

    let format = if written.increment { manifest::INCREMENT } else { manifest::FORMAT };
    let first = ManifestInfo { format, ..info }.first_line()? + "\n";
    let middle = format!("\n{}\n", manifest::ENTRIES);
    let last = format!("\n{}\n", manifest::END);
    let size =
        (first.len() + middle.len() + last.len()) as u64 + frames.len() + written.lines.len();
    stream.put(&header::build(MANIFEST, EntryKind::Info, size, written.latest)?).await?;
    stream.put(first.as_bytes()).await?;
    list(&mut stream, frames).await?;
    stream.put(middle.as_bytes()).await?;
    list(&mut stream, written.lines).await?;
    stream.put(last.as_bytes()).await?;
    let end = padding(size) + 2 * BLOCK;
    stream.put(&vec![0; end as usize]).await?;
    stream.flush()?;

    let (reply, sha256) = oneshot::channel();
    stream.output(Output::EndOfManifest(reply))?;
    let sha256 = answer(&stream, sha256).await??;
    let tar_bytes = stream.tar_offset();
    let length = stream.position() - offset;
    let tail = Tail { offset, length, tar_offset, tar_bytes, sha256 };
    stream.output(Output::Tail(Bytes::copy_from_slice(&tail.to_bytes())))?;
    let sha256 = stream.end().await?.0;
    let bytes = offset + length + tail::LENGTH as u64;
    Ok(Summary { entries: written.entries, frames: frame_count, tar_bytes, bytes, sha256 })
}

async fn list(stream: &mut TarStream, lines: Spool) -> Result<()> {
    let spooled = lines.finish().await?;
    if !spooled.store.is_empty() {
        stream.embed(None, spooled.store).await?;
    }
    stream.put(&spooled.rest).await
}

async fn answer<T>(stream: &TarStream, reply: oneshot::Receiver<T>) -> Result<T> {
    match reply.await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            stream.check()?;
            Err(Error::Closed)
        }
    }
}
