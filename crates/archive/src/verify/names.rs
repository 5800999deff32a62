//! Finding names that are there twice, among any number of entries in bounded memory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Report;
use crate::manifest_reader::{self, Item};
use crate::reader::Framed;
use crate::{Error, Result};

/// Hashes held at once: 32 MiB, and as much again for a moment while they grow.
const MOST: usize = 4 << 20;

/// The hashes of one share of all names. The hash has a random key, so nobody can make up names that collide.
pub(super) struct Hashes {
    hasher: RandomState,
    hashes: Vec<u64>,
    /// Names are shared out by their hash; a power of two.
    shares: u64,
    share: u64,
    most: usize,
}

impl Hashes {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), hashes: Vec::new(), shares: 1, share: 0, most: MOST }
    }

    pub(super) fn add(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        if hash % self.shares != self.share {
            return;
        }
        self.hashes.push(hash);
        while self.share == 0 && self.hashes.len() >= self.most && self.shares < 1 << 32 {
            self.shares *= 2;
            let shares = self.shares;
            self.hashes.retain(|hash| hash % shares == 0);
        }
    }

    /// The hashes that are there twice, at most 1000. Empties the list.
    fn twice(&mut self) -> HashSet<u64> {
        self.hashes.sort_unstable();
        let twice = self
            .hashes
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .take(1000)
            .collect();
        self.hashes.clear();
        twice
    }

    /// Whether everything was looked at; otherwise turns to the next share.
    fn next_share(&mut self) -> bool {
        self.share += 1;
        self.share < self.shares
    }
}

/// Notes every name that the manifest lists twice.
pub(super) async fn check(framed: &Arc<Framed>, report: &mut Report) -> Result<()> {
    check_with(framed, Hashes::new(), report).await
}

async fn check_with(framed: &Arc<Framed>, mut hashes: Hashes, report: &mut Report) -> Result<()> {
    loop {
        hashes = each_name(framed, hashes, |hashes, name| hashes.add(&name)).await?;
        let twice = hashes.twice();
        if !twice.is_empty() {
            // Two names may share a hash, so the names themselves decide.
            let state = (hashes, twice, HashSet::new(), Vec::new());
            let found = each_name(framed, state, |(hashes, twice, seen, found), name| {
                if twice.contains(&hashes.hasher.hash_one(name.as_str())) && seen.len() < 10_000 {
                    if seen.contains(&name) {
                        found.push(name);
                    } else {
                        seen.insert(name);
                    }
                }
            });
            let (back, _, _, found) = found.await?;
            hashes = back;
            for name in found {
                report.problem(format!("the entry {name:?} is there twice"));
            }
        }
        if !hashes.next_share() {
            return Ok(());
        }
    }
}

async fn each_name<S: Send + 'static>(
    framed: &Arc<Framed>,
    mut state: S,
    mut visit: impl FnMut(&mut S, String) + Send + 'static,
) -> Result<S> {
    let (pull, framed) = (framed.pull(), Arc::clone(framed));
    let read = move || {
        manifest_reader::read(pull, &framed.tail, |item| {
            if let Item::Entry(entry) = item {
                visit(&mut state, entry.path);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(state)
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Closed)?
}

/// Names of an archive that can be read only once: doubles are only warned of, and not looked for beyond a number.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
    full: bool,
}

impl Seen {
    /// Whether the name was there before.
    pub(super) fn again(&mut self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        if self.hashes.len() >= MOST / 2 {
            self.full = true;
            return self.hashes.contains(&hash);
        }
        !self.hashes.insert(hash)
    }

    /// Whether some names were not remembered.
    pub(super) fn full(&self) -> bool {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Archive, EntryKind, ManifestInfo, NewEntry, Writer, WriterOptions};

    async fn archive_of(names: impl Iterator<Item = u32>) -> Arc<Framed> {
        let (sink, mut chunks) = tokio::sync::mpsc::channel::<bytes::Bytes>(2);
        let options = WriterOptions {
            compression: crate::Compression::Fast,
            workers: 1,
            memory: 0,
            temp_dir: std::env::temp_dir(),
        };
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                all.extend_from_slice(&chunk);
            }
            all
        });
        let mut writer = Writer::new(options, sink);
        for name in names {
            let path = name.to_string();
            let kind = EntryKind::File;
            let entry = NewEntry { path, kind, mtime: 0, rows: None, note: None, version: None };
            writer.append(entry, b"").await.unwrap();
        }
        writer.finish(ManifestInfo::default()).await.unwrap();
        let bytes = bytes::Bytes::from(gather.await.unwrap());
        let tail = crate::reader::find_tail(&bytes).await.unwrap().unwrap();
        assert!(Archive::open(Arc::new(bytes.clone())).await.is_ok());
        Arc::new(Framed::open(Arc::new(bytes), tail).await.unwrap())
    }

    #[tokio::test]
    async fn doubles_are_found_in_several_passes() {
        let names = (0..2000).chain([5, 777, 1999, 777]);
        let framed = archive_of(names).await;
        for most in [MOST, 1000, 100] {
            let mut report = Report::default();
            check_with(&framed, Hashes { most, ..Hashes::new() }, &mut report).await.unwrap();
            report.problems.sort();
            let expected = ["1999", "5", "777", "777"]
                .map(|name| format!("the entry {name:?} is there twice"));
            assert_eq!(report.problems, expected, "{most}");
        }
        let mut report = Report::default();
        check_with(&archive_of(0..2000).await, Hashes { most: 64, ..Hashes::new() }, &mut report)
            .await
            .unwrap();
        assert!(report.ok());
    }

    #[test]
    fn names_of_foreign_archives() {
        let mut seen = Seen::default();
        assert!(!seen.again("a") && !seen.again("b") && seen.again("a") && !seen.full());
    }
}
