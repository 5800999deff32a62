//! What every storage does, in the same way.

use archive::ReadAt;
use bytes::Bytes;
use futures::StreamExt;
use portal_backup::storage::{Remains, Storage, StorageError};

use crate::azure::Container;
use crate::gcs::GcsServer;
use crate::proxy::{Faults, Proxy};
use crate::s3::S3Server;
use crate::tools::*;

const MIB: usize = 1 << 20;

/// A storage to test, and how to see what lies in it behind its back.
struct Place {
    storage: Storage,
    seen: Seen,
}

enum Seen {
    Folder(tempfile::TempDir),
    S3(S3Server),
    Google(GcsServer),
    Azure(Container),
    Memory,
}

fn files(path: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl Place {
    async fn folder() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { storage: local(dir.path(), "a/b"), seen: Seen::Folder(dir) }
    }

    async fn s3() -> Self {
        let server = S3Server::start().await;
        Self { storage: cloud(&server, "s3://archives/some/prefix", &[]), seen: Seen::S3(server) }
    }

    async fn google() -> Self {
        let server = GcsServer::start().await;
        let storage = custom(server.options(), "gs://archives/some/prefix", &[], 10_000);
        Self { storage, seen: Seen::Google(server) }
    }

    async fn azure() -> Self {
        let container = Container::start().await;
        let url = format!("az://{}/some/prefix", container.name);
        let storage = custom(container.options(), &url, &[], 10_000);
        Self { storage, seen: Seen::Azure(container) }
    }

    async fn memory() -> Self {
        let storage = Storage::in_memory("some/prefix", 10_000).unwrap();
        Self { storage, seen: Seen::Memory }
    }

    /// The same place through a network that misbehaves; None: there is none.
    async fn through(&self, faults: Faults) -> Option<(Storage, Proxy)> {
        let (address, endpoint, options) = match &self.seen {
            Seen::Folder(_) | Seen::Memory => return None,
            Seen::S3(server) => (server.address(), server.endpoint.clone(), server.options()),
            Seen::Google(server) => {
                let address = server.endpoint().trim_start_matches("http://").to_owned();
                (address, server.endpoint().to_owned(), server.options())
            }
            Seen::Azure(server) => (server.address(), server.endpoint.clone(), server.options()),
        };
        let proxy = Proxy::start(&address, faults).await;
        let endpoint = endpoint.replace(&format!("http://{address}"), &proxy.endpoint);
        let url = self.storage.url().as_str();
        let more = [("endpoint", endpoint.as_str()), ("max_retries", "8")];
        Some((custom(options, url, &more, 10_000), proxy))
    }

    /// The same place with another limit of parts.
    fn with_parts(&self, most: u32) -> Option<Storage> {
        let url = self.storage.url().as_str();
        match &self.seen {
            Seen::Folder(_) | Seen::Memory => None,
            Seen::S3(server) => Some(custom(server.options(), url, &[], most)),
            Seen::Google(server) => Some(custom(server.options(), url, &[], most)),
            Seen::Azure(container) => Some(custom(container.options(), url, &[], most)),
        }
    }

    /// Every file or object in it, finished or not.
    async fn all(&self) -> Vec<String> {
        match &self.seen {
            Seen::Folder(dir) => files(&dir.path().join("a/b")),
            Seen::S3(server) => {
                let mut all = files(&server.bucket_dir().join("some/prefix"));
                all.extend(server.open_uploads());
                all
            }
            Seen::Google(server) => server.all(),
            Seen::Azure(container) => container.all().await,
            Seen::Memory => names(&self.storage).await,
        }
    }

    /// Every object in it that is finished.
    async fn visible(&self) -> Vec<String> {
        match &self.seen {
            Seen::Azure(container) => container.committed().await,
            _ => self.all().await,
        }
    }

    async fn is_empty(&self) {
        assert_eq!(self.all().await, Vec::<String>::new());
    }
}

