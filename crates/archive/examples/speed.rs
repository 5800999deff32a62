//! How fast archives are written and verified, from memory: `cargo run --release -p archive --example speed`.
//! Prints wall-clock and CPU seconds; arguments: MiB of noise, MiB of text, MiB of memory, workers.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use archive::{Compression, EntryKind, ManifestInfo, NewEntry, Summary, Writer, WriterOptions};
use bytes::Bytes;
use tokio::sync::mpsc;

const MIB: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let argument = |index: usize, default| arguments.get(index).copied().unwrap_or(default);
    let (noise, text) = (noise(argument(0, 360) * MIB), text(argument(1, 390) * MIB));
    let (memory, workers) = (argument(2, 96) * MIB, argument(3, 2));
    let total = (noise.len() + text.len()) as f64;

    // As an upload does, what is received is dropped again; once it is kept, to be verified.
    for keep in [false, false, true] {
        let options = WriterOptions {
            compression: Compression::Fast,
            workers,
            memory,
            temp_dir: std::env::temp_dir(),
        };
        let (sink, mut chunks) = mpsc::channel::<Bytes>(2);
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                if keep {
                    all.push(chunk);
                }
            }
            all
        });
        let clock = Clock::start();
        let summary = write(Writer::new(options, sink), noise.clone(), text.clone()).await?;
        if !keep {
            clock.show("written", total);
            continue;
        }
        let archive = Bytes::from(gather.await?.concat());
        println!(
            "{} entries, {} frames, {:.1} MiB",
            summary.entries,
            summary.frames,
            archive.len() as f64 / MIB as f64
        );
        for _ in 0..2 {
            let clock = Clock::start();
            let report = archive::verify(Arc::new(archive.clone()), workers, |_| {}).await?;
            clock.show("verified", total);
            if !report.ok() {
                return Err(report.problems.join("\n").into());
            }
        }
    }
    Ok(())
}

/// Files of 50 KiB to 6 MiB, which compress and do not by turns, handed over in chunks as a disk gives them.
async fn write(mut writer: Writer, mut noise: Bytes, mut text: Bytes) -> archive::Result<Summary> {
    let mut number = 0_usize;
    while !noise.is_empty() || !text.is_empty() {
        for rest in [&mut noise, &mut text] {
            let length = (50 << 10) + (number * 7_919 % 61) * 100_000;
            let mut content = rest.split_to(length.min(rest.len()));
            let path = format!("storage/files/folder_{}/file_{number}/v1/content", number / 1000);
            let entry = NewEntry {
                path,
                kind: EntryKind::File,
                mtime: 1_700_000_000,
                rows: None,
                note: None,
                version: None,
            };
            writer.begin(entry, content.len() as u64).await?;
            while !content.is_empty() {
                writer.write(content.split_to(content.len().min(256 << 10))).await?;
            }
            writer.end().await?;
            number += 1;
        }
    }
    writer.finish(ManifestInfo::default()).await
}

struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_seconds() }
    }

    fn show(&self, what: &str, bytes: f64) {
        let wall = self.wall.elapsed().as_secs_f64();
        let cpu = cpu_seconds() - self.cpu;
        println!("{what}: {wall:.2} s, {:.0} MB/s, {cpu:.2} s of CPU", bytes / 1e6 / wall);
    }
}

/// What this process has used, from the kernel's count in hundredths of a second; 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn noise(length: usize) -> Bytes {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Lines like those of a database's dump.
fn text(length: usize) -> Bytes {
    let words = [
        "report", "invoice", "meeting", "draft", "final", "contract", "notes", "budget", "plan",
        "offer",
    ];
    let mut bytes = Vec::with_capacity(length + 200);
    let mut state = 1_u64;
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (a, b) = (state >> 33, (state >> 17) % 1000);
        let word = |n: u64| words[(n % 10) as usize];
        let line = format!(
            "({a},{b},'{} {} {}.docx','user{}@example.org',{},'2024-0{}-1{} 1{}:2{}:0{}',NULL,1,'{a:016x}'),\n",
            word(a),
            word(b),
            word(a / 7),
            b,
            a % 100_000,
            b % 9 + 1,
            a % 10,
            b % 10,
            a % 9,
            b % 8,
        );
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
