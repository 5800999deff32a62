//! What every storage does, in the same way.

use archive::ReadAt;
use bytes::Bytes;
use portal_backup::storage::{Remains, Storage, StorageError};

use crate::s3::S3Server;
use crate::tools::*;

const MIB: usize = 1 << 20;

/// A storage to test, and how to see what lies in it behind its back.
struct Place {
    storage: Storage,
    /// Every file in it, finished or not.
    all: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    _server: Option<S3Server>,
    _dir: Option<tempfile::TempDir>,
}

fn files(path: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn folder() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let storage = local(dir.path(), "a/b");
    Place { storage, all: Box::new(move || files(&path)), _server: None, _dir: Some(dir) }
}

async fn bucket() -> Place {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives/some/prefix", &[]);
    let (path, root) = (server.bucket_dir().join("some/prefix"), server.bucket_dir());
    let all = move || {
        let mut all = files(&path);
        let beside = files(root.parent().unwrap());
        all.extend(beside.into_iter().filter(|name| name.starts_with(".upload")));
        all
    };
    Place { storage, all: Box::new(all), _server: Some(server), _dir: None }
}

/// Runs each case against both.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod in_a_folder { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::folder().await).await }
        )* }
        mod in_a_bucket { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::bucket().await).await }
        )* }
    };
}

conformance!(
    sizes_come_back,
    ranges_are_exact,
    names_stay_unique,
    odd_names,
    deleting_twice,
    listing,
    an_aborted_upload_leaves_nothing,
    a_dropped_upload_leaves_nothing,
    a_killed_upload_is_cleaned,
    a_finished_but_unrecorded_archive_is_cleaned,
    cleaning_spares_what_others_wrote,
    a_failing_journal_fails_the_upload,
    the_estimate_may_be_wrong,
);

async fn sizes_come_back(place: Place) {
    let storage = &place.storage;
    for size in [0, 1, 5 * MIB, 8 * MIB, 8 * MIB + 1, 40 * MIB + 17] {
        let name = format!("{size}.tar.gz");
        let content = content(size);
        put(storage, &name, &content).await.unwrap();
        assert_eq!(storage.size(&name).await.unwrap(), Some(size as u64));
        assert_eq!(get(storage, &name, 0..size as u64).await, content, "{size}");
    }
    assert_eq!((place.all)().len(), 6, "{:?}", (place.all)());
    assert_eq!(storage.size("other.tar.gz").await.unwrap(), None);
    assert!(matches!(storage.open("other.tar.gz").await, Err(StorageError::NotFound(_))));
}

async fn ranges_are_exact(place: Place) {
    let content = content(9 * MIB + 5);
    put(&place.storage, "a.tar.gz", &content).await.unwrap();
    let length = content.len() as u64;
    let object = place.storage.open("a.tar.gz").await.unwrap();
    assert_eq!(object.len(), length);
    let ranges = [0..0, 0..1, 1..2, 2_097_151..2_097_153, 100..7_000_000, length - 1..length];
    for range in ranges {
        let expected = content.slice(range.start as usize..range.end as usize);
        assert_eq!(object.read_at(range.clone()).await.unwrap(), expected, "{range:?}");
        assert_eq!(get(&place.storage, "a.tar.gz", range.clone()).await, expected, "{range:?}");
    }
    assert!(object.read_at(length - 1..length + 1).await.is_err());
    assert!(place.storage.read("a.tar.gz", 0..length + 1).await.is_err());
}

async fn names_stay_unique(place: Place) {
    let storage = &place.storage;
    assert_eq!(storage.unused_name("x.tar.gz").await.unwrap(), "x.tar.gz");
    put(storage, "x.tar.gz", &content(10)).await.unwrap();
    assert_eq!(storage.unused_name("x.tar.gz").await.unwrap(), "x_2.tar.gz");
    put(storage, "x_2.tar.gz", &content(10)).await.unwrap();
    assert_eq!(storage.unused_name("x.tar.gz").await.unwrap(), "x_3.tar.gz");
    assert!(matches!(put(storage, "x.tar.gz", &content(5)).await, Err(StorageError::Exists(_))));

    // Taken while the upload ran: small, and in parts.
    for size in [100, 20 * MIB] {
        let name = format!("race{size}.tar.gz");
        let mut late = storage.upload(&name, hint(size), Journal::new()).await.unwrap();
        late.write(content(size)).await.unwrap();
        put(storage, &name, &Bytes::from_static(b"first")).await.unwrap();
        let error = late.complete().await.unwrap_err();
        assert!(matches!(error, StorageError::Exists(_)), "{error}");
        assert_eq!(get(storage, &name, 0..5).await, "first");
    }
    assert_eq!((place.all)().len(), 4, "{:?}", (place.all)());
}

async fn odd_names(place: Place) {
    let storage = &place.storage;
    let odd = ["ö ü é 備份.tar.gz", "a b+c&d=e%20f#g?h.tar.gz", "'\"<>|*;.tar", "a..b.tar.gz"];
    for name in odd {
        put(storage, name, &Bytes::from(name)).await.unwrap();
        let length = name.len() as u64;
        assert_eq!(storage.size(name).await.unwrap(), Some(length), "{name}");
        assert_eq!(get(storage, name, 0..length).await, name);
        let url = storage.object_url(name);
        assert!(url.as_str().starts_with(storage.url().as_str()), "{url}");
    }
    let mut expected = odd.map(str::to_owned);
    expected.sort();
    assert_eq!(names(storage).await, expected);
    for name in odd {
        assert!(storage.delete(name).await.unwrap(), "{name}");
    }
    for name in ["", "..", "a/b.tar.gz", "/etc/passwd", "a\\b", ".hidden", "a\0b"] {
        let invalid = |result: Result<bool, _>| matches!(result, Err(StorageError::Invalid(_)));
        assert!(invalid(storage.delete(name).await), "{name:?}");
        assert!(invalid(storage.size(name).await.map(|_| true)), "{name:?}");
        assert!(invalid(put(storage, name, &content(1)).await.map(|()| true)), "{name:?}");
    }
}

