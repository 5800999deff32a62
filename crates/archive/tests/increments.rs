//! Increments: what they stand for is read from several archives, and nothing wrong is taken for right.

mod common;

use std::sync::Arc;

use archive::{
    Archive, Digest, EntryKind, EntryRecord, Error, Link, ManifestInfo, NewEntry, ReadAt, Segment,
    Writer, append_segments, verify, verify_links,
};
use bytes::Bytes;
use common::{entry, finish, info, options};
use futures::TryStreamExt;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

fn increment() -> (Writer, tokio::task::JoinHandle<Vec<u8>>) {
    let (sink, mut chunks) = mpsc::channel::<Bytes>(2);
    let gather = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            all.extend_from_slice(&chunk);
        }
        all
    });
    (Writer::increment(options(1 << 20), sink), gather)
}

fn digest(content: &[u8]) -> Digest {
    Digest(Sha256::digest(content).into())
}

async fn link(id: &str, bytes: &Bytes) -> Link {
    let archive = Archive::open(Arc::new(bytes.clone())).await.unwrap();
    Link {
        id: id.to_owned(),
        name: format!("{id}.tar.gz"),
        url: None,
        place: None,
        size: bytes.len() as u64,
        sha256: None,
        manifest: archive.manifest_digest().unwrap(),
        started_on: String::new(),
    }
}

/// A chain of archives of one entry each time, of which `kept` says which blocks the next one keeps.
async fn chain(contents: &[Vec<Vec<u8>>]) -> (Vec<Bytes>, Vec<Link>) {
    let (mut files, mut links): (Vec<Bytes>, Vec<Link>) = (Vec::new(), Vec::new());
    let mut known: Vec<(Vec<u8>, Segment)> = Vec::new();
    for (number, blocks) in contents.iter().enumerate() {
        let whole = blocks.concat();
        let bytes =
            if number == 0 {
                let (mut writer, gather) = common::writer(options(1 << 20));
                let record = writer.append(entry("table"), &whole).await.unwrap();
                let mut at = record.tar_offset;
                for block in blocks {
                    let length = block.len() as u64;
                    known.push((block.clone(), Segment { archive: 0, offset: at, length }));
                    at += length;
                }
                writer.append(entry("same"), b"same").await.unwrap();
                finish(writer, gather).await.0
            } else {
                for (_, segment) in &mut known {
                    segment.archive += 1;
                }
                let (mut writer, gather) = increment();
                let mut new = writer.spool();
                let mut segments = Vec::new();
                let mut fresh = Vec::new();
                for block in blocks {
                    match known.iter().find(|(known, _)| known == block) {
                        Some((_, segment)) => append_segments(&mut segments, [*segment]),
                        None => {
                            let (offset, length) = (new.len(), block.len() as u64);
                            let own = Segment { archive: 0, offset, length };
                            append_segments(&mut segments, [own]);
                            new.write(block).await.unwrap();
                            fresh.push((block.clone(), own));
                        }
                    }
                }
                writer.append_parts(entry("table"), new, segments, digest(&whole)).await.unwrap();
                let parent = Archive::open(Arc::new(files[number - 1].clone())).await.unwrap();
                let same = parent.find("same").await.unwrap().unwrap();
                let same = EntryRecord { segments: same.seen_from_child(), ..same };
                writer.refer(&same).await.unwrap();
                writer.append(entry("own"), &[number as u8]).await.unwrap();
                let info = ManifestInfo { links: links.clone(), ..info() };
                writer.finish(info).await.unwrap();
                let bytes = Bytes::from(gather.await.unwrap());
                // Where its own blocks lie is what its list says.
                let archive = Archive::open(Arc::new(bytes.clone())).await.unwrap();
                let table = archive.find("table").await.unwrap().unwrap();
                if let Some(first) = table.segments.iter().find(|segment| segment.archive == 0) {
                    let start = first.offset;
                    known.extend(fresh.into_iter().map(|(block, own)| {
                        (block, Segment { offset: own.offset + start, ..own })
                    }));
                }
                bytes
            };
        links.insert(0, link(&format!("link{number}"), &bytes).await);
        files.push(bytes);
    }
    (files, links)
}

