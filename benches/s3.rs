//! The same portal to a bucket over loopback and to a local file: see `make bench`.

#[path = "support/bucket.rs"]
mod bucket;
mod support;

use bucket::Bucket;
use support::portal::Portal;
use support::service::{Service, sources};
use support::{MIB, Result, best, mysql, verdict};

const ROUNDS: usize = 3;
/// As for a local storage.
const MEMORY: u64 = 128 << 20;

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let portal = Portal::open_or_make(scale)?;
    let work = tempfile::tempdir_in(&portal.dir)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = runtime.block_on(Bucket::start(&work.path().join("bucket")))?;
    let portal_sources = sources(&mysql::url(&portal.database), Some(&portal.files));
    let cloud = format!(
        "{portal_sources}[storage.custom_cloud]\nurl = \"s3://archives/bench\"\noptions = {{ {} }}\n",
        server.options()
    );
    let local = Service::with(&work.path().join("local"), &portal_sources, "Local")?;
    let cloud = Service::with(&work.path().join("cloud"), &cloud, "CustomCloud")?;
    let (mut to_file, mut to_bucket, mut peak) = (Vec::new(), Vec::new(), 0);
    for round in 1..=ROUNDS {
        to_file.push(local.backup()?.wall);
        let run = cloud.backup()?;
        eprintln!("round {round} of {ROUNDS}: {:?}, {:?}", to_file.last(), run.wall);
        peak = peak.max(run.peak_memory);
        to_bucket.push(run.wall);
    }
    local.stop()?;
    cloud.stop()?;
    let (to_file, to_bucket) = (best(&to_file), best(&to_bucket));
    println!("\nA bucket over loopback, its server on the same machine; best of {ROUNDS}\n");
    println!("to a local file   {to_file:.2} s");
    println!("to the bucket     {to_bucket:.2} s");
    let kept = if peak <= MEMORY { "met" } else { "MISSED" };
    println!(
        "peak memory       {:.1} MiB   [at most {} MiB]   {kept}\n",
        peak as f64 / MIB,
        MEMORY >> 20
    );
    println!("{}", verdict("as fast as to a local file", to_file / to_bucket, 0.8));
    Ok(())
}
