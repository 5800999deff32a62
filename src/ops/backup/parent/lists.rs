//! Where the lists of a parent's chunks are read.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use archive::{Archive, EntryRecord};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::ops::backup::run::RunError;

/// So much is read at once.
const PIECE: u64 = 1 << 20;

pub enum Lists {
    Archive(Archive),
    Kept(KeptLists),
}

/// The lists of a memo, in a file without a name.
pub struct KeptLists {
    pub file: Arc<File>,
    /// Where each begins, by its name.
    pub places: HashMap<String, u64>,
}

impl Lists {
    /// The content of a list.
    pub fn read(&self, list: &EntryRecord) -> BoxStream<'static, Result<Bytes, RunError>> {
        match self {
            Self::Archive(archive) => archive.read(list, None).map_err(RunError::from).boxed(),
            Self::Kept(kept) => kept.read(list),
        }
    }
}

impl KeptLists {
    fn read(&self, list: &EntryRecord) -> BoxStream<'static, Result<Bytes, RunError>> {
        let Some(&start) = self.places.get(&list.path) else {
            let error = RunError::Failed(format!("the parent's list {} was not kept", list.path));
            return stream::iter([Err(error)]).boxed();
        };
        let (file, end) = (Arc::clone(&self.file), start + list.size);
        let pieces = (start..end).step_by(PIECE as usize).map(move |at| {
            let mut piece = vec![0; PIECE.min(end - at) as usize];
            // The system most probably holds it in memory.
            file.read_exact_at(&mut piece, at)
                .map_err(|error| RunError::Failed(format!("backup.temp_dir: {error}")))?;
            Ok(Bytes::from(piece))
        });
        stream::iter(pieces).boxed()
    }
}
