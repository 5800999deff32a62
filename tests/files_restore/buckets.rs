//! Buckets: a server in this process, and a store that stops at any of its changes as a kill would.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};
use portal_backup::config::Options;
use portal_backup::source::files::{Filesystem, Replaced};
use portal_backup::source::restore::Staged;

use super::s3::S3Server;
use super::{attempt, content, file, in_folders, listed, put, refusal};

type Objects = BTreeMap<String, Bytes>;

/// All objects of a store.
async fn objects(store: &dyn ObjectStore) -> Objects {
    let mut found = Objects::new();
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in all {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        found.insert(object.location.to_string(), bytes);
    }
    found
}

async fn fill(store: &dyn ObjectStore, paths: &[&str]) {
    for path in paths {
        store.put(&Path::from(*path), format!("old {path}").into()).await.unwrap();
    }
}

/// Passes on a number of changes, and then nothing more at all.
#[derive(Debug, Clone)]
struct Stopping {
    inner: Arc<InMemory>,
    left: Arc<AtomicUsize>,
    /// So many listings do not show yet what is staged.
    late: Arc<AtomicUsize>,
}

impl Stopping {
    fn after(inner: &Arc<InMemory>, changes: usize) -> Self {
        Self { inner: Arc::clone(inner), left: Arc::new(changes.into()), late: Arc::default() }
    }

    /// A change at a key, which may be no longer than providers take.
    fn change_at(&self, key: &Path) -> object_store::Result<()> {
        let fits = key.as_ref().len() <= 1024;
        self.change()?;
        fits.then_some(()).ok_or(Error::Generic { store: "test", source: "too long".into() })
    }

    fn change(&self) -> object_store::Result<()> {
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| stopped())
    }

    fn alive(&self) -> object_store::Result<()> {
        if self.left.load(Ordering::SeqCst) == 0 { Err(stopped()) } else { Ok(()) }
    }
}

