//! What the fuzz targets and an ordinary test do to a reader. Depends on nothing but the crate and its public
//! dependencies, because the fuzz targets include this file.

use std::sync::Arc;

use archive::{Archive, Report};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

/// Opens, lists, reads and verifies arbitrary bytes. None of it may panic, hang or need much memory; errors are fine.
/// What verification finds nothing wrong with must be readable.
pub async fn exercise(bytes: Bytes) -> Report {
    let source = Arc::new(bytes.clone());
    let report = archive::verify(Arc::clone(&source) as Arc<_>, 2, |_| {})
        .await
        .expect("memory can be read");
    assert_eq!(report.ok(), report.problems.is_empty());
    match Archive::open(source).await {
        Ok(archive) => {
            assert_eq!(report.format, Some(archive.format()));
            read(&archive, report.ok()).await;
        }
        Err(error) => assert!(!report.ok(), "{error}"),
    }
    report
}

async fn read(archive: &Archive, sound: bool) {
    let entries: Vec<_> = archive.entries().take(20).collect().await;
    for entry in &entries {
        match entry {
            Ok(entry) => {
                assert_eq!(archive::clean_path(&entry.path).ok().as_ref(), Some(&entry.path));
                let length = archive
                    .read(entry, None)
                    .try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64))
                    .await;
                assert!(!sound || length.is_ok_and(|length| length == entry.size));
                let part = archive.read(entry, Some(1..9)).try_collect::<Vec<_>>().await;
                assert!(!sound || part.is_ok());
            }
            Err(error) => assert!(!sound, "{error}"),
        }
    }
    let pieces = archive.contents().try_for_each(async |_| Ok(())).await;
    assert!(!sound || pieces.is_ok());
}

/// Applies changes described by arbitrary bytes: of each four, where (two), what, and how.
pub fn mutate(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (changed.len() + 1);
        let (value, rest) = (change[2], changed.len() - at);
        match change[3] % 6 {
            0 => changed.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
            1 => changed.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
            2 => changed.insert(at, value),
            3 => drop(changed.drain(at..at + rest.min(usize::from(value)))),
            4 => changed.truncate(at),
            _ => {
                let copy = changed[at..at + rest.min(usize::from(value))].to_vec();
                changed.splice(at..at, copy);
            }
        }
    }
    changed
}
