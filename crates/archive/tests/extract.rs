//! Extraction never leaves its folder.

mod common;

use std::os::unix::fs::symlink;

use archive::{EntryKind, Error, NewEntry};
use common::*;

#[tokio::test(flavor = "multi_thread")]
async fn entries_come_to_their_places() {
    let (mut writer, gather) = writer(options(8 << 20));
    let content = text(5_000_000, 1);
    writer.append(entry("a/b/c.txt"), &content).await.unwrap();
    writer.append(NewEntry { kind: EntryKind::Directory, ..entry("a/empty") }, b"").await.unwrap();
    let archive = open(&finish(writer, gather).await.0).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    // Twice: what is there is replaced.
    for _ in 0..2 {
        for entry in list(&archive).await {
            let path = archive::extract(&archive, &entry, root.path()).await.unwrap();
            assert_eq!(path, root.path().join(&entry.path));
        }
    }
    let file = root.path().join("a/b/c.txt");
    assert!(std::fs::read(&file).unwrap() == content);
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_700_000_000);
    assert!(root.path().join("a/empty").is_dir());
    assert_eq!(std::fs::read_dir(root.path().join("a/b")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_not_followed() {
    let bytes = archive_of(&[("a/b", b"inside"), ("c", b"inside")]).await;
    let archive = open(&bytes).await.unwrap();
    let entries = list(&archive).await;
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    symlink(outside.path(), root.path().join("a")).unwrap();
    symlink(&victim, root.path().join("c")).unwrap();
    assert!(matches!(
        archive::extract(&archive, &entries[0], root.path()).await,
        Err(Error::Io(_))
    ));
    // A file that is a link is replaced, and what it led to stays.
    let path = archive::extract(&archive, &entries[1], root.path()).await.unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);

    let mut lying = entries[1].clone();
    lying.path = "../escaped".to_owned();
    assert!(matches!(
        archive::extract(&archive, &lying, root.path()).await,
        Err(Error::BadPath { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_content_leaves_nothing() {
    let bytes = archive_of(&[("a", &noise(3_000_000, 1))]).await;
    let mut changed = bytes.to_vec();
    changed[2_500_000] ^= 1;
    let archive = open(&changed.into()).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let entry = &list(&archive).await[0];
    assert!(matches!(archive::extract(&archive, entry, root.path()).await, Err(Error::Damaged(_))));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
