//! Stops at every single step, and what is left to the next process then; and what needs more than a test of this
//! size may make, such as objects of gigabytes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::config::Options;
use crate::source::files::local::LocalFolder;
use crate::source::files::store::Bucket;
use keys::Keys;
use upload::Target;

/// Path below the root → kind, permissions, time, content or target.
type Tree = BTreeMap<Vec<u8>, (u32, (i64, i64), Vec<u8>)>;

/// In memory where that is possible: every step is made durable.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn tree(root: &Path, times: bool) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path == root.join(STAGING_FOLDER) {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            // A new folder that was made for new files has the time of its making.
            let time = if times { (meta.mtime(), meta.mtime_nsec()) } else { (0, 0) };
            found.insert(name, (meta.mode(), time, content));
        }
    }
    found
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A portal with a catalog and a storage inside, links, and names that are no text.
fn live(root: &Path) {
    for path in [
        "mods/files/a/1.txt",
        "mods/files/a/2.txt",
        "mods/files/b/deep/3.txt",
        "mods/files/gone/4.txt",
        "mods/logo/logo.png",
        "mods/only-old/5.txt",
        "data/backups/archive.tar.gz",
        "data/x/6.txt",
        "data/catalog.db",
        "data/was-file",
        "data/was-folder/7.txt",
        "elsewhere/8.txt",
        "elsewhere/replaced.txt",
        "links/deep/in/9.txt",
    ] {
        write(root, path, &format!("old {path}"));
    }
    fs::create_dir_all(root.join("mods/files/empty")).unwrap();
    symlink("/etc", root.join("links/deep/in/etc")).unwrap();
    symlink("../mods/logo/logo.png", root.join("links/inside")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"links/deep/\xff\xfe")), "no text").unwrap();
    for (path, mode) in [("mods/files/a/1.txt", 0o600), ("mods/files/a", 0o750), ("data", 0o711)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let old = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5));
    for folder in ["mods/files/a", "mods", "data", "data/x", "links/deep", "elsewhere"] {
        fs::File::open(root.join(folder)).unwrap().set_times(old).unwrap();
    }
}

const STAGED: &[&str] = &[
    "mods/files/a/1.txt",
    "mods/files/new/2.txt",
    "mods/logo/logo.png",
    "mods/brand-new/deep/x.txt",
    "data/x/6.txt",
    "data/y/7.txt",
    "data/was-file/inside.txt",
    "data/was-folder",
    "elsewhere/replaced.txt",
    "elsewhere/added/9.txt",
    "links/deep/in/9.txt",
];

fn replaced() -> Replaced {
    let text = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect();
    Replaced::Folders {
        folders: text(&[
            "mods/files",
            "mods/logo",
            "mods/logo/",
            "mods/only-old",
            "mods/absent",
            "data",
            "links",
        ]),
        kept: text(&["data/backups", "data/catalog.db"]),
    }
}