async fn deleting_twice(place: Place) {
    put(&place.storage, "a.tar.gz", &content(10)).await.unwrap();
    assert!(place.storage.delete("a.tar.gz").await.unwrap());
    assert!(!place.storage.delete("a.tar.gz").await.unwrap());
    assert_eq!((place.all)(), Vec::<String>::new());
}

async fn listing(place: Place) {
    let storage = &place.storage;
    assert_eq!(names(storage).await, Vec::<String>::new());
    for name in ["b.tar.gz", "a.tar", "c.txt", "d.tar.gz.sha256"] {
        put(storage, name, &content(3)).await.unwrap();
    }
    let running = storage.upload("e.tar.gz", hint(0), Journal::new()).await.unwrap();
    assert_eq!(names(storage).await, ["a.tar", "b.tar.gz"]);
    running.abort().await.unwrap();
}

async fn an_aborted_upload_leaves_nothing(place: Place) {
    for size in [0, 100, 30 * MIB] {
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), Journal::new()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        upload.abort().await.unwrap();
        assert_eq!((place.all)(), Vec::<String>::new(), "{size}");
        assert_eq!(place.storage.size("a.tar.gz").await.unwrap(), None);
    }
    put(&place.storage, "a.tar.gz", &content(100)).await.unwrap();
}

async fn a_dropped_upload_leaves_nothing(place: Place) {
    for size in [100, 30 * MIB] {
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), Journal::new()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        drop(upload);
        eventually("the upload is gone", || (place.all)().is_empty()).await;
    }
}

async fn a_killed_upload_is_cleaned(place: Place) {
    for size in [0, 100, 30 * MIB] {
        let journal = Journal::new();
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), journal.clone()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        std::mem::forget(upload);
        if size > 100 {
            assert!(!(place.all)().is_empty(), "nothing was written yet");
            // A killed process sends nothing more; a forgotten upload still does.
            settled(&place).await;
        }
        let remains = journal.last();
        for _ in 0..3 {
            place.storage.clean(&remains).await.unwrap();
            assert_eq!((place.all)(), Vec::<String>::new());
        }
        // As it is kept between two runs.
        let text = serde_json::to_string(&remains).unwrap();
        assert_eq!(serde_json::from_str::<Remains>(&text).unwrap(), remains);
    }
}

/// Waits until nothing more arrives.
async fn settled(place: &Place) {
    let mut before = Vec::new();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut now = (place.all)();
        now.sort();
        if now == before {
            return;
        }
        before = now;
    }
}

async fn a_finished_but_unrecorded_archive_is_cleaned(place: Place) {
    for size in [100, 30 * MIB] {
        let journal = Journal::new();
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), journal.clone()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        upload.complete().await.unwrap();
        place.storage.clean(&journal.last()).await.unwrap();
        assert_eq!((place.all)(), Vec::<String>::new(), "{size}");
    }
}

async fn cleaning_spares_what_others_wrote(place: Place) {
    for size in [100, 30 * MIB] {
        let journal = Journal::new();
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), journal.clone()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        put(&place.storage, "a.tar.gz", &Bytes::from_static(b"another's")).await.unwrap();
        std::mem::forget(upload);
        settled(&place).await;
        place.storage.clean(&journal.last()).await.unwrap();
        assert_eq!((place.all)(), ["a.tar.gz"]);
        assert_eq!(get(&place.storage, "a.tar.gz", 0..9).await, "another's");
        place.storage.delete("a.tar.gz").await.unwrap();
    }
    let nothing = Remains { name: "never.tar.gz".to_owned(), upload_id: None };
    place.storage.clean(&nothing).await.unwrap();
}

async fn a_failing_journal_fails_the_upload(place: Place) {
    struct Broken;
    #[async_trait::async_trait]
    impl portal_backup::storage::UploadJournal for Broken {
        async fn record(&self, _: &Remains) -> Result<(), portal_backup::storage::JournalError> {
            Err("the catalog is gone".into())
        }
    }
    let result =
        place.storage.upload("a.tar.gz", hint(30 * MIB), std::sync::Arc::new(Broken)).await;
    let error = result.err().expect("an upload without a journal").to_string();
    assert!(error.contains("the catalog is gone"), "{error}");
    assert_eq!((place.all)(), Vec::<String>::new());
}

async fn the_estimate_may_be_wrong(place: Place) {
    let large = content(30 * MIB);
    put_as(&place.storage, "low.tar.gz", &large, hint(10)).await.unwrap();
    assert_eq!(get(&place.storage, "low.tar.gz", 0..large.len() as u64).await, large);
    put_as(&place.storage, "high.tar.gz", &content(10), hint(100 * MIB)).await.unwrap();
    assert_eq!(get(&place.storage, "high.tar.gz", 0..10).await, content(10));
    put_as(&place.storage, "none.tar.gz", &Bytes::new(), hint(100 * MIB)).await.unwrap();
    assert_eq!(place.storage.size("none.tar.gz").await.unwrap(), Some(0));
    assert_eq!((place.all)().len(), 3, "{:?}", (place.all)());
}
