//! Where a spool's compressed frames wait: in memory while there is a share for them, then in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::budget::Budget;
use crate::frame::Encoded;
use crate::pool::Pool;
use crate::{Digest, Result};

/// Before each frame in the file: its length, its tar length, its digest.
const PREFIX: usize = 4 + 4 + 32;
/// What a frame in memory costs besides its bytes.
const OVERHEAD: usize = 256;

pub(crate) struct Store {
    memory: Vec<(Encoded, OwnedSemaphorePermit)>,
    file: Option<Arc<File>>,
    end: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { memory: Vec::new(), file: None, end: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }

    /// Adds the next frame.
    pub(crate) async fn push(
        &mut self,
        frame: Encoded,
        budget: &Budget,
        pool: &Pool,
        temp_dir: &Path,
    ) -> Result<()> {
        // Once there is a file everything goes there, so that the order is kept without a list.
        if self.file.is_none() {
            let cost = (frame.bytes.len() + OVERHEAD) as u32;
            if let Ok(permit) = Arc::clone(&budget.kept).try_acquire_many_owned(cost) {
                self.memory.push((frame, permit));
                return Ok(());
            }
        }
        let (file, at, temp_dir) = (self.file.clone(), self.end, temp_dir.to_owned());
        self.end += (PREFIX + frame.bytes.len()) as u64;
        self.file = Some(pool.run(move |_| write(file, at, &frame, &temp_dir)).await??);
        Ok(())
    }

    /// The frames in order.
    pub(crate) fn into_frames(self) -> Frames {
        Frames { memory: self.memory.into_iter(), file: self.file, at: 0, end: self.end }
    }

    #[cfg(test)]
    pub(crate) fn spilled(&self) -> u64 {
        self.end
    }
}

fn write(
    file: Option<Arc<File>>,
    at: u64,
    frame: &Encoded,
    temp_dir: &Path,
) -> io::Result<Arc<File>> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(tempfile::tempfile_in(temp_dir)?),
    };
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
    prefix[4..8].copy_from_slice(&frame.tar_length.to_le_bytes());
    prefix[8..].copy_from_slice(&frame.sha256.0);
    file.write_all_at(&prefix, at)?;
    file.write_all_at(&frame.bytes, at + PREFIX as u64)?;
    Ok(file)
}

pub(crate) struct Frames {
    memory: std::vec::IntoIter<(Encoded, OwnedSemaphorePermit)>,
    file: Option<Arc<File>>,
    at: u64,
    end: u64,
}

impl Frames {
    /// The next frame, with what it holds of the budget. A frame from the file is read once `window` has room for it.
    pub(crate) async fn next(
        &mut self,
        budget: &Budget,
        pool: &Pool,
    ) -> Result<Option<(Encoded, OwnedSemaphorePermit)>> {
        if let Some(kept) = self.memory.next() {
            return Ok(Some(kept));
        }
        let Some(file) = self.file.clone().filter(|_| self.at < self.end) else { return Ok(None) };
        let at = self.at;
        // Its length is not known yet, but no frame of a spool has more than this.
        let permit = Arc::clone(&budget.window)
            .acquire_many_owned(budget.spool_frame as u32)
            .await
            .map_err(|_| crate::Error::Closed)?;
        let frame = pool.run(move |_| read(&file, at)).await??;
        self.at += (PREFIX + frame.bytes.len()) as u64;
        Ok(Some((frame, permit)))
    }
}

fn read(file: &File, at: u64) -> io::Result<Encoded> {
    let mut prefix = [0; PREFIX];
    file.read_exact_at(&mut prefix, at)?;
    let number = |from: usize| {
        u32::from_le_bytes([prefix[from], prefix[from + 1], prefix[from + 2], prefix[from + 3]])
    };
    let mut bytes = vec![0; number(0) as usize];
    file.read_exact_at(&mut bytes, at + PREFIX as u64)?;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(&prefix[8..]);
    Ok(Encoded { bytes: Bytes::from(bytes), tar_length: number(4), sha256: Digest(sha256) })
}
