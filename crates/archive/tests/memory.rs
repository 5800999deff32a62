//! How much memory a large archive takes. Alone in its file, so that no other test shares its process.

mod common;

use bytes::Bytes;
use common::*;

const MIB: usize = 1 << 20;

/// What the system says this process holds at most, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// A manifest of 200 000 entries takes no more memory than its budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_manifest_in_little_memory() {
    let (sink, mut chunks) = tokio::sync::mpsc::channel::<Bytes>(2);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    let gather = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        while let Some(chunk) = chunks.blocking_recv() {
            file.write_all(&chunk).unwrap();
        }
        file
    });
    let mut writer = archive::Writer::new(options(2 * MIB), sink);
    let before = peak();
    for n in 0..200_000_u64 {
        writer
            .append(
                entry(&format!("storage/files/folder_{}/file_{n}/content.docx", n / 1000)),
                &n.to_le_bytes(),
            )
            .await
            .unwrap();
    }
    let summary = writer.finish(info()).await.unwrap();
    let file = gather.await.unwrap();
    // The lines of the manifest alone are 60 MiB.
    let written = peak() - before;
    assert!(written < 20 * MIB, "writing took {} MiB", written / MIB);
    assert_eq!(summary.entries, 200_000);
    let source = std::sync::Arc::new(archive::LocalFile::open(&path).await.unwrap());
    let report = archive::verify(source, 2, |_| {}).await.unwrap();
    assert!(report.ok(), "{:?}", report.problems);
    assert_eq!(report.entries, 200_000);
    assert_eq!(report.sha256, summary.sha256);
    drop(file);
    let verified = peak() - before;
    println!("writing took {} MiB, verifying {} MiB", written / MIB, verified / MIB);
    assert!(verified < 50 * MIB, "verifying took {} MiB", verified / MIB);
}
