//! What the tests share: making archives, and the tools of others.
#![allow(dead_code)]

pub mod forge;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use archive::{
    Archive, Compression, EntryKind, EntryRecord, ManifestInfo, NewEntry, Piece, Report, Summary,
    Writer, WriterOptions,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

pub fn options(memory: usize) -> WriterOptions {
    WriterOptions {
        compression: Compression::Fast,
        workers: 2,
        memory,
        temp_dir: std::env::temp_dir(),
    }
}

pub fn entry(path: &str) -> NewEntry {
    NewEntry {
        path: path.to_owned(),
        kind: EntryKind::File,
        mtime: 1_700_000_000,
        rows: None,
        note: None,
        version: None,
    }
}

pub fn info() -> ManifestInfo {
    ManifestInfo {
        program: "portal-backup 0.0.0".to_owned(),
        portal: "test".to_owned(),
        ..ManifestInfo::default()
    }
}

/// A writer, and a task that gathers what it writes.
pub fn writer(options: WriterOptions) -> (Writer, tokio::task::JoinHandle<Vec<u8>>) {
    let (sink, mut chunks) = mpsc::channel::<Bytes>(2);
    let gather = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            all.extend_from_slice(&chunk);
        }
        all
    });
    (Writer::new(options, sink), gather)
}

/// Finishes an archive and checks what the summary says of it.
pub async fn finish(writer: Writer, gather: tokio::task::JoinHandle<Vec<u8>>) -> (Bytes, Summary) {
    let summary = writer.finish(info()).await.unwrap();
    let bytes = gather.await.unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(summary.sha256, sha256(&bytes));
    (bytes.into(), summary)
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

/// An archive of files of these names and contents.
pub async fn archive_of(files: &[(&str, &[u8])]) -> Bytes {
    let (mut writer, gather) = writer(options(16 << 20));
    for (path, content) in files {
        writer.append(entry(path), content).await.unwrap();
    }
    finish(writer, gather).await.0
}

pub async fn open(bytes: &Bytes) -> archive::Result<Archive> {
    Archive::open(Arc::new(bytes.clone())).await
}

pub async fn verify(bytes: &Bytes) -> Report {
    archive::verify(Arc::new(bytes.clone()), 2, |_| {}).await.unwrap()
}

pub async fn list(archive: &Archive) -> Vec<EntryRecord> {
    archive.entries().try_collect().await.unwrap()
}

pub async fn content(archive: &Archive, entry: &EntryRecord) -> Vec<u8> {
    let pieces: Vec<Bytes> = archive.read(entry, None).try_collect().await.unwrap();
    pieces.concat()
}

/// Every entry with its content, in one pass.
pub async fn contents(archive: &Archive) -> Vec<(EntryRecord, Vec<u8>)> {
    let mut all: Vec<(EntryRecord, Vec<u8>)> = Vec::new();
    let mut pieces = archive.contents().boxed();
    while let Some(piece) = pieces.try_next().await.unwrap() {
        match piece {
            Piece::Entry(entry) => all.push((entry, Vec::new())),
            Piece::Data(bytes) => all.last_mut().unwrap().1.extend_from_slice(&bytes),
            Piece::End | Piece::Warning(_) => {}
        }
    }
    all
}

/// Bytes that do not compress, the same for each seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes like those of a database's dump.
pub fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 100);
    let mut n = seed;
    while bytes.len() < len {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (a, b) = (n >> 40, (n >> 20) & 0xfff);
        writeln!(
            bytes,
            "({a},'user{b}@example.org','2024-0{}-11 10:{}:00',{b},NULL),",
            b % 9 + 1,
            a % 60
        )
        .unwrap();
    }
    bytes.truncate(len);
    bytes
}

/// Runs a program with `input`; it must succeed and say nothing on standard error. Returns its output.
pub fn silent(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(program, args, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.is_empty(),
        "{program} {args:?}: {} {said}",
        output.status
    );
    output.stdout
}

pub fn run(program: &str, args: &[&str], input: &[u8]) -> std::process::Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that fails early closes its input.
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    output
}

/// Name, size and SHA-256 of each member, as Python's tarfile sees them.
pub fn by_python(file: &Path) -> Vec<(String, u64, String)> {
    let script = "
import sys, tarfile, hashlib, json
out = []
with tarfile.open(sys.argv[1], 'r:*') as tar:
    for m in tar:
        digest = hashlib.sha256()
        if m.isreg():
            f = tar.extractfile(m)
            while chunk := f.read(1 << 20):
                digest.update(chunk)
        out.append([m.name, m.size, digest.hexdigest()])
json.dump(out, sys.stdout)
";
    let output = silent("python3", &["-c", script, file.to_str().unwrap()], b"");
    serde_json::from_slice(&output).unwrap()
}
