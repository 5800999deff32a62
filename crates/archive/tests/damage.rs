//! Any change of any byte is found, and nothing that is damaged makes the reader fail otherwise than by an error.

mod common;

use archive::{EntryKind, NewEntry};
use bytes::Bytes;
use common::*;
use proptest::prelude::*;

/// Small, but with everything: stored and compressed frames, several of them, a long name, a folder, notes.
async fn sample() -> Bytes {
    let (mut writer, gather) = writer(options(0));
    writer.append(entry("dump"), b"True").await.unwrap();
    writer.append(entry(&"long/".repeat(30)), &text(3000, 1)).await.unwrap();
    writer.append(entry("noise"), &noise(1500, 2)).await.unwrap();
    let folder =
        NewEntry { kind: EntryKind::Directory, note: Some("a note".to_owned()), ..entry("folder") };
    writer.append(folder, b"").await.unwrap();
    let mut spool = writer.spool();
    spool.write(&text(70_000, 3)[..66_000]).await.unwrap();
    writer.append_spool(entry("spooled"), spool).await.unwrap();
    finish(writer, gather).await.0
}

/// Opens, lists, reads and verifies; whatever happens is fine as long as it is an error. Returns whether verification
/// found nothing.
async fn exercise(bytes: Bytes) -> bool {
    if let Ok(archive) = open(&bytes).await {
        use futures::{StreamExt, TryStreamExt};
        let entries: Vec<_> =
            archive.entries().filter_map(|entry| async { entry.ok() }).take(50).collect().await;
        for entry in &entries {
            let _ = archive
                .read(entry, None)
                .try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) })
                .await;
            let _ = archive.read(entry, Some(1..7)).try_collect::<Vec<_>>().await;
        }
        let _ = archive.contents().try_for_each(|_| async { Ok(()) }).await;
    }
    let report = verify(&bytes).await;
    assert_eq!(report.sha256, sha256(&bytes));
    assert_eq!(report.ok(), report.problems.is_empty());
    report.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_byte_is_found() {
    let bytes = sample().await;
    assert!(exercise(bytes.clone()).await);
    for at in 0..bytes.len() {
        // One bit or several, so that all bits have their turn.
        for flip in [1 << (at % 8), 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            assert!(!verify(&changed.into()).await.ok(), "byte {at} of {}, {flip:#x}", bytes.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_truncation_is_found() {
    let bytes = sample().await;
    for len in 0..bytes.len() {
        assert!(!verify(&bytes.slice(..len)).await.ok(), "cut after {len}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_is_found() {
    let bytes = sample().await;
    let member = archive_of(&[("other", b"x")]).await;
    for extra in [&b"\0"[..], b"x", &[0; 512], &member] {
        for longer in [[&bytes, extra].concat(), [extra, &bytes].concat()] {
            // A whole archive behind another one is an archive with an unreachable beginning.
            assert!(!verify(&longer.into()).await.ok(), "{} bytes", extra.len());
        }
    }
}

#[test]
fn readers_survive_damage() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bytes = runtime.block_on(sample());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5);
    let cut = (any::<prop::sample::Index>(), 0..200_usize);
    proptest!(ProptestConfig::with_cases(300), |(changes in changes, cut in cut)| {
        let mut changed = bytes.to_vec();
        for (at, value) in changes {
            let at = at.index(changed.len());
            changed[at] = value;
        }
        let at = cut.0.index(changed.len());
        changed.drain(at..changed.len().min(at + cut.1));
        let same = changed == bytes;
        prop_assert_eq!(runtime.block_on(exercise(changed.into())), same);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any entries come back, and any flipped byte of their archive is found.
    #[test]
    fn any_archive_shows_any_change(
        files in prop::collection::btree_map("[a-zé/]{1,40}[a-z]{1,120}", (0..200_000_usize, any::<bool>(), any::<u64>()), 0..12),
        places in prop::collection::vec(any::<prop::sample::Index>(), 10),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut names = std::collections::BTreeMap::new();
            for (name, (len, compresses, seed)) in files {
                let Ok(name) = archive::clean_path(&name) else { continue };
                names.insert(name, if compresses { text(len, seed) } else { noise(len, seed) });
            }
            let (mut writer, gather) = writer(options(1 << 20));
            for (name, content) in &names {
                writer.append(entry(name), content).await.unwrap();
            }
            let (bytes, _) = finish(writer, gather).await;
            assert!(verify(&bytes).await.ok());
            let read = contents(&open(&bytes).await.unwrap()).await;
            assert!(read.into_iter().map(|(entry, content)| (entry.path, content)).eq(names));
            for place in places {
                let mut changed = bytes.to_vec();
                changed[place.index(bytes.len())] ^= 0x10;
                assert!(!verify(&changed.into()).await.ok());
            }
        });
    }
}