/// What [`STAGED`] makes of [`live`], without times.
fn restored(root: &Path) {
    for gone in ["mods/files", "mods/only-old", "data/x", "data/was-folder", "links/inside"] {
        let path = root.join(gone);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
    }
    fs::remove_file(root.join("data/was-file")).unwrap();
    fs::remove_file(root.join(OsStr::from_bytes(b"links/deep/\xff\xfe"))).unwrap();
    for path in STAGED {
        write(root, path, &format!("new {path}"));
    }
    for (path, mode) in [("mods/files/a/1.txt", 0o600), ("mods/files/a", 0o750)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn folder(root: &Path) -> Arc<LocalFolder> {
    let url = Url::from_directory_path(root).unwrap();
    Arc::new(LocalFolder::open(&url, &Options::default()).unwrap())
}

fn attempt() -> AttemptId {
    AttemptId::new("a1").unwrap()
}

/// Another process: it knows nothing but the attempt's name.
fn staged(root: &Path, steps: Steps) -> LocalStaged {
    LocalStaged { folder: folder(root), attempt: attempt(), steps }
}

fn content(text: &str) -> (u64, Content) {
    let bytes = Bytes::from(text.to_owned());
    (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
}

fn file(path: &str, size: u64) -> FileMeta {
    FileMeta {
        path: path.to_owned(),
        size,
        modified: 1_234_567_890,
        is_directory: false,
        version: None,
    }
}

async fn ready(root: &Path) {
    let staging = LocalStaging::create(folder(root), attempt()).await.unwrap();
    for path in STAGED {
        let (size, content) = content(&format!("new {path}"));
        staging.put(&file(path, size), content).await.unwrap();
    }
    staging.ready(replaced()).await.unwrap();
}

struct Scene {
    dir: TempDir,
    old: Tree,
    new: Tree,
}

impl Scene {
    async fn new() -> Self {
        let expected = scratch();
        live(expected.path());
        restored(expected.path());
        let dir = scratch();
        live(dir.path());
        let old = tree(dir.path(), true);
        ready(dir.path()).await;
        Self { old, new: tree(expected.path(), false), dir }
    }

    fn staged(&self, steps: Steps) -> LocalStaged {
        staged(self.dir.path(), steps)
    }

    fn is_old(&self, when: &str) {
        assert_eq!(tree(self.dir.path(), true), self.old, "{when}");
        self.is_clean(when);
    }

    fn is_new(&self, when: &str) {
        assert_eq!(tree(self.dir.path(), false), self.new, "{when}");
        self.is_clean(when);
    }

    fn is_clean(&self, when: &str) {
        assert!(!self.dir.path().join(STAGING_FOLDER).exists(), "{when}");
    }
}

#[tokio::test]
async fn a_swap_stopped_anywhere_is_undone_or_completed() {
    let mut stops = 0;
    loop {
        stops += 1;
        let when = format!("the swap stopped after {stops} steps");
        let scene = Scene::new().await;
        let ended = scene.staged(Steps::limited(stops)).swap().await.is_ok();
        scene.staged(Steps::default()).roll_back().await.unwrap();
        scene.is_old(&when);

        let scene = Scene::new().await;
        assert_eq!(scene.staged(Steps::limited(stops)).swap().await.is_ok(), ended);
        let other = scene.staged(Steps::default());
        other.swap().await.unwrap();
        other.swap().await.unwrap();
        assert_eq!(tree(scene.dir.path(), false), scene.new, "{when}");
        let time = fs::metadata(scene.dir.path().join(STAGED[0])).unwrap().mtime();
        assert_eq!(time, 1_234_567_890);
        other.finish().await.unwrap();
        scene.is_new(&when);
        other.finish().await.unwrap();
        other.swap().await.unwrap();
        other.roll_back().await.unwrap();
        scene.is_new("afterwards every step is idle");
        if ended {
            break;
        }
    }
    assert!(stops > 15, "only {stops} steps");
}

#[tokio::test]
async fn an_undoing_stopped_anywhere_is_completed() {
    // Of a swap that is complete, and of others that are not.
    for swapped in [2, 5, 9, usize::MAX] {
        let mut stops = 0;
        loop {
            stops += 1;
            let scene = Scene::new().await;
            let _ = scene.staged(Steps::limited(swapped)).swap().await;
            let ended = scene.staged(Steps::limited(stops)).roll_back().await.is_ok();
            scene.staged(Steps::default()).roll_back().await.unwrap();
            scene.is_old(&format!("the undoing of {swapped} steps stopped after {stops}"));
            if ended {
                break;
            }
        }
        assert!(stops > 5, "only {stops} steps");
    }
}

#[tokio::test]
async fn an_end_stopped_anywhere_is_completed() {
    let mut stops = 0;
    loop {
        stops += 1;
        let scene = Scene::new().await;
        scene.staged(Steps::default()).swap().await.unwrap();
        let ended = scene.staged(Steps::limited(stops)).finish().await.is_ok();
        assert_eq!(tree(scene.dir.path(), false), scene.new);
        scene.staged(Steps::default()).finish().await.unwrap();
        scene.is_new(&format!("the end stopped after {stops} steps"));
        if ended {
            break;
        }
    }
    assert!(stops > 10, "only {stops} steps");
}

#[tokio::test]
async fn what_others_write_meanwhile_stops_nothing() {
    // After the journal, a path appears that was not there; in the gap between two renames, another one.
    for stops in 1..=20 {
        let scene = Scene::new().await;
        let root = scene.dir.path();
        let _ = scene.staged(Steps::limited(stops)).swap().await;
        for path in
            ["mods/files/late.txt", "mods/logo/late.txt", "data/y/late.txt", "mods/only-old/late"]
        {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "late").unwrap();
        }
        let others = scene.staged(Steps::default());
        others.swap().await.unwrap();
        for path in STAGED {
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), format!("new {path}"));
        }
        others.roll_back().await.unwrap();
        let now = tree(root, false);
        for (path, (_, _, content)) in &scene.old {
            assert_eq!(now.get(path).map(|found| &found.2), Some(content), "stopped after {stops}");
        }
        scene.is_clean("after the undoing");
    }
}

