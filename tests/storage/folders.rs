//! What only folders have: modes, links, full disks.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use portal_backup::storage::{StorageError, StorageType, Storages};

use crate::disk::SmallDisk;
use crate::tools::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_may_read_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    put(&local(dir.path(), "new/deep"), "a.tar.gz", &content(10)).await.unwrap();
    assert_eq!(mode(&dir.path().join("new")), 0o700);
    assert_eq!(mode(&dir.path().join("new/deep")), 0o700);
    assert_eq!(mode(&dir.path().join("new/deep/a.tar.gz")), 0o600);
    let missing = dir.path().join("not/yet");
    put(&local(&missing, ""), "a.tar.gz", &content(10)).await.unwrap();
    assert_eq!(mode(&missing), 0o700);
}

#[tokio::test]
async fn a_link_made_after_the_request_is_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let storage = local(dir.path(), "a/b");
    std::fs::create_dir(dir.path().join("a")).unwrap();
    symlink(outside.path(), dir.path().join("a/b")).unwrap();
    std::fs::write(outside.path().join("x.tar.gz"), "secret").unwrap();
    for error in [
        put(&storage, "y.tar.gz", &content(10)).await.err(),
        storage.open("x.tar.gz").await.err(),
        storage.delete("x.tar.gz").await.err(),
        storage.list().await.err(),
    ] {
        let error = error.expect("a link was followed");
        assert!(matches!(error, StorageError::Invalid(_)), "{error}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn links_and_pipes_are_no_archives() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("shadow"), "secret").unwrap();
    symlink(outside.path().join("shadow"), dir.path().join("link.tar.gz")).unwrap();
    let pipe = dir.path().join("pipe.tar.gz");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(dir.path().join("dir.tar.gz")).unwrap();
    let storage = local(dir.path(), "");
    for name in ["link.tar.gz", "pipe.tar.gz", "dir.tar.gz"] {
        let opened = tokio::time::timeout(std::time::Duration::from_secs(5), storage.open(name));
        assert!(opened.await.expect("opening hangs").is_err(), "{name}");
        assert!(put(&storage, name, &content(1)).await.is_err(), "{name}");
    }
    assert_eq!(names(&storage).await, Vec::<String>::new());
    // But the operator may name a link.
    let storages = Storages::new(&config(dir.path())).unwrap();
    let url = url::Url::from_file_path(dir.path().join("link.tar.gz")).unwrap();
    let (storage, name) = storages.by_url(&url).unwrap();
    assert_eq!(get(&storage, &name, 0..6).await, "secret");
}

#[tokio::test]
async fn a_file_cut_while_it_is_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(dir.path(), "");
    put(&storage, "a.tar.gz", &content(1000)).await.unwrap();
    let object = storage.open("a.tar.gz").await.unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("a.tar.gz"))
        .unwrap()
        .set_len(500)
        .unwrap();
    assert!(object.fetch(0..500).await.is_ok());
    let error = object.fetch(0..1000).await.unwrap_err().to_string();
    assert!(error.contains("it ends at byte 500"), "{error}");
}

#[tokio::test]
async fn an_upload_whose_staged_file_vanished_fails() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(dir.path(), "");
    let journal = Journal::new();
    let mut upload = storage.upload("a.tar.gz", hint(10), journal.clone()).await.unwrap();
    upload.write(content(10)).await.unwrap();
    // A process that was taken for dead, and cleaned up after, goes on.
    storage.clean(&journal.last()).await.unwrap();
    upload.complete().await.unwrap_err();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_disk_fails_the_upload_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let storage = local(disk.path(), "backups");
    let error = put(&storage, "a.tar.gz", &content(20 << 20)).await.unwrap_err();
    assert!(matches!(error, StorageError::Full(_)), "{error:?}");
    assert!(error.to_string().contains("no space left on device"), "{error}");
    assert!(error.to_string().contains("a.tar.gz"), "{error}");
    assert_eq!(std::fs::read_dir(disk.path().join("backups")).unwrap().count(), 0);
    put(&storage, "a.tar.gz", &content(2 << 20)).await.unwrap();

    // All bytes taken into memory before the disk refuses them.
    let mut upload = storage.upload("b.tar.gz", hint(0), Journal::new()).await.unwrap();
    let _ = upload.write(content(8 << 20)).await;
    let error = upload.complete().await.unwrap_err();
    assert!(matches!(error, StorageError::Full(_)), "{error:?}");
    assert_eq!(names(&storage).await, ["a.tar.gz"]);
}

#[tokio::test]
async fn every_configured_storage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let storages = Storages::new(&config(dir.path())).unwrap();
    let all = storages.all_configured();
    let kinds: Vec<_> = all.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [StorageType::Local, StorageType::DataStore]);
    assert_eq!(all[0].1.local_path().unwrap(), dir.path());
    assert_eq!(all[1].1.local_path().unwrap(), dir.path().join("datastore"));
    put(&all[1].1, "a.tar.gz", &content(10)).await.unwrap();
}
