//! An entry beyond what tar's octal size can say, and names at tar's limits, through the tools of others.

mod common;

use std::sync::Arc;

use archive::{LocalFile, Writer};
use bytes::Bytes;
use common::*;

/// 9 GiB of zeros: about 40 MB of archive.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn nine_gib() {
    let size = 9 << 30;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    let (sink, mut chunks) = tokio::sync::mpsc::channel::<Bytes>(2);
    let gather = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut out = std::fs::File::create(path).unwrap();
        while let Some(chunk) = chunks.blocking_recv() {
            out.write_all(&chunk).unwrap();
        }
    });
    let mut writer = Writer::new(options(64 << 20), sink);
    writer.append(entry("before"), b"before").await.unwrap();
    writer.begin(entry("nine"), size).await.unwrap();
    let padded = writer.pad("there is nothing but zeros").await.unwrap();
    assert_eq!(padded.size, size);
    let last = writer.append(entry("last"), b"last").await.unwrap();
    writer.finish(info()).await.unwrap();
    gather.await.unwrap();

    let source = Arc::new(LocalFile::open(file.path()).await.unwrap());
    let report = archive::verify(source.clone(), 2, |_| {}).await.unwrap();
    assert!(report.ok(), "{:?}", report.problems);
    assert!(report.tar_bytes > size);
    let archive = archive::Archive::open(source).await.unwrap();
    assert_eq!(content(&archive, &last).await, b"last");
    let listed = silent("tar", &["tvzf", file.path().to_str().unwrap(), "--numeric-owner"], b"");
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.lines().nth(1).unwrap().contains(&format!(" {size} ")), "{listed}");
    silent("gzip", &["-t"], &std::fs::read(file.path()).unwrap());
    let seen = by_python(file.path());
    assert_eq!(
        (seen[1].1, seen[1].2.as_str()),
        (size, padded.sha256.unwrap().to_string().as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_length() {
    let (mut writer, gather) = writer(options(4 << 20));
    let mut names = Vec::new();
    for length in [1, 98, 99, 100, 101, 155, 255, 256, 257, 510, 511, 512, 513, 1023, 1024, 4000] {
        // Parts of at most 200 bytes, of characters of two bytes where they fit.
        let name: String = (0..length / 2).map(|n| if n % 90 == 45 { "a/" } else { "ü" }).collect();
        let name = name + if length % 2 == 1 { "z" } else { "" };
        assert_eq!(name.len(), length);
        names.push(name.clone());
        writer.append(entry(&name), name.as_bytes()).await.unwrap();
    }
    let (bytes, _) = finish(writer, gather).await;
    assert!(verify(&bytes).await.ok());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    names.push("manifest.json".to_owned());
    let seen: Vec<_> = by_python(file.path()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(seen, names);
    let args = ["tzf", file.path().to_str().unwrap(), "--quoting-style=literal"];
    let listed = String::from_utf8(silent("tar", &args, b"")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
}
