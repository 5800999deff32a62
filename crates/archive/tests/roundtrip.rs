//! What is written comes back, through this crate and through the tools of others.

mod common;

use archive::{Compression, EntryKind, EntryRecord, Error, Format, NewEntry, WriterOptions};
use bytes::Bytes;
use common::*;

fn check_by_others(bytes: &Bytes, expected: &[(EntryRecord, Vec<u8>)]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let path = file.path().to_str().unwrap();
    silent("gzip", &["-t"], bytes);
    let listed = silent("tar", &["tzf", path, "--quoting-style=literal"], b"");
    let listed = String::from_utf8(listed).unwrap();
    let names: Vec<String> = expected
        .iter()
        .map(|(entry, _)| {
            entry.path.clone() + if entry.kind == EntryKind::Directory { "/" } else { "" }
        })
        .chain(["manifest.json".to_owned()])
        .collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    let by_python = by_python(file.path());
    assert_eq!(by_python.len(), expected.len() + 1);
    for ((entry, content), (name, size, digest)) in expected.iter().zip(by_python) {
        assert_eq!((&entry.path, content.len() as u64), (&name, size));
        assert_eq!(entry.sha256.unwrap().to_string(), digest);
    }
}

async fn check(bytes: &Bytes, expected: &[(EntryRecord, Vec<u8>)]) {
    let archive = open(bytes).await.unwrap();
    assert_eq!(archive.format(), Format::Framed);
    assert_eq!(archive.info().unwrap().portal, "test");
    let records: Vec<_> = expected.iter().map(|(entry, _)| entry.clone()).collect();
    assert!(list(&archive).await == records);
    for (entry, expected) in expected {
        assert!(content(&archive, entry).await == *expected, "{}", entry.path);
        assert_eq!(entry.sha256.unwrap().0, sha256(expected));
        assert_eq!(archive.find(&entry.path).await.unwrap().as_ref(), Some(entry));
    }
    assert!(contents(&archive).await == expected);
    let report = verify(bytes).await;
    assert!(report.ok(), "{:?}", report.problems);
    assert_eq!(report.entries, expected.len() as u64);
    assert_eq!(report.sha256, sha256(bytes));
    assert_eq!(report.bytes, bytes.len() as u64);
    check_by_others(bytes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_without_entries() {
    check(&archive_of(&[]).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing() {
    let (mut writer, gather) = writer(options(8 << 20));
    let mut expected = Vec::new();
    let long = format!("storage/{}/Ünï 码.docx", "d".repeat(150));
    let longer = format!("storage/{}/{}", "e".repeat(240), "f".repeat(200));
    expected.push((writer.append(entry("dump"), b"True").await.unwrap(), b"True".to_vec()));
    for (path, content) in [
        ("databases/scheme/t".to_owned(), text(700, 1)),
        (long, noise(30_000, 2)),
        (longer, text(1_500_000, 3)),
        ("empty".to_owned(), Vec::new()),
        // What fits into its header ends with a separator, as a directory's name does.
        (format!("{}empty", "n/".repeat(60)), Vec::new()),
        ("a".repeat(100), noise(512, 4)),
        ("b".repeat(101), text(511, 5)),
    ] {
        expected.push((writer.append(entry(&path), &content).await.unwrap(), content));
    }
    let folder = NewEntry { kind: EntryKind::Directory, ..entry("folder/in a/folder/") };
    expected.push((writer.append(folder, b"").await.unwrap(), Vec::new()));

    for (n, len) in [0, 1, 513, 70_000, 900_000, 5_000_000].into_iter().enumerate() {
        let content = if n % 2 == 0 { text(len, 6) } else { noise(len, 7) };
        writer.begin(entry(&format!("streamed/{n}")), len as u64).await.unwrap();
        for chunk in content.chunks(65_537) {
            writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        expected.push((writer.end().await.unwrap(), content));

        let content = if n % 2 == 1 { text(len, 8) } else { noise(len, 9) };
        let mut spool = writer.spool();
        for chunk in content.chunks(10_001) {
            spool.write(chunk).await.unwrap();
        }
        assert_eq!(spool.len(), len as u64);
        let new =
            NewEntry { kind: EntryKind::Data, rows: Some(7), ..entry(&format!("spooled/{n}")) };
        expected.push((writer.append_spool(new, spool).await.unwrap(), content));
    }
    assert!(writer.position() > 0);
    let (bytes, summary) = finish(writer, gather).await;
    assert_eq!(summary.entries, expected.len() as u64);
    check(&bytes, &expected).await;
    let report = verify(&bytes).await;
    assert_eq!((report.rows, report.files, report.frames), (42, 14, summary.frames));
    assert_eq!(report.tar_bytes, summary.tar_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_enforced_and_entries_can_be_padded() {
    let (mut writer, gather) = writer(options(8 << 20));
    assert!(matches!(writer.end().await, Err(Error::NoEntry)));
    assert!(matches!(writer.write(Bytes::from_static(b"x")).await, Err(Error::NoEntry)));
    writer.begin(entry("grown"), 3).await.unwrap();
    assert!(
        matches!(writer.begin(entry("other"), 3).await, Err(Error::EntryOpen(path)) if path == "grown")
    );
    assert!(matches!(
        writer.write(Bytes::from_static(b"abcdef")).await,
        Err(Error::TooLong { size: 3, .. })
    ));
    let grown = writer.end().await.unwrap();

    writer.begin(entry("shrunk"), 1_000_000).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    assert!(matches!(writer.end().await, Err(Error::TooShort { size: 1_000_000, written: 3, .. })));
    let shrunk = writer.pad("it became shorter").await.unwrap();
    assert_eq!(shrunk.note.as_deref(), Some("it became shorter"));
    for path in ["", "../x", "manifest.json", "a/../b"] {
        assert!(matches!(writer.begin(entry(path), 1).await, Err(Error::BadPath { .. })));
    }
    let mut content = b"abc".to_vec();
    content.resize(1_000_000, 0);
    let (bytes, _) = finish(writer, gather).await;
    check(&bytes, &[(grown, b"abc".to_vec()), (shrunk, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_times_and_long_notes() {
    let (mut writer, gather) = writer(options(8 << 20));
    let mut expected = Vec::new();
    for (n, mtime) in
        [i64::MIN, -1, 0, 8_589_934_591, 8_589_934_592, i64::MAX].into_iter().enumerate()
    {
        let note = Some("\u{1}ü".repeat(20_000));
        let new = NewEntry { mtime, note, ..entry(&n.to_string()) };
        let record = writer.append(new, b"x").await.unwrap();
        assert_eq!(record.mtime, mtime.max(0));
        assert!(record.note.as_ref().unwrap().len() <= 16 << 10);
        expected.push(record);
    }
    let bytes = finish(writer, gather).await.0;
    assert!(verify(&bytes).await.ok());
    assert_eq!(list(&open(&bytes).await.unwrap()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn gnu_tar_unpacks_without_a_word() {
    let noise = noise(700_000, 1);
    let bytes = archive_of(&[("a/b", b"text"), ("a/c", &noise), (&"long/".repeat(60), b"x")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    silent("tar", &["xzf", "-", "-C", path], &bytes);
    assert_eq!(std::fs::read(folder.path().join("a/c")).unwrap(), noise);
    silent("tar", &["tzf", "-"], &archive_of(&[]).await);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(25))]

    /// Any mix of ways, sizes around tar's and the frames' edges, chunks of any size.
    #[test]
    fn any_mix_comes_back(
        plan in proptest::collection::vec(
            (0..4_u8, proptest::sample::select(vec![0_usize, 511, 512, 513, 65_535, 65_536, 262_143, 262_144, 262_145, 1 << 20, 4 << 20]),
             0..3_usize, proptest::bool::ANY, 1..100_000_usize),
            1..10,
        ),
        memory in 0..12_usize,
        compression in proptest::sample::select(vec![Compression::None, Compression::Fast, Compression::Small]),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (mut writer, gather) = writer(WriterOptions { compression, ..options(memory << 20) });
            let mut expected = Vec::new();
            for (n, (way, size, more, compresses, chunk)) in plan.into_iter().enumerate() {
                let len = size + more;
                let mut content = if compresses { text(len, n as u64) } else { noise(len, n as u64) };
                let new = entry(&format!("{}{n}", "n/".repeat(n * 20)));
                let record = match way {
                    0 => writer.append(new, &content).await.unwrap(),
                    1 => {
                        let mut spool = writer.spool();
                        for chunk in content.chunks(chunk) {
                            spool.write(chunk).await.unwrap();
                        }
                        writer.append_spool(new, spool).await.unwrap()
                    }
                    _ => {
                        let missing = if way == 2 { 0 } else { 1 + chunk };
                        writer.begin(new, (len + missing) as u64).await.unwrap();
                        let whole = Bytes::from(content.clone());
                        for start in (0..len).step_by(chunk) {
                            writer.write(whole.slice(start..len.min(start + chunk))).await.unwrap();
                        }
                        content.resize(len + missing, 0);
                        if missing == 0 { writer.end().await.unwrap() } else { writer.pad("short").await.unwrap() }
                    }
                };
                expected.push((record, content));
            }
            let (bytes, _) = finish(writer, gather).await;
            check(&bytes, &expected).await;
        });
    }
}
