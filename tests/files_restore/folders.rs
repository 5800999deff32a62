//! Folders. What a stop at every single step leaves is tested beside the code.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use portal_backup::config::Options;
use portal_backup::source::files::{Filesystem, Replaced};
use portal_backup::source::restore::Staged;
use tempfile::TempDir;
use tokio::task::JoinSet;
use url::Url;

use super::{TIME, attempt, content, file, in_folders, listed, put, refusal};

const STAGING: &str = ".portal-backup";

fn folder(path: &Path) -> Filesystem {
    Filesystem::open(&Url::from_directory_path(path).unwrap(), &Options::default()).unwrap()
}

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

/// A folder with some files.
fn scene(live: &[&str]) -> (TempDir, PathBuf, Filesystem) {
    scene_in(tempfile::tempdir().unwrap(), live)
}

/// The same in memory where that is possible: discs may take long over thousands of files.
fn large_scene(live: &[&str]) -> (TempDir, PathBuf, Filesystem) {
    scene_in(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(), live)
}

fn scene_in(dir: TempDir, live: &[&str]) -> (TempDir, PathBuf, Filesystem) {
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    for path in live {
        write(&root, path, format!("old {path}"));
    }
    let filesystem = folder(&root);
    (dir, root, filesystem)
}

async fn staged(
    filesystem: &Filesystem,
    paths: &[&str],
    replaced: Replaced,
) -> Result<Box<dyn Staged>, String> {
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    for path in paths {
        put(&staging, path, format!("new {path}")).await;
    }
    staging.ready(replaced).await.map_err(|error| error.to_string())
}

async fn restored(filesystem: &Filesystem, paths: &[&str], replaced: Replaced) {
    let staged = staged(filesystem, paths, replaced).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
}

#[tokio::test]
async fn everything_is_replaced_but_what_is_kept() {
    let (_dir, root, filesystem) = scene(&[
        "a/1",
        "a/2",
        "b/3",
        "top",
        "backups/x.tar.gz",
        "deep/in/catalog.db",
        "deep/in/4",
        "deep/5",
    ]);
    let staged = staged(
        &filesystem,
        &["a/2", "c/d/e/6", "deep/in/7", "backups/ours.txt"],
        in_folders(&[""], &["backups", "deep/in/catalog.db"]),
    );
    let staged = staged.await.unwrap();
    assert_eq!(listed(&filesystem).await.len(), 8, "what is staged is no part of a backup");
    staged.swap().await.unwrap();
    let new = ["a/2", "backups/x.tar.gz", "c/d/e/6", "deep/in/7", "deep/in/catalog.db"];
    assert_eq!(listed(&filesystem).await, new);
    assert_eq!(read(&root, "a/2"), "new a/2");
    assert_eq!(read(&root, "deep/in/catalog.db"), "old deep/in/catalog.db");
    let meta = fs::metadata(root.join("c/d/e/6")).unwrap();
    assert_eq!((meta.mtime(), meta.mode() & 0o777), (TIME, 0o644));
    assert_eq!(fs::metadata(root.join("c/d")).unwrap().mode() & 0o777, 0o755);
    // Another process that knows the name alone.
    folder(&root).staged(&attempt("a")).finish().await.unwrap();
    assert_eq!(listed(&filesystem).await, new);
    assert!(!root.join(STAGING).exists());
}

#[tokio::test]
async fn only_what_was_staged_is_replaced() {
    let (_dir, root, filesystem) = scene(&["a/1", "a/2", "b/3/4", "c", "d/5"]);
    let old = listed(&filesystem).await;
    let staged =
        staged(&filesystem, &["a/2", "a/new/6", "b/3", "c/7"], Replaced::Staged).await.unwrap();
    staged.swap().await.unwrap();
    assert_eq!(listed(&filesystem).await, ["a/1", "a/2", "a/new/6", "b/3", "c/7", "d/5"]);
    assert_eq!(
        (read(&root, "a/1"), read(&root, "a/2")),
        ("old a/1".to_owned(), "new a/2".to_owned())
    );
    staged.roll_back().await.unwrap();
    assert_eq!(listed(&filesystem).await, old);
    assert_eq!(
        (read(&root, "a/2"), read(&root, "b/3/4")),
        ("old a/2".to_owned(), "old b/3/4".to_owned())
    );
}