fn stopped() -> Error {
    Error::Generic { store: "test", source: "stopped".into() }
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Stopping {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.change_at(at)?;
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.change_at(at)?;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let this = self.clone();
        let passed = paths.and_then(move |path| {
            let this = this.clone();
            async move { this.change().map(|()| path) }
        });
        let inner = Arc::clone(&self.inner);
        let deleted = passed.then(move |path| {
            let inner = Arc::clone(&inner);
            async move {
                let path = path?;
                inner.delete(&path).await.map(|()| path)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let is_of_staged = prefix.is_some_and(|prefix| prefix.as_ref().contains(".portal-backup"));
        let late = self.late.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |late| {
            late.checked_sub(1).filter(|_| is_of_staged)
        });
        if late.is_ok() {
            return stream::empty().boxed();
        }
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.change_at(to)?;
        self.inner.copy_opts(from, to, options).await
    }
}

fn bucket(store: impl ObjectStore) -> Filesystem {
    Filesystem::from_store(Arc::new(store), &"s3://bucket/portal".parse().unwrap()).unwrap()
}

fn staged(store: &Arc<InMemory>, changes: usize) -> Box<dyn Staged> {
    bucket(Stopping::after(store, changes)).staged(&attempt("a"))
}

const LIVE: &[&str] = &[
    "portal/a/1",
    "portal/a/2",
    "portal/a/deep/3",
    "portal/b/4",
    "portal/b/backups/x.tar.gz",
    "portal/c/5",
    "portal/c/6",
    "other/7",
    "portal2/8",
];
const STAGED: &[&str] = &["a/2", "a/new/9", "b/backups/ours", "c/6", "d/10"];

/// A bucket with something ready to be swapped in, what is in it apart from that, and what will be.
async fn scene() -> (Arc<InMemory>, Objects, Objects) {
    let store = Arc::new(InMemory::new());
    fill(&*store, LIVE).await;
    let old = objects(&*store).await;
    let mut new = old.clone();
    for gone in ["portal/a/1", "portal/a/deep/3", "portal/b/4"] {
        new.remove(gone).unwrap();
    }
    let staging = bucket(Arc::clone(&store)).stage(&attempt("a")).await.unwrap();
    for path in STAGED {
        put(&staging, path, format!("new {path}")).await;
        if !path.starts_with("b/backups") {
            new.insert(format!("portal/{path}"), format!("new {path}").into());
        }
    }
    staging.ready(in_folders(&["a", "b", "none"], &["b/backups"])).await.unwrap();
    (store, old, new)
}

fn without_staging(mut objects: Objects) -> Objects {
    objects.retain(|path, _| !path.contains(".portal-backup"));
    objects
}

#[tokio::test]
async fn what_an_object_says_of_itself_stays() {
    let store = Arc::new(InMemory::new());
    let said = [(Attribute::ContentType, "image/png"), (Attribute::Metadata("by".into()), "x")];
    let said: Attributes = said.into_iter().collect();
    let contents = [("small", vec![1; 10]), ("large", vec![2; 6 << 20])];
    for (path, _) in &contents {
        let key = Path::from(format!("portal/{path}"));
        store.put_opts(&key, "old".into(), said.clone().into()).await.unwrap();
    }
    let staging = bucket(Arc::clone(&store)).stage(&attempt("a")).await.unwrap();
    for (path, content) in &contents {
        put(&staging, path, content).await;
    }
    put(&staging, "new", "x").await;
    let staged = staging.ready(Replaced::Staged).await.unwrap();
    let check = async |when: &str, replaced: bool| {
        for (path, content) in &contents {
            let found = store.get(&Path::from(format!("portal/{path}"))).await.unwrap();
            assert_eq!(found.attributes, said, "{path} {when}");
            assert_eq!(found.bytes().await.unwrap() == content, replaced, "{path} {when}");
        }
    };
    staged.swap().await.unwrap();
    check("swapped", true).await;
    staged.roll_back().await.unwrap();
    check("rolled back", false).await;
}

#[tokio::test]
async fn a_swap_stopped_anywhere_is_undone_or_completed() {
    let mut changes = 0;
    loop {
        let when = format!("stopped after {changes} changes");
        let (store, old, _) = scene().await;
        let ended = staged(&store, changes).swap().await.is_ok();
        staged(&store, usize::MAX).roll_back().await.unwrap();
        assert_eq!(objects(&*store).await, old, "{when}");

        let (store, _, new) = scene().await;
        assert_eq!(staged(&store, changes).swap().await.is_ok(), ended);
        let other = staged(&store, usize::MAX);
        other.swap().await.unwrap();
        other.swap().await.unwrap();
        assert_eq!(without_staging(objects(&*store).await), new, "{when}");
        other.finish().await.unwrap();
        other.finish().await.unwrap();
        other.roll_back().await.unwrap();
        assert_eq!(objects(&*store).await, new, "{when}");
        if ended {
            break;
        }
        changes += 1;
    }
    assert!(changes > 10, "only {changes} changes");
}

#[tokio::test]
async fn an_undoing_or_an_end_stopped_anywhere_is_completed() {
    for swapped in [3, 9, 12, usize::MAX] {
        let mut changes = 0;
        loop {
            let when = format!("the undoing of {swapped} changes stopped after {changes}");
            let (store, old, _) = scene().await;
            let _ = staged(&store, swapped).swap().await;
            let ended = staged(&store, changes).roll_back().await.is_ok();
            staged(&store, usize::MAX).roll_back().await.unwrap();
            assert_eq!(objects(&*store).await, old, "{when}");
            if ended {
                break;
            }
            changes += 1;
        }
        assert!(changes > 5, "only {changes} changes");
    }
    let mut changes = 0;
    loop {
        let (store, _, new) = scene().await;
        staged(&store, usize::MAX).swap().await.unwrap();
        let ended = staged(&store, changes).finish().await.is_ok();
        assert_eq!(without_staging(objects(&*store).await), new);
        staged(&store, usize::MAX).finish().await.unwrap();
        assert_eq!(objects(&*store).await, new, "the end stopped after {changes} changes");
        if ended {
            break;
        }
        changes += 1;
    }
    assert!(changes > 10, "only {changes} changes");
}

#[tokio::test]
async fn staging_stopped_anywhere_leaves_the_bucket_as_it_was() {
    let mut changes = 0;
    loop {
        let store = Arc::new(InMemory::new());
        fill(&*store, LIVE).await;
        let old = objects(&*store).await;
        let filesystem = bucket(Stopping::after(&store, changes));
        let stage = async {
            let staging = filesystem.stage(&attempt("a")).await?;
            for path in STAGED {
                staging.put(&file(path, 3), content(b"new")).await?;
            }
            let big = vec![1; 6 << 20];
            staging.put(&file("big", big.len()), content(&big)).await?;
            staging.ready(in_folders(&[""], &[])).await.map(drop)
        };
        let ended = stage.await.is_ok();
        assert_eq!(without_staging(objects(&*store).await), old);
        staged(&store, usize::MAX).roll_back().await.unwrap();
        assert_eq!(objects(&*store).await, old, "stopped after {changes} changes");
        if ended {
            break;
        }
        changes += 1;
    }
    assert!(changes > 10, "only {changes} changes");
}

#[tokio::test]
async fn what_came_later_is_not_removed_with_what_was_to_go() {
    let (store, old, _) = scene().await;
    store.delete(&Path::from("portal/a/1")).await.unwrap();
    let swap = staged(&store, usize::MAX);
    swap.swap().await.unwrap();
    fill(&*store, &["portal/a/1", "portal/a/later"]).await;
    swap.swap().await.unwrap();
    swap.roll_back().await.unwrap();
    let mut expected = old;
    expected.insert("portal/a/later".to_owned(), "old portal/a/later".into());
    assert_eq!(objects(&*store).await, expected);
}

/// A journal of several objects.
#[tokio::test]
async fn many_objects() {
    let store = Arc::new(InMemory::new());
    let long = "x".repeat(150);
    let live: Vec<_> = (0..10_000).map(|number| format!("portal/{number}/{long}")).collect();
    fill(&*store, &live.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let filesystem = bucket(Arc::clone(&store));
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    for number in 9_000..12_000 {
        put(&staging, &format!("{number}/{long}"), "new").await;
    }
    let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
    assert!(objects(&*store).await.contains_key("portal/.portal-backup/a/journal/1"));
    staged.swap().await.unwrap();
    assert_eq!(listed(&filesystem).await.len(), 3_000);
    staged.roll_back().await.unwrap();
    let now = objects(&*store).await;
    assert!(now.len() == 10_000 && live.iter().all(|path| now[path] == format!("old {path}")));
}

#[tokio::test]
async fn hostile_names_and_wrong_sizes_are_refused() {
    let store = Arc::new(InMemory::new());
    let filesystem = bucket(Arc::clone(&store));
    filesystem.check_writable().await.unwrap();
    assert_eq!(filesystem.space().await, None);
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    for name in ["", "/x", "..", "../x", "a/../x", "a//b", "a\0b", "a\nb", ".portal-backup/x"] {
        let error = refusal(&staging, name, b"x", 1).await;
        assert!(error.contains("cannot be restored"), "{name:?}: {error}");
    }
    let big = vec![7; 12 << 20];
    assert!(refusal(&staging, "short", b"12", 3).await.contains("ends after 2 of 3 bytes"));
    assert!(refusal(&staging, "long", b"1234", 3).await.contains("longer than the 3 bytes"));
    assert!(refusal(&staging, "short", &big, big.len() + 1).await.contains("ends after"));
    assert!(refusal(&staging, "long", &big, big.len() - 1).await.contains("longer than"));
    assert_eq!(objects(&*store).await, Objects::new());
    let refusing = bucket(Stopping::after(&store, 0));
    assert!(refusing.check_writable().await.is_err());
}

fn files_below(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_server_is_restored_and_put_back() {
    let server = S3Server::start().await;
    let options = Options(server.options().into_iter().collect());
    let url = format!("s3://{}/portal", server.bucket).parse().unwrap();
    let filesystem = Filesystem::open(&url, &options).unwrap();
    filesystem.check_writable().await.unwrap();
    let live = filesystem.stage(&attempt("first")).await.unwrap();
    for path in ["a/1", "a/2", "b/3", "kept/4"] {
        put(&live, path, format!("old {path}")).await;
    }
    let live = live.ready(Replaced::Staged).await.unwrap();
    live.swap().await.unwrap();
    live.finish().await.unwrap();
    let old = listed(&filesystem).await;
    assert_eq!(old, ["a/1", "a/2", "b/3", "kept/4"]);

    let big: Vec<u8> = (0..11 << 20).map(|at: u32| (at / 5) as u8).collect();
    let names = ["a/2", "a b/ü+%/x&y", "c/5"];
    let read = async |path: &str| {
        let (_, content) = filesystem.read(&file(path, 0)).await.unwrap();
        content.try_collect::<Vec<_>>().await.unwrap().concat()
    };
    for ending in ["roll back", "finish"] {
        let staging = filesystem.stage(&attempt("a")).await.unwrap();
        for name in names {
            put(&staging, name, format!("new {name}")).await;
        }
        put(&staging, "a/big", &big).await;
        assert!(refusal(&staging, "cut", &big, big.len() + 1).await.contains("ends after"));
        assert_eq!(listed(&filesystem).await, old, "what is staged is no part of a backup");
        let staged = staging.ready(in_folders(&[""], &["kept"])).await.unwrap();
        staged.swap().await.unwrap();
        assert_eq!(listed(&filesystem).await, ["a b/ü+%/x&y", "a/2", "a/big", "c/5", "kept/4"]);
        assert!(read("a/big").await == big);
        assert_eq!(read("kept/4").await, b"old kept/4");
        let staged = Filesystem::open(&url, &options).unwrap().staged(&attempt("a"));
        if ending == "finish" {
            staged.finish().await.unwrap();
            assert_eq!(read("a/2").await, b"new a/2");
            assert_eq!(listed(&filesystem).await.len(), 5);
        } else {
            staged.roll_back().await.unwrap();
            assert_eq!(listed(&filesystem).await, old);
            assert_eq!(read("a/2").await, b"old a/2");
        }
        assert_eq!(files_below(&server.bucket_dir().join("portal/.portal-backup")), 0, "{ending}");
        assert_eq!(server.open_uploads(), Vec::<String>::new());
    }
}

/// A server to restore into.
async fn served(max_parts: u32) -> (S3Server, Filesystem) {
    let server = S3Server::start().await;
    let options = Options(server.options().into_iter().collect());
    let url = format!("s3://{}/portal", server.bucket).parse().unwrap();
    let filesystem = Filesystem::open(&url, &options).unwrap().with_max_parts(max_parts);
    (server, filesystem)
}

#[tokio::test]
async fn archives_of_ours_are_never_removed() {
    let store = Arc::new(InMemory::new());
    fill(&*store, &["portal/a/1", "portal/a/theirs.tar.gz"]).await;
    let mark = [(Attribute::Metadata("portal-backup-attempt".into()), "x")];
    let marked: Attributes = mark.into_iter().collect();
    for path in ["portal/a/ours.tar.gz", "portal/a/ours.tar.age", "portal/a/other"] {
        store.put_opts(&Path::from(path), "archive".into(), marked.clone().into()).await.unwrap();
    }
    let staging = bucket(Arc::clone(&store)).stage(&attempt("a")).await.unwrap();
    put(&staging, "a/2", "new").await;
    let warnings = staging.warnings();
    let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let now: Vec<_> = objects(&*store).await.into_keys().collect();
    assert_eq!(now, ["portal/a/2", "portal/a/ours.tar.age", "portal/a/ours.tar.gz"]);
    let warnings = warnings.sentences().join("\n");
    assert!(warnings.contains("2 archives of this program"), "{warnings}");
}

#[tokio::test]
async fn listings_that_are_late_are_waited_for() {
    let store = Arc::new(InMemory::new());
    fill(&*store, LIVE).await;
    let late = Stopping::after(&store, usize::MAX);
    let staging = bucket(late.clone()).stage(&attempt("a")).await.unwrap();
    for path in ["a/1", "a/new"] {
        put(&staging, path, format!("new {path}")).await;
    }
    late.late.store(3, Ordering::SeqCst);
    let staged = staging.ready(in_folders(&["a"], &[])).await.unwrap();
    assert_eq!(late.late.load(Ordering::SeqCst), 0);
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let mut now = objects(&*store).await;
    now.retain(|path, _| path.starts_with("portal/a/"));
    let new = ["portal/a/1", "portal/a/new"]
        .map(|path| (path.to_owned(), Bytes::from(path.replace("portal/", "new "))));
    assert_eq!(now, Objects::from(new));
}

/// S3 may answer 200 to a copy, and then say that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_not_made_is_not_believed() {
    let (server, filesystem) = served(10_000).await;
    let folder = server.bucket_dir().join("portal/a");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["1", "2"] {
        std::fs::write(folder.join(name), format!("old {name}")).unwrap();
    }
    let live = || -> Vec<_> {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        files.sort();
        files
    };
    // The first copies are those of what is live; then come those of what is staged.
    for good_copies in [0, 1, 2, 3] {
        let staging = filesystem.stage(&attempt("a")).await.unwrap();
        put(&staging, "a/1", "new 1".to_owned()).await;
        put(&staging, "a/3", "new 3".to_owned()).await;
        let staged = staging.ready(in_folders(&["a"], &[])).await.unwrap();
        let mut copies = 0;
        server.refuse(move |request| {
            request.header("x-amz-copy-source")?;
            copies += 1;
            (copies > good_copies).then_some((200, "AccessDenied", "Access Denied"))
        });
        let error = staged.swap().await.unwrap_err().to_string();
        assert!(error.contains("AccessDenied"), "{error}");
        server.refuse(|_| None);
        staged.roll_back().await.unwrap();
        assert_eq!(live(), ["old 1", "old 2"], "after {good_copies} copies");
    }
}

#[tokio::test]
async fn the_longest_keys_are_swapped_and_put_back() {
    let store = Arc::new(InMemory::new());
    let filesystem = bucket(Stopping::after(&store, usize::MAX));
    let part = "d".repeat(200);
    let longest = format!("{part}/{part}/{part}/{part}/{part}/{}", "e".repeat(12));
    assert_eq!("portal/".len() + longest.len(), 1024);
    let read = async || {
        let (_, content) = filesystem.read(&file(&longest, 0)).await.unwrap();
        content.try_collect::<Vec<_>>().await.unwrap().concat()
    };
    let large = vec![7; 6 << 20];
    for (content, keeps) in [(&b"old"[..], true), (&large, false), (&large, true)] {
        let staging = filesystem.stage(&attempt("a")).await.unwrap();
        put(&staging, &longest, content).await;
        let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
        staged.swap().await.unwrap();
        assert!(read().await == content);
        match keeps {
            true => staged.finish().await.unwrap(),
            false => staged.roll_back().await.unwrap(),
        }
        assert!(read().await == if keeps { content } else { b"old" });
        assert_eq!(listed(&filesystem).await, [longest.as_str()]);
    }
    // And removed, which can be undone, too.
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
    staged.swap().await.unwrap();
    assert_eq!(listed(&filesystem).await, Vec::<String>::new());
    staged.roll_back().await.unwrap();
    assert!(read().await == large);
    assert_eq!(objects(&*store).await.len(), 1);
}

#[tokio::test]
async fn an_upload_that_was_killed_is_ended() {
    let (server, filesystem) = served(10_000).await;
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    // One part and a little more.
    let begun = stream::iter((0..3).map(|_| Ok(vec![7; 2 << 20].into()))).chain(stream::pending());
    let large = file("large", 20 << 20);
    let mut put = Box::pin(async move { staging.put(&large, begun.boxed()).await.unwrap() });
    let sent = async {
        while !server.open_uploads().iter().any(|name| name.contains("part")) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = &mut put => panic!("it ended"),
        () = sent => {}
    }
    // As a kill: nothing of it is run any more.
    std::mem::forget(put);
    assert_ne!(server.open_uploads(), Vec::<String>::new());
    filesystem.staged(&attempt("a")).roll_back().await.unwrap();
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    assert_eq!(files_below(&server.bucket_dir()), 0);
}

#[tokio::test]
async fn an_upload_has_no_more_parts_than_the_server_takes() {
    let (server, filesystem) = served(2).await;
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    put(&staging, "large", vec![7; 16 << 20]).await;
    let requests = server.requests();
    let parts = requests.iter().filter(|request| request.uri.contains("partNumber=")).count();
    assert_eq!(parts, 2);
}

#[tokio::test]
async fn what_a_server_refuses_is_told_in_words() {
    let (server, filesystem) = served(10_000).await;
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    put(&staging, "a", "x").await;
    server.refuse(|request| {
        let refused = (403, "AccessDenied", "No, test-secret-key may not");
        (request.method == "PUT").then_some(refused)
    });
    let told = [
        refusal(&staging, "b", b"x", 1).await,
        filesystem.check_writable().await.unwrap_err().to_string(),
        staging.ready(Replaced::Staged).await.err().unwrap().to_string(),
    ];
    for error in told {
        assert!(error.contains("access to bucket \"archives\" was denied: No, ***"), "{error}");
        assert!(!error.contains('<') && !error.contains("secret"), "{error}");
    }
}
