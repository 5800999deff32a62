//! The demo portal's files: folders of many languages, kinds and sizes as offices have them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::content;
use super::random::Random;
use super::words::{FOLDERS, SUBFOLDERS, TITLES};

/// 60 % of the bytes are in kinds that are compressed already.
const COMPRESSED_PERCENT: f64 = 60.0;

struct FileKind {
    extension: &'static str,
    /// Of a hundred files.
    share: u64,
    /// Typical sizes in bytes, before all are scaled to the sum that was asked for.
    least: f64,
    most: f64,
    compressed: bool,
    make: fn(&mut Random, usize) -> Vec<u8>,
}

const fn kind(
    extension: &'static str,
    share: u64,
    (least, most): (f64, f64),
    compressed: bool,
    make: fn(&mut Random, usize) -> Vec<u8>,
) -> FileKind {
    FileKind { extension, share, least, most, compressed, make }
}

const KB: f64 = 1e3;
const MB: f64 = 1e6;

const KINDS: &[FileKind] = &[
    kind("docx", 17, (15.0 * KB, 0.6 * MB), true, content::docx),
    kind("xlsx", 9, (10.0 * KB, 0.3 * MB), true, content::xlsx),
    kind("pptx", 5, (100.0 * KB, 4.0 * MB), true, content::pptx),
    kind("pdf", 12, (20.0 * KB, 0.6 * MB), true, content::pdf),
    kind("jpg", 11, (40.0 * KB, 0.8 * MB), true, content::jpeg),
    kind("png", 5, (10.0 * KB, 0.4 * MB), true, content::png),
    kind("mp4", 1, (1.0 * MB, 20.0 * MB), true, content::mp4),
    kind("txt", 12, (10.0 * KB, 0.4 * MB), false, content::txt),
    kind("csv", 9, (10.0 * KB, 5.0 * MB), false, content::csv),
    kind("html", 6, (10.0 * KB, 0.4 * MB), false, content::html),
    kind("json", 5, (10.0 * KB, 2.0 * MB), false, content::json),
    kind("eml", 8, (10.0 * KB, 1.0 * MB), false, content::eml),
];

/// Fills the folder `dir`, which is made, with `count` files of about `bytes` together.
pub fn write_files(dir: &Path, count: usize, bytes: u64) -> io::Result<()> {
    let mut random = Random::new(count as u64 ^ bytes);
    let mut plan: Vec<(&FileKind, f64)> = (0..count)
        .map(|_| {
            let kind = any_kind(&mut random);
            (kind, random.skewed(kind.least, kind.most))
        })
        .collect();
    scale(&mut plan, true, bytes as f64 * COMPRESSED_PERCENT / 100.0);
    scale(&mut plan, false, bytes as f64 * (1.0 - COMPRESSED_PERCENT / 100.0));
    for (number, (kind, size)) in plan.into_iter().enumerate() {
        let mut path = dir.join(random.pick(FOLDERS));
        for _ in 0..random.below(3) {
            path.push(random.pick(SUBFOLDERS));
        }
        fs::create_dir_all(&path)?;
        path.push(format!("{} {number:04}.{}", random.pick(TITLES), kind.extension));
        let mut file = File::create(&path)?;
        file.write_all(&(kind.make)(&mut random, size as usize))?;
        let age = Duration::from_secs(1_577_836_800 + random.below(5 * 365 * 86_400));
        file.set_modified(SystemTime::UNIX_EPOCH + age)?;
    }
    Ok(())
}

fn any_kind(random: &mut Random) -> &'static FileKind {
    let mut ticket = random.below(KINDS.iter().map(|kind| kind.share).sum());
    KINDS
        .iter()
        .find(|kind| match ticket.checked_sub(kind.share) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        })
        .unwrap_or(&KINDS[0])
}

/// Makes the files that are compressed, or those that are not, `total` bytes together.
fn scale(plan: &mut [(&FileKind, f64)], compressed: bool, total: f64) {
    let sum: f64 =
        plan.iter().filter(|(kind, _)| kind.compressed == compressed).map(|(_, size)| size).sum();
    for (kind, size) in plan {
        if kind.compressed == compressed {
            *size *= total / sum;
        }
    }
}