#[tokio::test]
async fn no_link_leads_a_restore_out_of_the_root() {
    let (dir, root, filesystem) = scene(&["a/1"]);
    let outside = dir.path().join("outside");
    write(&outside, "treasure", "outside");
    symlink(&outside, root.join("a/out")).unwrap();
    symlink(&outside, root.join("linked")).unwrap();
    symlink(outside.join("treasure"), root.join("a/file")).unwrap();

    // A folder of the archive where there is a link now: refused, as is a replaced folder behind one.
    for (paths, replaced) in [
        (&["a/out/treasure"][..], in_folders(&["a"], &[])),
        (&["a/out/treasure"], Replaced::Staged),
        (&["a/out/new"], in_folders(&[""], &[])),
        (&["x"], in_folders(&["linked/sub"], &[])),
        (&["x"], in_folders(&["linked"], &[])),
    ] {
        let error = staged(&filesystem, paths, replaced).await.err().unwrap();
        assert!(error.contains("a link to a folder"), "{error}");
        filesystem.staged(&attempt("a")).roll_back().await.unwrap();
    }

    // A file where there is a link: the link goes. Links that backups leave out stay. Neither changes their targets.
    restored(&filesystem, &["a/file", "b"], in_folders(&[""], &[])).await;
    assert_eq!(fs::read_link(root.join("a/out")).unwrap(), outside);
    assert_eq!(fs::read_link(root.join("linked")).unwrap(), outside);
    assert!(!root.join("a/file").is_symlink() && !root.join("a/1").exists());
    assert_eq!(read(&root, "a/file"), "new a/file");
    assert_eq!(read(&outside, "treasure"), "outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);

    // Nor may the place for staging be a link.
    symlink(&outside, root.join(STAGING)).unwrap();
    assert!(filesystem.stage(&attempt("a")).await.is_err());
    assert!(filesystem.check_writable().await.is_err());
    assert!(filesystem.staged(&attempt("a")).roll_back().await.is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn what_no_backup_can_hold_stays() {
    let (_dir, root, filesystem) = scene(&["a/b/1", "a/c/2"]);
    let socket = std::os::unix::net::UnixListener::bind(root.join("a/b/socket")).unwrap();
    symlink("nowhere", root.join("a/c/dangling")).unwrap();
    // No archive takes this name.
    fs::write(root.join("a/b/x\\..\\y"), "x").unwrap();
    restored(&filesystem, &["d"], in_folders(&["a"], &[])).await;
    assert_eq!(fs::read(root.join("a/b/x\\..\\y")).unwrap(), b"x");
    assert!(root.join("a/b/socket").exists() && root.join("a/c/dangling").is_symlink());
    assert!(!root.join("a/b/1").exists() && !root.join("a/c/2").exists());
    drop(socket);
    // A file of the archive in the place of their folder would take them away.
    let error = staged(&filesystem, &["a/b"], Replaced::Staged).await.err().unwrap();
    assert!(error.contains("has to stay"), "{error}");
}

#[tokio::test]
async fn what_belongs_to_the_inodetays() {
    let (_dir, root, filesystem) = scene(&["lost+found/rescued", "a/lost+found/1"]);
    let inode = |path| fs::metadata(root.join(path)).unwrap().ino();
    let own = inode("lost+found");
    restored(&filesystem, &["b"], in_folders(&[""], &[])).await;
    assert_eq!(listed(&filesystem).await, ["b", "lost+found/rescued"]);
    restored(&filesystem, &["b", "lost+found/x"], in_folders(&[""], &[])).await;
    assert_eq!(listed(&filesystem).await, ["b", "lost+found/x"]);
    assert_eq!(inode("lost+found"), own);
    assert!(!root.join(STAGING).exists());
}

#[tokio::test]
async fn hostile_names_and_wrong_sizes_are_refused() {
    let (_dir, root, filesystem) = scene(&[]);
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    let long = "x".repeat(256);
    for name in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        ".portal-backup/x",
        ".portal-backup",
        &long,
        &format!("a/{long}/b"),
    ] {
        let error = refusal(&staging, name, b"x", 1).await;
        assert!(error.contains("cannot be restored"), "{name:?}: {error}");
    }
    assert!(refusal(&staging, "short", b"12", 3).await.contains("ends after 2 of 3 bytes"));
    assert!(refusal(&staging, "long", b"1234", 3).await.contains("longer than the 3 bytes"));
    let big = vec![7; 3 << 20];
    assert!(refusal(&staging, "short", &big, big.len() + 1).await.contains("ends after"));
    assert!(refusal(&staging, "long", &big, big.len() - 1).await.contains("longer than"));
    put(&staging, "both", "a file").await;
    assert!(refusal(&staging, "both/x", b"x", 1).await.contains("a file and a folder"));
    put(&staging, "folder/x", "x").await;
    assert!(refusal(&staging, "folder", b"x", 1).await.contains("a file and a folder"));
    drop(staging);
    filesystem.staged(&attempt("a")).roll_back().await.unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[tokio::test]
async fn names_contents_and_empty_folders_come_exactly() {
    let (_dir, root, filesystem) = scene(&[]);
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    let names =
        ["a b", "a\nb", "a\\b", "*", "...", "-rf", "😀.txt", "e\u{301}", "\u{1}", &"é".repeat(127)];
    for name in names {
        put(&staging, name, name).await;
    }
    for size in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at / 3) as u8).collect();
        put(&staging, &format!("sizes/{size}"), bytes).await;
    }
    put(&staging, "twice", vec![1; 2 << 20]).await;
    put(&staging, "twice", "second").await;
    let mut empty = file("empty/folder", 0);
    empty.is_directory = true;
    staging.put(&empty, content(b"")).await.unwrap();
    let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    for name in names {
        assert_eq!(read(&root, name), name);
    }
    for size in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let found = fs::read(root.join(format!("sizes/{size}"))).unwrap();
        assert!(
            found.len() == size
                && found.iter().enumerate().all(|(at, byte)| *byte == (at / 3) as u8)
        );
    }
    assert_eq!(read(&root, "twice"), "second");
    assert_eq!(fs::metadata(root.join("empty/folder")).unwrap().mtime(), TIME);
    assert_eq!(fs::metadata(root.join("sizes/5000000")).unwrap().mtime(), TIME);
}

