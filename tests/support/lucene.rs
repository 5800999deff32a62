//! A writer that does with its folder what Lucene does: writes the files of a segment piece by piece, commits by
//! `segments_N` (first with a wrong checksum, then with the right one), merges segments, and deletes what no commit
//! needs any more. A commit also lists its files with their checksums, so that a copy can be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::portal::noise;

const HEAD: [u8; 4] = [0xff, 0xff, 0xff, 0xf7];

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap());
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// One writer of one folder.
pub struct Writer {
    dir: PathBuf,
    next: u64,
    generation: u64,
    state: u64,
    /// The files of each live segment, with size and checksum.
    segments: BTreeMap<String, BTreeMap<String, (u64, u32)>>,
}

impl Writer {
    /// In an empty folder; begins with a first commit.
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut writer = Self {
            dir: dir.to_owned(),
            next: 0,
            generation: 0,
            state: 88_172_645_463_325_252,
            segments: BTreeMap::new(),
        };
        std::fs::write(dir.join("write.lock"), "").unwrap();
        writer.add_segment(2000);
        writer.commit();
        writer
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn write(&mut self, name: &str, size: usize) -> (u64, u32) {
        let start = self.random(1000) as usize;
        let content = noise(start + size)[start..].to_vec();
        let mut file = File::create_new(self.dir.join(name)).unwrap();
        for piece in content.chunks(size.div_ceil(3).max(1)) {
            file.write_all(piece).unwrap();
        }
        (content.len() as u64, crc(&content))
    }

    pub fn add_segment(&mut self, size: usize) {
        let name = format!("_{}", base36(self.next));
        self.next += 1;
        let ends: &[&str] = match self.random(2) {
            0 => &["cfs"],
            _ => &["fdt", "fdx", "fnm", "frq", "nrm", "prx", "tii", "tis"],
        };
        let mut files = BTreeMap::new();
        for end in ends {
            let file = format!("{name}.{end}");
            let part = size / ends.len() + self.random(50) as usize;
            let written = self.write(&file, part);
            files.insert(file, written);
        }
        self.segments.insert(name, files);
    }

    /// Notes deletions in a segment, in a file of a new generation.
    fn delete_documents(&mut self) {
        let at = self.random(self.segments.len() as u64) as usize;
        let name = self.segments.keys().nth(at).unwrap().clone();
        let file = format!("{name}_{}.del", base36(self.generation + 1));
        if self.segments[&name].contains_key(&file) {
            return;
        }
        let written = self.write(&file, 40);
        let files = self.segments.get_mut(&name).unwrap();
        files.retain(|name, _| !name.ends_with(".del"));
        files.insert(file, written);
    }

    fn merge(&mut self) {
        let merged: Vec<_> = self.segments.keys().take(6).cloned().collect();
        self.add_segment(6000);
        for name in merged {
            self.segments.remove(&name);
        }
    }

    /// Makes the segments of now the index, and deletes what belongs to none.
    pub fn commit(&mut self) {
        self.generation += 1;
        let name = format!("segments_{}", base36(self.generation));
        let mut content = HEAD.to_vec();
        content.extend_from_slice(&(self.segments.len() as u32).to_be_bytes());
        for segment in self.segments.keys() {
            put_text(&mut content, segment);
        }
        let files: Vec<_> = self.segments.values().flatten().collect();
        content.extend_from_slice(&(files.len() as u32).to_be_bytes());
        for (file, (size, sum)) in files {
            put_text(&mut content, file);
            content.extend_from_slice(&size.to_be_bytes());
            content.extend_from_slice(&sum.to_be_bytes());
        }
        let sum = u64::from(crc(&content));
        let mut file = File::create_new(self.dir.join(&name)).unwrap();
        file.write_all(&content).unwrap();
        file.write_all(&(sum ^ 1).to_be_bytes()).unwrap();
        file.seek(SeekFrom::Start(content.len() as u64)).unwrap();
        file.write_all(&sum.to_be_bytes()).unwrap();
        drop(file);
        let mut hint = (-2_i32).to_be_bytes().to_vec();
        hint.extend([self.generation.to_be_bytes(), self.generation.to_be_bytes()].concat());
        std::fs::write(self.dir.join("segments.gen"), hint).unwrap();

        let kept: BTreeSet<_> = self.segments.values().flat_map(BTreeMap::keys).collect();
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            let is_old = file.starts_with("segments_") && file != name;
            if is_old || (file.starts_with('_') && !kept.contains(&file)) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    pub fn step(&mut self) {
        match self.random(10) {
            0..5 => {
                let size = 200 + self.random(3000) as usize;
                self.add_segment(size);
            }
            5..7 => self.delete_documents(),
            _ => self.commit(),
        }
        if self.segments.len() > 12 {
            self.merge();
        }
    }

    /// Goes on until the handle is stopped.
    pub fn run(mut self) -> Writing {
        let stop = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (stop.clone(), commits.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                self.step();
                counted.store(self.generation, Ordering::Relaxed);
            }
            self
        });
        Writing { stop, commits, thread: Some(thread) }
    }
}

/// A writer at work.
pub struct Writing {
    stop: Arc<AtomicBool>,
    pub commits: Arc<AtomicU64>,
    thread: Option<JoinHandle<Writer>>,
}

impl Writing {
    pub fn stop(mut self) -> Writer {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a copy as a reader would: one commit, all of its files, each as it was written, and nothing else but other
/// generations of its segments' deletions, which readers pass over. Its N.
pub fn check(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    let commits: Vec<_> = files.keys().filter(|name| name.starts_with("segments")).collect();
    let [commit] = commits[..] else { panic!("not one commit: {commits:?}") };
    let content = &files[commit];
    let (body, sum) = content.split_last_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*sum), u64::from(crc(body)), "{commit} is torn");
    let mut rest = &body[4..];
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken.to_vec()
    };
    let number = |bytes: Vec<u8>| bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let mut segments = Vec::new();
    for _ in 0..number(take(4)) {
        let length = take(1)[0];
        segments.push(String::from_utf8(take(length.into())).unwrap());
    }
    let mut others: BTreeSet<_> = files.keys().filter(|name| *name != commit).cloned().collect();
    for _ in 0..number(take(4)) {
        let length = take(1)[0];
        let name = String::from_utf8(take(length.into())).unwrap();
        let (size, sum) = (number(take(8)), number(take(4)));
        let file = files.get(&name).unwrap_or_else(|| panic!("{name} of {commit} is missing"));
        assert_eq!((file.len() as u64, u64::from(crc(file))), (size, sum), "{name} of {commit}");
        others.remove(&name);
    }
    others.retain(|name| {
        let segment = name.strip_suffix(".del").and_then(|name| name.rsplit_once('_'));
        !segment.is_some_and(|(segment, _)| segments.iter().any(|known| known == segment))
    });
    assert!(others.is_empty(), "more than the commit: {others:?}");
    u64::from_str_radix(commit.strip_prefix("segments_").unwrap(), 36).unwrap()
}
