use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use portal_backup::config::Options;
use portal_backup::source::index::{Capture, Index, IndexError};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::lucene::{self, Writer};
use crate::support::portal::tree;
use crate::support::service::names;

fn open(root: &Path, temp: &Path) -> Index {
    let url = Url::from_file_path(root).unwrap();
    Index::open(&url, &Options::default(), Vec::new(), temp).unwrap()
}

async fn captured(index: &Index) -> Capture {
    index.capture(CancellationToken::new()).await.unwrap()
}

async fn contents(capture: &Capture) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for file in capture.files() {
        if file.is_directory {
            files.insert(file.path.clone(), Vec::new());
            continue;
        }
        let content = capture.read(file).await.unwrap();
        let content: Vec<_> = content.try_collect().await.unwrap();
        assert_eq!(content.concat().len() as u64, file.size, "{}", file.path);
        files.insert(file.path.clone(), content.concat());
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_copy_of_a_busy_index_is_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (root, temp) = (dir.path().join("index"), dir.path().join("temp"));
    std::fs::create_dir(&temp).unwrap();
    let writing = Writer::new(&root).run();
    let index = open(&root, &temp);
    let begun = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 300 && begun.elapsed() < Duration::from_secs(40) {
        let capture = captured(&index).await;
        let before = writing.commits.load(Ordering::Relaxed);
        // The writer goes on while it is read.
        while writing.commits.load(Ordering::Relaxed) < before + 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen.push(lucene::check(&contents(&capture).await));
        capture.unchanged().await.unwrap();
        let last = capture.files().last().unwrap();
        assert!(last.path.starts_with("segments_"), "the commit point comes last: {last:?}");
    }
    assert!(seen.len() >= 50, "only {} copies", seen.len());
    assert!(seen.is_sorted() && seen[0] < seen[seen.len() - 1], "{seen:?}");
    drop(writing);
    assert!(!root.join(".portal-backup").exists() && names(&temp).is_empty());
}

/// Where nothing can be linked, the files of a commit are held open and copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_links_it_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (root, temp) = (dir.path().join("index"), dir.path().join("temp"));
    std::fs::create_dir(&temp).unwrap();
    let writer = Writer::new(&root);
    // A file in the way of the folder that is needed for links.
    std::fs::write(root.join(".portal-backup"), "").unwrap();
    let writing = writer.run();
    let index = open(&root, &temp);
    for _ in 0..50 {
        let capture = captured(&index).await;
        assert_eq!(names(&temp).len(), 1);
        let mut files = contents(&capture).await;
        assert_eq!(files.remove(".portal-backup").as_deref(), Some(&b""[..]));
        lucene::check(&files);
    }
    drop(writing);
    assert!(names(&temp).is_empty());
}

#[tokio::test]
async fn a_commit_being_made_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("index");
    drop(Writer::new(&root));
    // As a commit in two phases leaves it for as long as it likes.
    let whole = std::fs::read(root.join("segments_1")).unwrap();
    let mut torn = whole.clone();
    *torn.last_mut().unwrap() ^= 1;
    std::fs::write(root.join("segments_2"), &torn).unwrap();
    std::fs::write(root.join("_1.fdt"), "half").unwrap();
    let capture = captured(&open(&root, dir.path())).await;
    assert_eq!(lucene::check(&contents(&capture).await), 1);
}

/// Commit points have checksums since Lucene 2.3; what older and other writers make is taken when it is at rest.
#[tokio::test]
async fn a_commit_point_without_a_checksum_is_taken_when_it_has_settled() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("index");
    std::fs::create_dir(&root).unwrap();
    for (name, content) in [("_0.txt", "zero"), ("_1.txt", "one"), ("segments_1", "_0 and _1")] {
        std::fs::write(root.join(name), content).unwrap();
    }
    let files = tree(&root);
    let capture = captured(&open(&root, dir.path())).await;
    assert_eq!(contents(&capture).await, files);
    assert_eq!(capture.files().last().unwrap().path, "segments_1");
}

#[tokio::test]
async fn folders_without_commits_are_copied_when_they_hold_still() {
    let dir = tempfile::tempdir().unwrap();
    let (root, temp) = (dir.path().join("index"), dir.path().join("temp"));
    std::fs::create_dir_all(root.join("a/empty")).unwrap();
    std::fs::create_dir(&temp).unwrap();
    std::fs::write(root.join("a/x.idx"), "one").unwrap();
    std::fs::write(root.join("top"), "two").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    drop(Writer::new(&root.join("b")));
    let index = open(&root, &temp);
    let capture = captured(&index).await;
    // What is written into the live file now must not be seen.
    std::fs::write(root.join("a/x.idx"), "more than one").unwrap();
    let files = contents(&capture).await;
    assert_eq!(files["a/x.idx"], b"one");
    assert_eq!((files["top"].as_slice(), files["a/empty"].as_slice()), (&b"two"[..], &b""[..]));
    let commit = files
        .iter()
        .filter_map(|(name, content)| Some((name.strip_prefix("b/")?.to_owned(), content.clone())));
    assert_eq!(lucene::check(&commit.collect()), 1);
    assert!(capture.warnings()[0].contains("link"), "{:?}", capture.warnings());
    assert!(!files.contains_key("link"));
    drop(capture);

    captured(&index).await;
    assert_eq!(names(&root), ["a", "b", "link", "top"]);
}