/// The archive `number` with all that it needs.
async fn open(files: &[Bytes], number: usize) -> Archive {
    let archive = Archive::open(Arc::new(files[number].clone())).await.unwrap();
    let sources =
        files[..number].iter().rev().map(|file| Ok(Arc::new(file.clone()) as Arc<dyn ReadAt>));
    archive.linked(sources.collect())
}

async fn content(archive: &Archive, path: &str) -> Result<Vec<u8>, Error> {
    let entry = archive.find(path).await?.unwrap();
    let pieces: Vec<Bytes> = archive.read(&entry, None).try_collect().await?;
    Ok(pieces.concat())
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    (0..12_u8, 1..6000_usize).prop_map(|(byte, length)| {
        (0..length).map(|n| byte.wrapping_mul(31).wrapping_add((n * n % 251) as u8)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_chain_reads_as_what_was_written(
        contents in prop::collection::vec(prop::collection::vec(block(), 1..20), 1..6),
        from in 0.0..1.0, to in 0.0..1.0,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (files, _) = chain(&contents).await;
            for (number, blocks) in contents.iter().enumerate() {
                let whole = blocks.concat();
                let archive = open(&files, number).await;
                archive.check_links().await.unwrap();
                assert_eq!(content(&archive, "table").await.unwrap(), whole);
                assert_eq!(content(&archive, "same").await.unwrap(), b"same");
                let table = archive.find("table").await.unwrap().unwrap();
                let at = |share: f64| (whole.len() as f64 * share) as u64;
                let range = at(from)..at(to).max(at(from));
                let part: Vec<Bytes> =
                    archive.read(&table, Some(range.clone())).try_collect().await.unwrap();
                assert_eq!(part.concat(), &whole[range.start as usize..range.end as usize]);
                let mut report = verify(Arc::new(files[number].clone()), 2, |_| {}).await.unwrap();
                verify_links(&archive, 2, |_| {}, &mut report).await.unwrap();
                assert!(report.ok(), "{:?}", report.problems);
                assert_eq!(report.entries, if number == 0 { 2 } else { 3 });
            }
        });
    }
}

fn blocks(seeds: &[u8]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| vec![*seed; 3000]).collect()
}

#[tokio::test]
async fn a_link_that_is_wrong_is_named() {
    let contents = [blocks(&[1, 2, 3]), blocks(&[1, 4, 3]), blocks(&[5, 1, 4])];
    let (files, _) = chain(&contents).await;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let broken: Vec<(usize, Change)> = vec![
        (0, Box::new(|bytes| bytes[40] ^= 1)),
        (1, Box::new(|bytes| bytes.truncate(100))),
        (1, Box::new(|bytes| bytes.clear())),
        (
            0,
            Box::new(|bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x80;
            }),
        ),
    ];
    for (which, change) in broken {
        let mut files = files.clone();
        let mut bytes = files[which].to_vec();
        change(&mut bytes);
        files[which] = bytes.into();
        let archive = open(&files, 2).await;
        let mut report = verify(Arc::new(files[2].clone()), 2, |_| {}).await.unwrap();
        assert!(report.ok());
        verify_links(&archive, 2, |_| {}, &mut report).await.unwrap();
        let name = format!("link{which}.tar.gz");
        assert!(report.problems[0].contains(&name), "{:?}", report.problems);
    }
    // Another whole archive in its place.
    let archive = Archive::open(Arc::new(files[2].clone())).await.unwrap();
    let source = |file: &Bytes| Ok(Arc::new(file.clone()) as Arc<dyn ReadAt>);
    let swapped = archive.clone().linked(vec![source(&files[0]), source(&files[1])]);
    assert!(matches!(swapped.check_links().await, Err(Error::Link { id, .. }) if id == "link1"));
    // What was not looked for is missed only by what lies there.
    let alone = archive.linked(vec![Err("is not there".to_owned()), source(&files[0])]);
    assert_eq!(content(&alone, "own").await.unwrap(), [2]);
    assert_eq!(content(&alone, "same").await.unwrap(), b"same");
    let error = content(&alone, "table").await.unwrap_err();
    assert!(
        error.to_string().contains("link1.tar.gz") && error.to_string().contains("is not there")
    );
}

