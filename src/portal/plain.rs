//! Any folder or bucket: every file under its relative path.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::sources::Source;
use super::{PortalEntry, PortalError, PortalFile, PortalFiles};
use crate::source::files::{FileMeta, Listed};

/// The files of all filesystems: the first one's as `storage/…`, others' as `extra/files/{name}/…`.
pub fn files(sources: Arc<[Source]>) -> PortalFiles {
    from(sources, 0)
}

/// The files of all filesystems but DocSpace's own, which is the first.
pub fn others(sources: Arc<[Source]>) -> PortalFiles {
    from(sources, 1)
}

fn from(sources: Arc<[Source]>, first: usize) -> PortalFiles {
    let listings = (first..sources.len()).map(move |position| {
        let source = &sources[position];
        let folder = match position {
            0 => "storage".to_owned(),
            _ => format!("extra/files/{}", source.name),
        };
        let named = move |file: FileMeta| PortalFile {
            filesystem: position,
            member: format!("{folder}/{}", file.path),
            file,
            stored: None,
        };
        source.list("").map_err(PortalError::from).map_ok(move |listed| match listed {
            Listed::Skipped(reason) => PortalEntry::Skipped(reason),
            Listed::File(file) => PortalEntry::File(named(file)),
            Listed::Denied(file, why) => PortalEntry::Denied(named(file), why),
        })
    });
    stream::iter(listings.collect::<Vec<_>>()).flatten().boxed()
}