#[tokio::test]
async fn permissions_and_owners_are_those_of_the_live_files() {
    let (_dir, root, filesystem) = scene(&["a/secret", "a/run"]);
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
    let set = |path: &str, mode| {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("a/secret", 0o600);
    set("a/run", 0o4755);
    set("a", 0o2770);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&root, Some(1234), Some(2345)).unwrap();
        chown(root.join("a/secret"), Some(77), Some(88)).unwrap();
        chown(root.join("a"), Some(1234), Some(99)).unwrap();
        set("a", 0o2770);
    }
    restored(&filesystem, &["a/secret", "a/run", "a/new", "b/new"], in_folders(&[""], &[])).await;
    assert_eq!(
        ["a/secret", "a/run", "a", "a/new", "b", "b/new"].map(mode),
        [0o600, 0o755, 0o2770, 0o644, 0o755, 0o644]
    );
    if is_root {
        let owner = |path: &str| {
            let meta = fs::metadata(root.join(path)).unwrap();
            (meta.uid(), meta.gid())
        };
        assert_eq!(
            ["a/secret", "a", "b", "b/new"].map(owner),
            [(77, 88), (1234, 99), (1234, 2345), (1234, 2345)]
        );
    }
}

#[tokio::test]
async fn a_new_place_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/there yet");
    let filesystem = folder(&root);
    assert!(filesystem.space().await.unwrap().free > 0);
    filesystem.check_writable().await.unwrap();
    filesystem.staged(&attempt("a")).roll_back().await.unwrap();
    filesystem.staged(&attempt("a")).swap().await.unwrap();
    filesystem.staged(&attempt("a")).finish().await.unwrap();
    assert!(!dir.path().join("not").exists(), "asking makes nothing");
    restored(&filesystem, &["a/b"], in_folders(&[""], &[])).await;
    assert_eq!(listed(&filesystem).await, ["a/b"]);
    filesystem.check_writable().await.unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

