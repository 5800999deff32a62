//! Content of unknown size, within a small budget and side by side.

mod common;

use std::time::Duration;

use archive::{EntryKind, Error, NewEntry};
use bytes::Bytes;
use common::*;
use tokio::time::timeout;

const MIB: usize = 1 << 20;

fn data(path: &str) -> NewEntry {
    NewEntry { kind: EntryKind::Data, rows: Some(1), ..entry(path) }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_spools_at_once_in_sixteen_mib() {
    let work = async {
        let (mut writer, gather) = writer(options(16 * MIB));
        let spools = writer.spools();
        let fed: Vec<_> = (0..8_u64)
            .map(|n| {
                let mut spool = spools.spool();
                tokio::spawn(async move {
                    let content =
                        if n % 2 == 0 { noise(20 * MIB, n + 1) } else { text(20 * MIB, n) };
                    for chunk in content.chunks(100_000) {
                        spool.write(chunk).await.unwrap();
                    }
                    (spool, sha256(&content))
                })
            })
            .collect();
        // Meanwhile the writer writes.
        for n in 0..40 {
            writer.append(entry(&format!("file/{n}")), &noise(MIB, n)).await.unwrap();
        }
        let mut finished = Vec::new();
        for (n, task) in fed.into_iter().enumerate() {
            finished.push((n, task.await.unwrap()));
        }
        for (n, (spool, digest)) in finished {
            let record = writer.append_spool(data(&format!("table/{n}")), spool).await.unwrap();
            assert_eq!(record.sha256.unwrap().0, digest);
        }
        finish(writer, gather).await.0
    };
    let bytes = timeout(Duration::from_secs(120), work).await.expect("a deadlock");
    let report = verify(&bytes).await;
    assert!(report.ok(), "{:?}", report.problems);
    assert_eq!((report.entries, report.files, report.rows), (48, 40, 8));
}

/// One task feeds all spools by turns, and the writer too: nothing may wait for what only this task could free.
#[tokio::test]
async fn one_task_feeds_many_spools_by_turns() {
    let work = async {
        let (mut writer, gather) = writer(options(MIB));
        let mut spools: Vec<_> = (0..30).map(|_| writer.spool()).collect();
        writer.begin(entry("file"), 60 * 100_000).await.unwrap();
        for round in 0..60 {
            for spool in &mut spools {
                spool.write(&text(50_000, round)).await.unwrap();
            }
            writer.write(noise(100_000, round).into()).await.unwrap();
        }
        writer.end().await.unwrap();
        for (n, spool) in spools.into_iter().enumerate() {
            writer.append_spool(data(&n.to_string()), spool).await.unwrap();
        }
        finish(writer, gather).await.0
    };
    let bytes = timeout(Duration::from_secs(120), work).await.expect("a deadlock");
    assert!(verify(&bytes).await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gone_receiver_stops_everything() {
    let (sink, chunks) = tokio::sync::mpsc::channel::<Bytes>(1);
    let mut writer = archive::Writer::new(options(4 * MIB), sink);
    // Nobody receives: the writer fills its memory and waits.
    let content = Bytes::from(noise(20 * MIB, 1));
    writer.begin(entry("x"), 20 * MIB as u64).await.unwrap();
    let writing = tokio::spawn(async move { (writer.write(content).await, writer) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!writing.is_finished());
    drop(chunks);
    let (result, mut writer) = timeout(Duration::from_secs(5), writing).await.unwrap().unwrap();
    assert!(matches!(result, Err(Error::SinkClosed)), "{result:?}");
    assert!(matches!(writer.begin(entry("y"), 1).await, Err(Error::SinkClosed)));
    assert!(matches!(writer.end().await, Err(Error::SinkClosed)));
    assert!(matches!(writer.finish(info()).await, Err(Error::SinkClosed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_writer_stops_its_spools_and_threads() {
    let (writer, gather) = writer(options(4 * MIB));
    let mut spool = writer.spool();
    spool.write(&noise(10 * MIB, 1)).await.unwrap();
    drop(writer);
    assert!(timeout(Duration::from_secs(5), gather).await.unwrap().unwrap().is_empty());
    let mut result = Ok(());
    for _ in 0..100 {
        result = spool.write(&noise(MIB, 2)).await;
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(Error::Closed)));
    assert!(matches!(spool.write(b"x").await, Err(Error::Interrupted)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_call_is_noticed() {
    let (sink, _chunks) = tokio::sync::mpsc::channel::<Bytes>(1);
    let mut writer = archive::Writer::new(options(2 * MIB), sink);
    writer.begin(entry("x"), 100 * MIB as u64).await.unwrap();
    let content = Bytes::from(noise(20 * MIB, 1));
    assert!(timeout(Duration::from_millis(100), writer.write(content)).await.is_err());
    assert!(matches!(writer.write(Bytes::from_static(b"x")).await, Err(Error::Interrupted)));
    assert!(matches!(writer.finish(info()).await, Err(Error::Interrupted | Error::EntryOpen(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_temporary_folder_is_an_error() {
    let mut options = options(2 * MIB);
    options.temp_dir = "/nonexistent".into();
    let (writer, _gather) = writer(options);
    let mut spool = writer.spool();
    let mut result = Ok(());
    for n in 0..40 {
        result = spool.write(&noise(MIB, n)).await;
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(Error::Io(_))), "{result:?}");
}