/// Two files are written in place, one after the other, with the same number: at any moment the first is equal to the
/// second, or one ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_without_commits_are_never_a_mixture() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("index");
    std::fs::create_dir(&root).unwrap();
    // Never cut off first: that would be a moment too.
    let write = |root: &Path, name: &str, number: u64| {
        use std::os::unix::fs::FileExt;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(root.join(name)).unwrap();
        file.write_all_at(format!("{number:020}").as_bytes(), 0).unwrap();
    };
    ["first", "second"].iter().for_each(|name| write(&root, name, 0));
    let stop = CancellationToken::new();
    let (stopped, busy) = (stop.clone(), root.clone());
    let writing = std::thread::spawn(move || {
        let mut number = 0;
        while !stopped.is_cancelled() {
            for _ in 0..20 {
                number += 1;
                write(&busy, "first", number);
                write(&busy, "second", number);
            }
            std::thread::sleep(Duration::from_millis(number % 150));
        }
    });
    let index = open(&root, dir.path());
    let (begun, mut still) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(6) {
        let capture = match index.capture(CancellationToken::new()).await {
            Ok(capture) => capture,
            Err(IndexError::Unsteady(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let files = contents(&capture).await;
        let number = |name: &str| str::from_utf8(&files[name]).unwrap().parse::<u64>().unwrap();
        let (first, second) = (number("first"), number("second"));
        assert!(first == second || first == second + 1, "{first} {second}");
        still += 1;
    }
    stop.cancel();
    writing.join().unwrap();
    assert!(still > 0);
}

#[tokio::test]
async fn a_file_that_is_changed_in_place_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("index");
    drop(Writer::new(&root));
    let capture = captured(&open(&root, dir.path())).await;
    let file = tree(&root).into_keys().find(|name| name.starts_with("_0.")).unwrap();
    use std::io::Write;
    let mut live = std::fs::OpenOptions::new().append(true).open(root.join(&file)).unwrap();
    live.write_all(b"!").unwrap();
    let error = capture.unchanged().await.unwrap_err();
    assert!(matches!(&error, IndexError::Changed(changed) if *changed == file), "{error}");
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (root, temp) = (dir.path().join("index"), dir.path().join("temp"));
    drop(Writer::new(&root));
    let before = tree(&root);
    for left in [root.join(".portal-backup/capture-0123"), temp.join("portal-backup-index-0123")] {
        std::fs::create_dir_all(left.join("deep")).unwrap();
        std::fs::write(left.join("deep/_0.cfs"), "x").unwrap();
    }
    // A restore's own place is none of it.
    std::fs::create_dir_all(temp.join("other")).unwrap();
    let index = open(&root, &temp);
    let held = captured(&index).await;
    index.sweep();
    assert_eq!(names(&temp), ["other"]);
    assert_eq!(names(&root.join(".portal-backup")).len(), 1, "the one in use stays");
    lucene::check(&contents(&held).await);
    drop(held);
    assert_eq!(tree(&root), before);
}

#[tokio::test]
async fn the_current_index_is_the_highest_numbered_folder() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("LocalIndex");
    for name in ["0", "20250101000000", "20260301021500", "x99999999999999999"] {
        drop(Writer::new(&root.join(name)));
        std::fs::write(root.join(name).join("index.version"), name).unwrap();
    }
    let index = open(&root, dir.path());
    let capture = index.capture_current(CancellationToken::new()).await.unwrap();
    let mut files = contents(&capture).await;
    assert_eq!(files.remove("index.version").unwrap(), b"20260301021500");
    lucene::check(&files);
    drop(capture);

    std::fs::create_dir(root.join("20260301021500/sub")).unwrap();
    std::fs::write(root.join("20260301021500/sub/file"), "x").unwrap();
    let error = index.capture_current(CancellationToken::new()).await.err().unwrap();
    assert!(matches!(error, IndexError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_folder_is_said() {
    let open = |url: &str, options: Options| {
        Index::open(&url.parse().unwrap(), &options, Vec::new(), Path::new("/tmp"))
    };
    let error = open("s3://bucket/index", Options::default()).err().unwrap();
    assert!(error.to_string().contains("a folder of this machine"), "{error}");
    let some = Options([("region".to_owned(), "x".to_owned())].into());
    assert!(open("file:///srv/index", some).is_err());
    let missing = open("file:///nowhere/at/all", Options::default()).unwrap();
    let error = missing.capture(CancellationToken::new()).await.err().unwrap();
    assert!(matches!(error, IndexError::Missing(_)), "{error}");
    assert!(!Path::new("/nowhere").exists());
}