#[tokio::test]
async fn lists_that_no_honest_increment_has_are_refused() {
    let (files, links) = chain(&[blocks(&[1, 2])]).await;
    let good = EntryRecord {
        segments: vec![Segment { archive: 1, offset: 512, length: 10 }],
        size: 10,
        ..open(&files, 0).await.find("table").await.unwrap().unwrap()
    };
    let segment = |archive, offset, length| Segment { archive, offset, length };
    for bad in [
        EntryRecord { size: 11, ..good.clone() },
        EntryRecord { segments: vec![segment(2, 0, 10)], ..good.clone() },
        EntryRecord { segments: vec![segment(1, u64::MAX, 10)], ..good.clone() },
        EntryRecord { segments: vec![segment(1, 0, 10), segment(1, 0, 0)], ..good.clone() },
        EntryRecord { sha256: None, ..good.clone() },
        EntryRecord { path: "../x".to_owned(), ..good.clone() },
        EntryRecord { path: "manifest.json".to_owned(), ..good.clone() },
        EntryRecord { path: "extra/increment/entries".to_owned(), ..good.clone() },
    ] {
        let (mut writer, gather) = increment();
        writer.refer(&bad).await.unwrap();
        writer.finish(ManifestInfo { links: links.clone(), ..info() }).await.unwrap();
        let bytes = Bytes::from(gather.await.unwrap());
        let all = [files[0].clone(), bytes];
        let archive = open(&all, 1).await;
        let listed: Result<Vec<_>, _> = archive.entries().try_collect().await;
        assert!(matches!(listed, Err(Error::Hostile(_))), "{bad:?}: {listed:?}");
    }
    // Behind its archive's end: only that archive can tell.
    let (mut writer, gather) = increment();
    let far = EntryRecord { segments: vec![segment(1, 1 << 40, 10)], ..good.clone() };
    writer.refer(&far).await.unwrap();
    writer.finish(ManifestInfo { links: links.clone(), ..info() }).await.unwrap();
    let all = [files[0].clone(), Bytes::from(gather.await.unwrap())];
    let archive = open(&all, 1).await;
    assert!(matches!(content(&archive, "table").await, Err(Error::Damaged(_))));
    let mut report = verify(Arc::new(all[1].clone()), 2, |_| {}).await.unwrap();
    verify_links(&archive, 2, |_| {}, &mut report).await.unwrap();
    assert!(report.problems[0].contains("behind the end"), "{:?}", report.problems);
    // An increment of nothing.
    let (writer, gather) = increment();
    writer.finish(info()).await.unwrap();
    let bytes = Bytes::from(gather.await.unwrap());
    assert!(matches!(Archive::open(Arc::new(bytes)).await, Err(Error::Hostile(_))));
}

#[tokio::test]
async fn very_many_parts_are_listed_in_several_lines() {
    let (files, links) = chain(&[blocks(&[7])]).await;
    let (mut writer, gather) = increment();
    let start = open(&files, 0).await.find("table").await.unwrap().unwrap().tar_offset;
    // Backwards, so that none joins its neighbour.
    let segments: Vec<_> = (0..30_000_u64)
        .map(|n| Segment { archive: 1, offset: start + 2999 - n % 3000, length: 1 })
        .collect();
    let whole = vec![7; segments.len()];
    let none = writer.spool();
    writer.append_parts(entry("table"), none, segments.clone(), digest(&whole)).await.unwrap();
    let last = NewEntry { kind: EntryKind::Marker, ..entry("last") };
    writer.append(last, b"x").await.unwrap();
    writer.finish(ManifestInfo { links, ..info() }).await.unwrap();
    let all = [files[0].clone(), Bytes::from(gather.await.unwrap())];
    let archive = open(&all, 1).await;
    assert_eq!(archive.find("table").await.unwrap().unwrap().segments, segments);
    assert_eq!(content(&archive, "table").await.unwrap(), whole);
    assert_eq!(content(&archive, "last").await.unwrap(), b"x");
}
