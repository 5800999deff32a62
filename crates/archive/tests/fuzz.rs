//! What the fuzz targets do, for the small archives in `corpus` and for changes of them that are the same at each run.

mod common;
#[path = "common/exercise.rs"]
mod exercise;

use bytes::Bytes;
use common::forge::{file, member};
use common::*;
use exercise::{exercise, mutate};

fn corpus() -> Vec<(String, Bytes)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), Bytes::from(std::fs::read(path).unwrap()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_and_changes_of_it() {
    let corpus = corpus();
    assert!(corpus.len() >= 4);
    for (name, bytes) in corpus {
        let report = exercise(bytes.clone()).await;
        assert_eq!(report.ok(), !name.starts_with("bad-"), "{name}: {:?}", report.problems);
        for seed in 0..400 {
            let changes = noise(4 * (1 + seed as usize % 6), seed + 1);
            let changed = Bytes::from(mutate(&bytes, &changes));
            let same = changed == bytes;
            let report = exercise(changed).await;
            if name == "framed.tar.gz" {
                assert_eq!(report.ok(), same, "{seed}");
            }
        }
    }
}

/// Writes the corpus anew; only when the format changes.
#[tokio::test]
#[ignore = "writes files of the repository"]
async fn write_the_corpus() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"));
    let framed = archive_of(&[
        ("dump", b"True"),
        (&"long/".repeat(25), &text(900, 1)),
        ("noise", &noise(600, 1)),
    ])
    .await;
    let end = vec![0; 1024];
    let entries = [
        file("/databases/scheme/t", b'0', b"CREATE TABLE"),
        file("././@LongLink", b'L', format!("{}\0", "l".repeat(120)).as_bytes()),
        file("l", b'0', b"long"),
        file("x", b'x', b"12 path=a/b\n"),
        file("x", b'0', b"pax"),
    ]
    .concat();
    let tar = [&entries[..], &end].concat();
    let linked = [&entries[..], &file("link", b'2', b""), &end].concat();
    std::fs::write(folder.join("framed.tar.gz"), &framed).unwrap();
    std::fs::write(folder.join("foreign.tar.gz"), member(&tar)).unwrap();
    std::fs::write(folder.join("foreign.tar"), &tar).unwrap();
    std::fs::write(folder.join("bad-link.tar"), &linked).unwrap();
    std::fs::write(folder.join("bad-cut.tar.gz"), &framed[..framed.len() - 100]).unwrap();
}
