//! 100,000 small files against `tar | pigz`: see `make bench`. `BENCH_SCALE=0.05` makes fewer.

mod support;

use std::path::Path;

use support::service::{Service, sources};
use support::{MB, MIB, Result, best, empty_folder, peers, shell, verdict};

const ROUNDS: usize = 3;
const FILES: f64 = 100_000.0;

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let count = (FILES * scale) as u64;
    let work = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))?;
    let files = work.path().join("files");
    eprintln!("making {count} files");
    make(&files, count)?;
    // Any database will do, as long as it is nothing beside the files.
    let database = work.path().join("empty.db");
    rusqlite::Connection::open(&database)?
        .execute_batch("create table t (id integer primary key)")?;
    let config = sources(&format!("sqlite://{}", database.display()), Some(&files));
    let service = Service::with(&work.path().join("ours"), &config, "Local")?;
    let dir = work.path().join("peer");
    let (mut ours, mut peer, mut last) = (Vec::new(), Vec::new(), None);
    for round in 1..=ROUNDS {
        let run = service.backup()?;
        empty_folder(&dir)?;
        let tar =
            format!("tar -cf - -C '{}' files | pigz -6 -p2 > x.tar.gz", work.path().display());
        peer.push(peers::timed(|| shell(&dir, &tar))?);
        eprintln!("round {round} of {ROUNDS}: {:?}, {:?}", run.wall, peer.last());
        ours.push(run.wall);
        last = Some((run, std::fs::metadata(dir.join("x.tar.gz"))?.len()));
    }
    service.stop()?;
    let (ours, peer) = (best(&ours), best(&peer));
    println!("\n{count} files of 0.5 to 8 KiB; best of {ROUNDS}\n");
    if let Some((run, size)) = last {
        println!("portal-backup, read back   {ours:.2} s, {:.1} MB", run.archive_bytes as f64 / MB);
        println!("tar | pigz                 {peer:.2} s, {:.1} MB", size as f64 / MB);
        println!(
            "of which processor         {:.2} s, peak memory {:.1} MiB\n",
            run.usage.cpu.as_secs_f64(),
            run.peak_memory as f64 / MIB
        );
    }
    println!("{}", verdict("faster than tar | pigz", peer / ours, 2.0));
    Ok(())
}

/// Text that compresses to about a third, in folders of 200.
fn make(dir: &Path, count: u64) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..count {
        let folder = dir.join((number / 200).to_string());
        if number % 200 == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        let length = 512 + next() % 7680;
        let mut text = String::new();
        while (text.len() as u64) < length {
            text += &format!("{:x} and so on, line {}\n", next(), text.len());
        }
        std::fs::write(folder.join(format!("{number}.txt")), text)?;
    }
    Ok(())
}
