//! The portal's own documents, through DocSpace's API (its sessions as its public source has them).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portal_backup::config::{ByteSize, Config, Secret};
use portal_backup::limits::Rate;
use portal_backup::storage::{
    FILE_ID, PORTAL_TOKEN, Remains, Storage, StorageError, StorageType, Storages,
};

use crate::files::{Behaviour, CHUNK, CLOUD_FOLDER, DocSpaceFiles, FOLDER, KEY};
use crate::tools::*;

fn config_for(server: &DocSpaceFiles) -> Config {
    let mut config = config(Path::new("/nonexistent"));
    config.portal.docspace.url = Some(server.url().parse().unwrap());
    config.portal.docspace.api_key = Secret::new(KEY);
    config
}

fn folder(server: &DocSpaceFiles) -> Storage {
    let storages = Storages::new(&config_for(server)).unwrap();
    storages.resolve(StorageType::Documents, &params(&[("folderId", FOLDER)])).unwrap()
}

/// Uploads; the file's id.
async fn send(storage: &Storage, name: &str, length: usize) -> Result<String, StorageError> {
    let mut upload = storage.upload(name, hint(length), Journal::new()).await?;
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    assert!(upload.sends_late(&Rate::default(), move |bytes| {
        count.fetch_add(bytes, Ordering::SeqCst);
    }));
    let mut rest = content(length);
    while !rest.is_empty() {
        upload.write(rest.split_to(rest.len().min(123_457))).await?;
    }
    assert_eq!(told.load(Ordering::SeqCst), 0);
    let id = upload.complete().await?.expect("documents have ids");
    // Also where a chunk was sent twice.
    assert_eq!(told.load(Ordering::SeqCst), length as u64);
    Ok(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_goes_in_chunks_and_is_read_back() {
    for behaviour in [
        Behaviour::default(),
        Behaviour { no_ranges: true, ..Behaviour::default() },
        Behaviour { old: true, ..Behaviour::default() },
    ] {
        let server = DocSpaceFiles::start(behaviour).await;
        let storage = folder(&server);
        // Less than a chunk, exactly chunks, and chunks with a rest; names that are awkward in a form.
        for (name, length) in [
            ("small.tar.gz", 1000),
            ("even.tar.gz", 2 * CHUNK),
            ("ö \"q\" %41.tar.gz", 9 * CHUNK + 77),
        ] {
            assert_eq!(storage.unused_name(name).await.unwrap(), name);
            let id = send(&storage, name, length).await.unwrap();
            let stored = server.state().files[&id].clone();
            assert_eq!((stored.title.as_str(), stored.folder.as_str()), (name, FOLDER));
            assert!(stored.content == content(length), "{name} {behaviour:?}");

            let file = storage.of_archive(Some(&id));
            assert_eq!(
                file.object_url(name).as_str(),
                format!("{}/api/2.0/files/file/{id}", server.url())
            );
            // People rename files; the id stays.
            server.state().files.get_mut(&id).unwrap().title = "renamed".to_owned();
            assert_eq!(file.size(name).await.unwrap(), Some(length as u64));
            assert!(get(&file, name, 0..length as u64).await == content(length));
            for range in [0..1, 5..999, 0..length as u64 / 2, length as u64 - 1..length as u64] {
                let part = content(length).slice(range.start as usize..range.end as usize);
                assert!(get(&file, name, range.clone()).await == part, "{name} {range:?}");
            }
            server.state().files.get_mut(&id).unwrap().title = name.to_owned();
            assert_eq!(storage.unused_name("small.tar.gz").await.unwrap(), "small_2.tar.gz");
            assert_eq!(storage.size(name).await.unwrap(), Some(length as u64));
        }
        assert_eq!(names(&storage).await, ["even.tar.gz", "small.tar.gz", "ö \"q\" %41.tar.gz"]);
        assert_eq!((server.sessions(), server.state().unframed), (0, 0));
        assert!(storage.delete("even.tar.gz").await.unwrap());
        assert!(!storage.delete("even.tar.gz").await.unwrap());
        assert_eq!(names(&storage).await, ["small.tar.gz", "ö \"q\" %41.tar.gz"]);
        let link = storage.presigned_link("small.tar.gz", std::time::Duration::from_secs(9)).await;
        assert_eq!(link.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_late_keeps_to_its_rate() {
    let server = DocSpaceFiles::start(Behaviour::default()).await;
    let (rate, size) = (Rate::new(Some(ByteSize(1 << 20))), 3 << 20);
    let mut upload = folder(&server).upload("a.tar.gz", hint(size), Journal::new()).await.unwrap();
    assert!(upload.sends_late(&rate, |_| ()));
    upload.write(content(size)).await.unwrap();
    let begun = Instant::now();
    upload.complete().await.unwrap();
    // Half a second's worth is there at the start.
    assert!(begun.elapsed() > Duration::from_millis(2200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn archives_are_found_by_the_files_id() {
    let server = DocSpaceFiles::start(Behaviour::default()).await;
    let storages = Storages::new(&config_for(&server)).unwrap();
    for (kind, place) in
        [(StorageType::Documents, FOLDER), (StorageType::ThirdpartyDocuments, CLOUD_FOLDER)]
    {
        let storage = storages.resolve(kind, &params(&[("folderId", place)])).unwrap();
        let id = send(&storage, "a.tar.gz", 3 * CHUNK).await.unwrap();
        // "Documents → normal file in folder_id (storage_path = file id)"; restore sends `filePath`.
        let (found, name) = storages.archive_at(kind, &params(&[]), &id).unwrap();
        assert!(get(&found, &name, 0..3 * CHUNK as u64).await == content(3 * CHUNK));
        let kept = params(&[("folderId", place), (FILE_ID, &id)]);
        let found = storages.resolve(kind, &kept).unwrap();
        assert_eq!(found.object_url("a.tar.gz"), storage.of_archive(Some(&id)).object_url("x"));
        // What lies in the recycle bin is gone, as it is for DocSpace.
        server.state().files.get_mut(&id).unwrap().in_trash = true;
        assert_eq!(found.size("a.tar.gz").await.unwrap(), None);
        let Err(error) = found.open("a.tar.gz").await else { panic!("opened from the bin") };
        assert!(matches!(error, StorageError::NotFound(_)), "{error:?}");
    }
}

/// "`{}` → type Documents(0) without folderId → 400 "wrong folder type" (also ThridpartyDocuments with a
/// numeric folderId)"
#[tokio::test]
async fn wrong_folders_and_missing_configuration_are_the_requests_fault() {
    let docspace = |url: &str, key: &str| {
        let mut config = config(Path::new("/nonexistent"));
        config.portal.docspace.url = Some(url.parse().unwrap());
        config.portal.docspace.api_key = Secret::new(key);
        config
    };
    let storages = Storages::new(&docspace("http://portal", "sk-1")).unwrap();
    for (kind, pairs) in [
        (StorageType::Documents, vec![]),
        (StorageType::Documents, vec![("folderId", "")]),
        (StorageType::Documents, vec![("folderId", "drive-1")]),
        (StorageType::Documents, vec![("folderId", "-5")]),
        (StorageType::Documents, vec![("folderId", "5/../6")]),
        (StorageType::ThirdpartyDocuments, vec![("folderId", "5")]),
        (StorageType::ThirdpartyDocuments, vec![("folderId", "..")]),
        (StorageType::ThirdpartyDocuments, vec![("folderId", "a\r\nb")]),
    ] {
        let error = match storages.resolve(kind, &params(&pairs)) {
            Ok(storage) => storage.ready().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, StorageError::Invalid(_)), "{pairs:?}");
        assert!(error.to_string().contains("wrong folder type"), "{pairs:?}: {error}");
    }
    let five = params(&[("folderId", "5")]);
    let none = Storages::new(&config(Path::new("/nonexistent"))).unwrap();
    let error = none.resolve(StorageType::Documents, &five).unwrap_err();
    assert!(matches!(error, StorageError::NotConfigured(_)), "{error:?}");
    assert!(error.to_string().contains("[portal.docspace] url"), "{error}");
    // Without a key of the operator's only those who bring a credential may.
    let no_key = Storages::new(&docspace("http://portal", "")).unwrap();
    let error = no_key.resolve(StorageType::Documents, &five).unwrap_err();
    assert!(error.is_bad_request() && error.to_string().contains("api_key"), "{error}");
    let own = params(&[("folderId", "5"), (PORTAL_TOKEN, "sk-2")]);
    no_key.resolve(StorageType::Documents, &own).unwrap();
    let split = params(&[("folderId", "5"), (PORTAL_TOKEN, "sk-2\r\nX: y")]);
    assert!(no_key.resolve(StorageType::Documents, &split).unwrap_err().is_bad_request());
    for bad in ["ftp://portal", "http://u:p@portal", "http://portal/?x"] {
        let Err(error) = Storages::new(&docspace(bad, "sk-1")) else { panic!("{bad}") };
        assert!(error.to_string().contains("portal.docspace.url"), "{error}");
    }
}

#[tokio::test]
async fn wrong_keys_and_missing_folders_are_told_before_any_work() {
    let server = DocSpaceFiles::start(Behaviour::default()).await;
    let storages = Storages::new(&config_for(&server)).unwrap();
    let wrong = params(&[("folderId", FOLDER), (PORTAL_TOKEN, "sk-wrong-secret")]);
    let storage = storages.resolve(StorageType::Documents, &wrong).unwrap();
    let error = storage.unused_name("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::Denied(_)), "{error:?}");
    assert!(!error.to_string().contains("sk-wrong"), "{error}");
    let nowhere = params(&[("folderId", "77")]);
    let storage = storages.resolve(StorageType::Documents, &nowhere).unwrap();
    let error = storage.unused_name("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound(_)), "{error:?}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_fails_is_sent_again() {
    let behaviour = Behaviour { fail_chunk: Some((2, 2)), ..Behaviour::default() };
    let server = DocSpaceFiles::start(behaviour).await;
    let id = send(&folder(&server), "a.tar.gz", 3 * CHUNK).await.unwrap();
    assert!(server.state().files[&id].content == content(3 * CHUNK));
    assert_eq!(server.count("POST /api/2.0/files/5/session/"), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_fails_half_way_leaves_nothing() {
    for (behaviour, word) in [
        (Behaviour { fail_chunk: Some((3, 99)), ..Behaviour::default() }, "500"),
        (Behaviour { expire_after: Some(2), ..Behaviour::default() }, "500"),
        (Behaviour { expire_after: Some(2), old: true, ..Behaviour::default() }, "expired"),
    ] {
        let server = DocSpaceFiles::start(behaviour).await;
        let error = send(&folder(&server), "a.tar.gz", 5 * CHUNK).await.unwrap_err();
        assert!(error.to_string().contains(word), "{behaviour:?}: {error}");
        assert_eq!(server.sessions(), 0, "{behaviour:?}");
        assert!(server.state().files.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_answer_was_lost_is_found() {
    for length in [1000, 3 * CHUNK] {
        let server =
            DocSpaceFiles::start(Behaviour { lose_end: true, ..Behaviour::default() }).await;
        let id = send(&folder(&server), "a.tar.gz", length).await.unwrap();
        assert!(server.state().files[&id].content == content(length));
        assert_eq!(server.state().files.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docspace_is_asked_where_we_reach_it_whatever_host_it_names() {
    for old in [true, false] {
        let behaviour = Behaviour { foreign: true, old, ..Behaviour::default() };
        let server = DocSpaceFiles::start(behaviour).await;
        let storage = folder(&server);
        let id = send(&storage, "a.tar.gz", 3 * CHUNK).await.unwrap();
        let file = storage.of_archive(Some(&id));
        assert!(get(&file, "a.tar.gz", 0..3 * CHUNK as u64).await == content(3 * CHUNK));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_may_not_be_seen_are_docspaces_own() {
    let server =
        DocSpaceFiles::start(Behaviour { no_settings: true, ..Behaviour::default() }).await;
    let id = send(&folder(&server), "a.tar.gz", 1000).await.unwrap();
    assert!(server.state().files[&id].content == content(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_attempt_left_is_removed_and_nothing_else() {
    let server = DocSpaceFiles::start(Behaviour::default()).await;
    let storage = folder(&server);
    let other = send(&storage, "other.tar.gz", 2 * CHUNK).await.unwrap();
    // Dropped before anything was sent: DocSpace never hears of it.
    let asked = server.count("POST");
    let mut upload = storage.upload("a.tar.gz", hint(10), Journal::new()).await.unwrap();
    upload.write(content(10)).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(server.count("POST"), asked);

    let journal = Journal::new();
    let mut upload = storage.upload("a.tar.gz", hint(10), journal.clone()).await.unwrap();
    upload.write(content(2 * CHUNK)).await.unwrap();
    let id = upload.complete().await.unwrap().unwrap();
    assert_eq!(journal.last().upload_id, Some(format!("file:{id}")));
    // Killed after the file was made and before anybody knew its id.
    let session = format!("session:{}:{:032x}", 2 * CHUNK, 77);
    for upload_id in [session, format!("file:{id}"), String::new()] {
        let remains = Remains { name: "a.tar.gz".to_owned(), upload_id: Some(upload_id) };
        for _ in 0..2 {
            storage.clean(&remains).await.unwrap();
        }
        assert_eq!(server.state().files.keys().collect::<Vec<_>>(), [&other]);
    }
}