#[tokio::test]
async fn an_attempt_that_begins_anew_undoes_what_its_name_left() {
    let scene = Scene::new().await;
    let _ = scene.staged(Steps::limited(6)).swap().await;
    let staging = LocalStaging::create(folder(scene.dir.path()), attempt()).await.unwrap();
    assert_eq!(tree(scene.dir.path(), true), scene.old);
    drop(staging);
    // What was never made ready is dropped, however one asks.
    scene.staged(Steps::default()).swap().await.unwrap();
    scene.staged(Steps::default()).finish().await.unwrap();
    scene.is_old("nothing was ready");
}

#[tokio::test]
async fn objects_too_large_to_be_copied_are_written_anew() {
    let store = Arc::new(InMemory::new());
    let large: Vec<u8> = (0..12 << 20).map(|at: u32| (at / 7) as u8).collect();
    store.put(&"p/large".into(), PutPayload::from(large.clone())).await.unwrap();
    let refusing = Arc::new(faulty::NoCopies(Arc::clone(&store)));
    let url = Url::parse("s3://bucket/p").unwrap();
    let bucket = Bucket::new(refusing, &url, &Options::default()).unwrap();
    let keys = Keys::new(bucket.prefix(), &attempt());
    let to = "p/copy".into();
    let target = Target { bucket: &bucket, keys: &keys, key: &to, path: "copy" };
    let copy = async |from: &str, most| upload::copy(target, &from.into(), most).await;
    assert!(copy("p/large", 6 << 20).await.unwrap());
    let copied = store.get(&to).await.unwrap().bytes().await.unwrap();
    assert!(copied == large);
    assert!(!copy("p/nothing", 6 << 20).await.unwrap());
    let error = copy("p/large", 12 << 20).await.unwrap_err();
    assert!(error.to_string().contains("no copies"), "{error}");
}

mod faulty {
    //! A store that copies nothing.

    use std::fmt;
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
        ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    #[derive(Debug)]
    pub struct NoCopies(pub Arc<InMemory>);

    impl fmt::Display for NoCopies {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    #[async_trait]
    impl ObjectStore for NoCopies {
        async fn put_opts(
            &self,
            at: &Path,
            put: PutPayload,
            opts: PutOptions,
        ) -> Result<PutResult> {
            self.0.put_opts(at, put, opts).await
        }
        async fn put_multipart_opts(
            &self,
            at: &Path,
            opts: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(at, opts).await
        }
        async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
            self.0.get_opts(at, opts).await
        }
        fn delete_stream(
            &self,
            all: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(all)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, _: &Path, _: CopyOptions) -> Result<()> {
            self.0.get_opts(from, GetOptions::default()).await?;
            Err(Error::Generic { store: "test", source: "no copies".into() })
        }
    }
}
