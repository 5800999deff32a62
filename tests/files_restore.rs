//! Filesystems put back: staged, swapped in, undone and finished, in folders and in buckets.

#[path = "support/s3.rs"]
mod s3;

#[path = "files_restore/buckets.rs"]
mod buckets;
#[path = "files_restore/folders.rs"]
mod folders;

use bytes::Bytes;
use futures::{StreamExt, stream};
use portal_backup::source::files::{Content, FileMeta, FilesStaging, Filesystem, Listed, Replaced};
use portal_backup::source::restore::AttemptId;

const TIME: i64 = 1_234_567_890;

fn attempt(name: &str) -> AttemptId {
    AttemptId::new(name).unwrap()
}

fn file(path: &str, size: usize) -> FileMeta {
    FileMeta {
        path: path.to_owned(),
        size: size as u64,
        modified: TIME,
        is_directory: false,
        version: None,
    }
}

/// In pieces that have nothing to do with what a staging writes at once.
fn content(bytes: &[u8]) -> Content {
    let pieces: Vec<_> =
        bytes.chunks(700_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

async fn put(staging: &FilesStaging, path: &str, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    staging.put(&file(path, bytes.len()), content(bytes)).await.unwrap();
}

/// The sentence with which it is refused.
async fn refusal(staging: &FilesStaging, path: &str, bytes: &[u8], size: usize) -> String {
    staging.put(&file(path, size), content(bytes)).await.unwrap_err().to_string()
}

fn in_folders(folders: &[&str], kept: &[&str]) -> Replaced {
    let text = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect();
    Replaced::Folders { folders: text(folders), kept: text(kept) }
}

/// Paths that a backup would see now.
async fn listed(filesystem: &Filesystem) -> Vec<String> {
    let found: Vec<_> = filesystem.list("").collect().await;
    let mut paths = Vec::new();
    for entry in found {
        if let Listed::File(file) = entry.unwrap() {
            paths.push(file.path);
        }
    }
    paths.sort();
    paths
}
