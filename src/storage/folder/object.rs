//! Reading a file at any position.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::Advice;
use rustix::io::Errno;

use super::super::StorageError;
use super::blocking;

pub(in super::super) struct FolderObject {
    file: File,
    /// "cannot read PATH", for errors.
    what: String,
}

impl FolderObject {
    pub(super) fn new(file: File, what: String) -> Self {
        // Archives are mostly read from front to end; where the system cannot take the hint, no harm.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        Self { file, what }
    }

    /// The bytes of `range`, which must lie within the file as it was when opened.
    pub(in super::super) async fn fetch(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        blocking(move || {
            let wanted = usize::try_from(range.end - range.start)
                .map_err(|_| StorageError::Invalid(format!("{}: too much at once", self.what)))?;
            let mut bytes = Vec::with_capacity(wanted);
            while bytes.len() < wanted {
                let position = range.start + bytes.len() as u64;
                match rustix::io::pread(&self.file, spare_capacity(&mut bytes), position) {
                    Ok(0) => {
                        return Err(StorageError::Other(format!(
                            "{}: it ends at byte {position}, sooner than when it was opened",
                            self.what
                        )));
                    }
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(StorageError::from_io(&self.what, &error.into())),
                }
            }
            // The allocation may be larger than was asked for.
            bytes.truncate(wanted);
            Ok(Bytes::from(bytes))
        })
        .await
    }
}