#[tokio::test]
async fn attempts_do_not_disturb_each_other() {
    let (_dir, root, filesystem) = scene(&["a"]);
    let first = staged(&filesystem, &["b"], Replaced::Staged).await.unwrap();
    let other = filesystem.stage(&attempt("other")).await.unwrap();
    put(&other, "c", "c").await;
    first.swap().await.unwrap();
    first.finish().await.unwrap();
    let other = other.ready(Replaced::Staged).await.unwrap();
    other.swap().await.unwrap();
    other.finish().await.unwrap();
    assert_eq!(listed(&filesystem).await, ["a", "b", "c"]);
    assert!(!root.join(STAGING).exists());
}

/// Far more levels than are held open, in what is staged and in what is dropped.
#[tokio::test]
async fn deep_trees_need_few_descriptors() {
    let (_dir, root, filesystem) = large_scene(&["x"]);
    let deep = format!("{}file", "d/".repeat(500));
    for text in ["first", "second"] {
        let staging = filesystem.stage(&attempt("a")).await.unwrap();
        put(&staging, &deep, text).await;
        let staged = staging.ready(in_folders(&[""], &[])).await.unwrap();
        staged.swap().await.unwrap();
        staged.finish().await.unwrap();
        assert_eq!(listed(&filesystem).await, [deep.as_str()]);
    }
    assert!(!root.join(STAGING).exists());
    restored(&filesystem, &["x"], in_folders(&[""], &[])).await;
    assert_eq!(listed(&filesystem).await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_at_once() {
    let (_dir, root, filesystem) = large_scene(&["old"]);
    let staging = Arc::new(filesystem.stage(&attempt("a")).await.unwrap());
    let mut writing = JoinSet::new();
    for worker in 0..8 {
        let staging = Arc::clone(&staging);
        writing.spawn(async move {
            for number in (worker..10_000).step_by(8) {
                put(
                    &staging,
                    &format!("folder_{}/file_{number}/v1/content.txt", number / 1000),
                    number.to_string(),
                )
                .await;
            }
        });
    }
    writing.join_all().await;
    let staged = Arc::into_inner(staging).unwrap().ready(in_folders(&[""], &[])).await.unwrap();
    staged.swap().await.unwrap();
    assert_eq!(listed(&filesystem).await.len(), 10_000);
    assert_eq!(read(&root, "folder_9/file_9999/v1/content.txt"), "9999");
    staged.roll_back().await.unwrap();
    assert_eq!(listed(&filesystem).await, ["old"]);
}

/// Two of one path, written at the same time, never mix.
#[tokio::test(flavor = "multi_thread")]
async fn one_path_staged_twice_at_once_is_one_of_them() {
    let (_dir, root, filesystem) = large_scene(&[]);
    let staging = Arc::new(filesystem.stage(&attempt("a")).await.unwrap());
    let mut writing = JoinSet::new();
    for byte in 0..8u8 {
        let staging = Arc::clone(&staging);
        writing.spawn(async move { put(&staging, "same/path", vec![byte; 5 << 20]).await });
    }
    writing.join_all().await;
    let staged = Arc::into_inner(staging).unwrap().ready(Replaced::Staged).await.unwrap();
    staged.swap().await.unwrap();
    let found = fs::read(root.join("same/path")).unwrap();
    assert!(found.len() == 5 << 20 && found.iter().all(|byte| *byte == found[0]));
}

#[tokio::test]
async fn a_file_that_is_open_goes_aside_and_comes_back() {
    let (_dir, root, filesystem) = scene(&["a/log"]);
    let mut open = fs::File::options().append(true).open(root.join("a/log")).unwrap();
    let staged = staged(&filesystem, &["a/log"], in_folders(&["a"], &[])).await.unwrap();
    open.write_all(b" before").unwrap();
    staged.swap().await.unwrap();
    open.write_all(b" after").unwrap();
    assert_eq!(read(&root, "a/log"), "new a/log");
    staged.roll_back().await.unwrap();
    assert_eq!(read(&root, "a/log"), "old a/log before after");
}

/// A volume of its own, where this user may make one.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: this user may not mount");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn mounts_inside_are_refused_before_anything_is_touched() {
    let (_dir, root, filesystem) = scene(&["a/b/1", "c/2"]);
    let point = root.join("a/with space");
    fs::create_dir(&point).unwrap();
    let Some(_mount) = Mount::new(&point, "size=1m") else { return };
    write(&point, "3", "on another volume");
    let old = listed(&filesystem).await;
    for (paths, replaced) in [
        (&["a/b/1"][..], in_folders(&[""], &[])),
        (&[], in_folders(&["a"], &[])),
        (&[], in_folders(&["a/with space"], &[])),
        (&[], in_folders(&["a/with space/sub"], &[])),
        (&["a/with space/3"], Replaced::Staged),
    ] {
        let error = staged(&filesystem, paths, replaced).await.err().unwrap();
        assert!(error.contains("a/with space") && error.contains("a mount"), "{error}");
        assert_eq!(listed(&filesystem).await, old);
    }
    // It stands in nobody's way where it is kept, or not replaced.
    let staged_beside = staged(&filesystem, &["c/2"], in_folders(&["c"], &[])).await.unwrap();
    staged_beside.swap().await.unwrap();
    staged_beside.finish().await.unwrap();
    restored(&filesystem, &["a/b/4"], in_folders(&[""], &["a/with space"])).await;
    assert_eq!(listed(&filesystem).await, ["a/b/4", "a/with space/3"]);
    // Nor is one that was made since entered or emptied.
    let late = staged(&filesystem, &["a/b/5"], in_folders(&["a/b"], &[])).await.unwrap();
    fs::create_dir(root.join("a/b/late")).unwrap();
    let Some(mut mount) = Mount::new(&root.join("a/b/late"), "size=1m") else { return };
    write(&root, "a/b/late/6", "precious");
    late.swap().await.unwrap();
    mount.0 = root.join(".portal-backup/a/old/a/b/late");
    assert!(late.finish().await.is_err());
    assert_eq!(read(&mount.0, "6"), "precious");
    drop(mount);
    late.finish().await.unwrap();
    assert!(!root.join(STAGING).exists());
}

#[tokio::test]
async fn a_full_volume_is_told_and_left_as_it_was() {
    let (_dir, root, _) = scene(&[]);
    let Some(_mount) = Mount::new(&root, "size=4m") else { return };
    let filesystem = folder(&root);
    write(&root, "a", "old");
    let free = filesystem.space().await.unwrap().free;
    assert!((3 << 20..=4 << 20).contains(&free), "{free}");
    let staging = filesystem.stage(&attempt("a")).await.unwrap();
    let large = vec![1; 5 << 20];
    let error = refusal(&staging, "large", &large, large.len()).await;
    assert!(error.contains("large") && error.contains("no space is left"), "{error}");
    let error = loop {
        let number = listed(&filesystem).await.len()
            + fs::read_dir(root.join(".portal-backup/a/new")).unwrap().count();
        let small = [1; 500_000];
        let path = format!("small-{number}");
        if let Err(error) = staging.put(&file(&path, small.len()), content(&small)).await {
            break error.to_string();
        }
    };
    assert!(error.contains("no space is left"), "{error}");
    drop(staging);
    filesystem.staged(&attempt("a")).roll_back().await.unwrap();
    assert_eq!(filesystem.space().await.unwrap().free, free);
    assert_eq!(
        (read(&root, "a"), listed(&filesystem).await),
        ("old".to_owned(), vec!["a".to_owned()])
    );
}