/// Runs each case against all of them.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        conformance!(@ in_a_folder folder $($name)*);
        conformance!(@ in_s3 s3 $($name)*);
        conformance!(@ in_google google $($name)*);
        conformance!(@ in_azure azure $($name)*);
        conformance!(@ in_memory memory $($name)*);
    };
    (@ $module:ident $place:ident $($name:ident)*) => {
        mod $module { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Place::$place().await).await }
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
    more_than_one_page_is_listed,
    few_parts_are_enough,
    a_link_needs_no_credentials,
    throttling_is_waited_out,
    an_interruption_is_survived,
    an_upload_cut_half_way_leaves_nothing,
    an_answer_cut_half_way_is_no_end,
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
    assert_eq!(place.all().await.len(), 6, "{:?}", place.all().await);
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
    assert_eq!(place.all().await.len(), 4, "{:?}", place.all().await);
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
    place.is_empty().await;
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
        place.is_empty().await;
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
        let begun = std::time::Instant::now();
        while !place.all().await.is_empty() {
            assert!(begun.elapsed().as_secs() < 10, "{:?} stays", place.all().await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

async fn a_killed_upload_is_cleaned(place: Place) {
    for size in [0, 100, 30 * MIB] {
        let journal = Journal::new();
        let mut upload =
            place.storage.upload("a.tar.gz", hint(size), journal.clone()).await.unwrap();
        upload.write(content(size)).await.unwrap();
        std::mem::forget(upload);
        // In memory nobody can look behind an upload's back.
        if size > 100 && !matches!(place.seen, Seen::Memory) {
            let begun = std::time::Instant::now();
            while place.all().await.is_empty() {
                assert!(begun.elapsed().as_secs() < 30, "nothing was written");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            // A killed process sends nothing more; a forgotten upload still does.
            settled(&place).await;
        }
        let remains = journal.last();
        for _ in 0..3 {
            place.storage.clean(&remains).await.unwrap();
            // Azure's test server goes on listing blocks that were dropped.
            assert_eq!(place.visible().await, Vec::<String>::new());
        }
        // Nothing of the dead upload gets into the next of its name.
        let next = content(size + 7).slice(7..);
        put(&place.storage, "a.tar.gz", &next).await.unwrap();
        assert_eq!(get(&place.storage, "a.tar.gz", 0..size as u64).await, next);
        place.storage.clean(&remains).await.unwrap();
        assert_eq!(place.visible().await.len(), 1, "another's archive was cleaned away");
        place.storage.delete("a.tar.gz").await.unwrap();
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
        let mut now = place.all().await;
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
        place.is_empty().await;
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
        let all = place.all().await;
        assert!(all.len() == 1 && all[0].ends_with("a.tar.gz"), "{all:?}");
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
    place.is_empty().await;
}

async fn the_estimate_may_be_wrong(place: Place) {
    let large = content(30 * MIB);
    put_as(&place.storage, "low.tar.gz", &large, hint(10)).await.unwrap();
    assert_eq!(get(&place.storage, "low.tar.gz", 0..large.len() as u64).await, large);
    put_as(&place.storage, "high.tar.gz", &content(10), hint(100 * MIB)).await.unwrap();
    assert_eq!(get(&place.storage, "high.tar.gz", 0..10).await, content(10));
    put_as(&place.storage, "none.tar.gz", &Bytes::new(), hint(100 * MIB)).await.unwrap();
    assert_eq!(place.storage.size("none.tar.gz").await.unwrap(), Some(0));
    assert_eq!(place.all().await.len(), 3, "{:?}", place.all().await);
}

async fn more_than_one_page_is_listed(place: Place) {
    let storage = &place.storage;
    let count = 1100;
    // Azure's test server resets connections when it has too much to do.
    let at_once = if matches!(place.seen, Seen::Azure(_)) { 3 } else { 16 };
    let uploads = (0..count).map(|number| async move {
        put(storage, &format!("{number:04}.tar.gz"), &content(1)).await.unwrap();
    });
    futures::stream::iter(uploads).buffer_unordered(at_once).for_each(|()| async {}).await;
    let expected: Vec<_> = (0..count).map(|number| format!("{number:04}.tar.gz")).collect();
    assert_eq!(names(storage).await, expected);
}

async fn few_parts_are_enough(place: Place) {
    let Some(storage) = place.with_parts(10) else { return };
    // Ten parts of the ordinary 8 MiB would be 80 MiB, and nobody expected so much.
    let large = content(100 * MIB);
    put_as(&storage, "a.tar.gz", &large, hint(MIB)).await.unwrap();
    assert_eq!(get(&storage, "a.tar.gz", 0..100 << 20).await, large);
    assert_eq!(place.all().await.len(), 1, "{:?}", place.all().await);
}

async fn a_link_needs_no_credentials(place: Place) {
    let storage = &place.storage;
    for name in ["a.tar.gz", "ö b+c%20&d#e?f.tar.gz"] {
        put(storage, name, &content(MIB + 3)).await.unwrap();
        let link = storage.presigned_link(name, std::time::Duration::from_secs(60)).await.unwrap();
        let Some(link) = link else {
            // There a name like the second cannot be signed.
            let is_odd = matches!(place.seen, Seen::Azure(_)) && name != "a.tar.gz";
            let is_here = storage.local_path().is_some() || matches!(place.seen, Seen::Memory);
            assert!(is_here || is_odd, "no link to {name}");
            continue;
        };
        let answer = reqwest::get(link.clone()).await.unwrap();
        assert_eq!(answer.status(), 200, "{link}");
        assert_eq!(answer.bytes().await.unwrap(), content(MIB + 3), "{link}");
        let mut unsigned = link.clone();
        unsigned.set_query(None);
        let refused = reqwest::get(unsigned).await.unwrap().status();
        assert!(refused.is_client_error(), "{refused}");
    }
}

async fn throttling_is_waited_out(place: Place) {
    let faults = Faults { throttled: 3, ..Faults::default() };
    let Some((storage, proxy)) = place.through(faults).await else { return };
    for size in [100, 20 * MIB] {
        let name = format!("{size}.tar.gz");
        put(&storage, &name, &content(size)).await.unwrap();
        assert_eq!(get(&storage, &name, 0..size as u64).await, content(size));
    }
    assert_eq!(proxy.refused(), 3);
    assert_eq!(place.visible().await.len(), 2, "{:?}", place.all().await);
}

async fn an_interruption_is_survived(place: Place) {
    let faults = Faults { cut_after: Some(12 << 20), ..Faults::default() };
    let Some((storage, proxy)) = place.through(faults).await else { return };
    let proxy = std::sync::Arc::new(proxy);
    let healer = proxy.clone();
    tokio::spawn(async move {
        while healer.passed() <= 12 << 20 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        healer.heal();
    });
    put(&storage, "a.tar.gz", &content(40 * MIB)).await.unwrap();
    assert_eq!(get(&place.storage, "a.tar.gz", 0..40 << 20).await, content(40 * MIB));
    assert_eq!(place.visible().await.len(), 1, "{:?}", place.all().await);
}

async fn an_upload_cut_half_way_leaves_nothing(place: Place) {
    let faults = Faults { cut_after: Some(20 << 20), ..Faults::default() };
    let Some((storage, proxy)) = place.through(faults).await else { return };
    let journal = Journal::new();
    let mut upload = storage.upload("a.tar.gz", hint(60 * MIB), journal.clone()).await.unwrap();
    let mut failed = None;
    for _ in 0..60 {
        if let Err(error) = upload.write(content(MIB)).await {
            failed = Some(error);
            break;
        }
    }
    let error = match failed {
        Some(error) => {
            // The network is down for this too.
            upload.abort().await.unwrap_err();
            error
        }
        None => upload.complete().await.unwrap_err(),
    };
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    proxy.heal();
    storage.clean(&journal.last()).await.unwrap();
    assert_eq!(place.visible().await, Vec::<String>::new());
    assert_eq!(storage.size("a.tar.gz").await.unwrap(), None);
}

async fn an_answer_cut_half_way_is_no_end(place: Place) {
    let large = content(5 * MIB);
    put(&place.storage, "a.tar.gz", &large).await.unwrap();
    let faults = Faults { cut_answers_after: Some(3 << 20), ..Faults::default() };
    let Some((storage, _proxy)) = place.through(faults).await else { return };
    let object = storage.open("a.tar.gz").await.unwrap();
    // No connection brings all of it; the rest is asked for.
    assert_eq!(object.read_at(0..large.len() as u64).await.unwrap(), large);
    let parts = object.stream(0..large.len() as u64).unwrap();
    let parts: Vec<_> = parts.map(Result::unwrap).collect().await;
    assert_eq!(Bytes::from(parts.concat()), large);
}
