//! Archives that others wrote: DocSpace's, GNU tar's, Python's.

mod common;

use std::path::Path;

use archive::{EntryKind, Format};
use bytes::Bytes;
use common::forge::{file, member};
use common::*;

const END: [u8; 1024] = [0; 1024];

/// What DocSpace writes.
fn docspace() -> Vec<u8> {
    [
        file("/databases/scheme/files_file", b'0', b"CREATE TABLE"),
        file("/databases/data/files_file", b'0', &text(10_000, 1)),
        file("storage\\files\\folder\\a.docx", b'0', &noise(3000, 1)),
        file("storage/restore_info", b'0', b"<storage_restore />"),
        file("dump", b'0', b"True"),
        END.to_vec(),
    ]
    .concat()
}

async fn check_docspace(bytes: Bytes, format: Format) {
    let archive = open(&bytes).await.unwrap();
    assert_eq!(archive.format(), format);
    assert!(archive.info().is_none());
    let entries = list(&archive).await;
    let seen: Vec<_> =
        entries.iter().map(|entry| (entry.path.as_str(), entry.kind, entry.size)).collect();
    let expected = [
        ("databases/scheme/files_file", EntryKind::Scheme, 12),
        ("databases/data/files_file", EntryKind::Data, 10_000),
        ("storage/files/folder/a.docx", EntryKind::File, 3000),
        ("storage/restore_info", EntryKind::Info, 19),
        ("dump", EntryKind::Marker, 4),
    ];
    assert_eq!(seen, expected);
    let found = archive.find("/databases/data/files_file").await.unwrap().unwrap();
    assert_eq!(content(&archive, &found).await, text(10_000, 1));
    use futures::TryStreamExt;
    let part: Vec<Bytes> = archive.read(&found, Some(100..9000)).try_collect().await.unwrap();
    assert_eq!(part.concat(), text(10_000, 1)[100..9000]);
    let all = contents(&archive).await;
    assert_eq!(all[2].1, noise(3000, 1));
    assert!(archive.find("nothing").await.unwrap().is_none());

    let read = std::sync::atomic::AtomicU64::new(0);
    let count = |bytes| {
        read.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let report = archive::verify(std::sync::Arc::new(bytes.clone()), 2, count).await.unwrap();
    assert!(report.ok() && report.warnings.is_empty(), "{report:?}");
    assert_eq!((report.entries, report.files, report.tables), (5, 1, 1));
    assert_eq!(report.sha256, sha256(&bytes));
    assert_eq!(read.into_inner(), bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docspace_writes() {
    let tar = docspace();
    check_docspace(tar.clone().into(), Format::PlainTar).await;
    check_docspace(member(&tar).into(), Format::GzipTar).await;
    let several: Vec<u8> = tar.chunks(777).flat_map(member).collect();
    check_docspace(several.into(), Format::GzipTar).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_one_name_counts() {
    let tar = [
        file("/a", b'0', b"first"),
        file("a", b'0', b"second"),
        file("b", b'6', b""),
        END.to_vec(),
    ]
    .concat();
    for bytes in [Bytes::from(tar.clone()), member(&tar).into()] {
        let report = verify(&bytes).await;
        assert!(report.ok());
        assert!(report.warnings[0].contains("\"a\" is there twice"), "{:?}", report.warnings);
        assert!(report.warnings[1].contains("a device or pipe"), "{:?}", report.warnings);
        let archive = open(&bytes).await.unwrap();
        let found = archive.find("a").await.unwrap().unwrap();
        assert_eq!(content(&archive, &found).await, b"second");
        let all = list(&archive).await;
        assert_eq!((all.len(), content(&archive, &all[0]).await), (2, b"first".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found() {
    let tar = docspace();
    let gzip = member(&tar);
    // Not after the first byte of tar's end: one block of zeros less is an end that is cut off.
    for len in 0..tar.len() {
        assert!(!verify(&tar[..len].to_vec().into()).await.ok(), "{len} of {}", tar.len());
    }
    for len in 0..gzip.len() {
        assert!(!verify(&gzip[..len].to_vec().into()).await.ok(), "{len} of {}", gzip.len());
    }
    for extra in [&b"x"[..], &[0], b"\x1f\x8b"] {
        let longer = Bytes::from([&gzip, extra].concat());
        assert!(!verify(&longer).await.ok(), "{extra:?}");
    }
    assert!(!verify(&[&tar[..], b"x"].concat().into()).await.ok());
    // Everything after the ten bytes of gzip's header is covered by its checksum.
    for at in 10..gzip.len() {
        let mut changed = gzip.clone();
        changed[at] ^= 4;
        assert!(!verify(&changed.into()).await.ok(), "{at} of {}", gzip.len());
    }
}

async fn made_by(script: &str, format: Format) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    make(script, folder.path());
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let report = verify(&bytes).await;
    assert!(report.ok(), "{:?}", report.problems);
    let archive = open(&bytes).await.unwrap();
    assert_eq!(archive.format(), format);
    let files = contents(&archive)
        .await
        .into_iter()
        .filter(|(entry, _)| entry.kind != EntryKind::Directory);
    let mut files: Vec<_> = files.map(|(entry, content)| (entry.path, content)).collect();
    files.sort();
    files
}

fn make(script: &str, folder: &Path) {
    silent("bash", &["-ec", &format!("cd '{}'; {script}", folder.display())], b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gnu_tar_writes() {
    let long = "n".repeat(200);
    let expected =
        vec![("d/a".to_owned(), b"aa\n".to_vec()), (format!("d/{long}/b"), b"bb\n".to_vec())];
    let files = format!("mkdir -p d/{long}; echo aa > d/a; echo bb > d/{long}/b;");
    for options in ["--format=gnu", "--format=pax", "--format=gnu -b 1"] {
        assert_eq!(
            made_by(&format!("{files} tar czf archive {options} d"), Format::GzipTar).await,
            expected
        );
        assert_eq!(
            made_by(&format!("{files} tar cf archive {options} ./d"), Format::PlainTar).await,
            expected
        );
    }
    let listed = made_by(
        &format!("{files} mkfifo d/pipe; : > archive; tar czf archive --exclude=./archive ."),
        Format::GzipTar,
    )
    .await;
    assert_eq!(listed.len(), 2 + usize::from(listed.iter().any(|(path, _)| path == "archive")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_writes() {
    let long = "ü".repeat(120);
    for (format, mode) in
        [("PAX_FORMAT", "w:gz"), ("GNU_FORMAT", "w:gz"), ("PAX_FORMAT", "w"), ("GNU_FORMAT", "w")]
    {
        let script = format!(
            "python3 -c '
import tarfile, io
with tarfile.open(\"archive\", \"{mode}\", format=tarfile.{format}) as tar:
    for name in (\"/a\", \"{long}/b\"):
        info = tarfile.TarInfo(name)
        info.size = 5
        info.mtime = 1.5
        tar.addfile(info, io.BytesIO(b\"12345\"))
'"
        );
        let expected = if mode == "w" { Format::PlainTar } else { Format::GzipTar };
        let files = made_by(&script, expected).await;
        assert_eq!(
            files,
            [("a".to_owned(), b"12345".to_vec()), (format!("{long}/b"), b"12345".to_vec())]
        );
    }
}

#[tokio::test]
async fn what_is_no_archive() {
    for bytes in [&b""[..], b"hello", &[b'x'; 2000], &[0; 511], b"\x1f"] {
        assert!(matches!(
            open(&Bytes::from_static(bytes)).await,
            Err(archive::Error::NotAnArchive)
        ));
        let report = verify(&Bytes::from_static(bytes)).await;
        assert!(!report.ok() && report.format.is_none());
        assert_eq!(report.sha256, sha256(bytes));
    }
}
