//! The main job against its peers, in one run: see `make bench`.
//!
//! One portal (a MariaDB database and a folder) is backed up by us, by `mariadb-dump` + `tar | pigz`
//! and by restic, best of three each, taking turns; then the API's latency is taken while a backup
//! runs. `BENCH_SCALE=0.05` makes the portal smaller, `BENCH_LARGE=1` measures our memory on one ten
//! times as large, `BENCH_PORTAL=DIR` says where the portal is kept between runs, and
//! `BENCH_PROGRAM=FILE` names another `portal-backup` to measure.

mod support;

use std::path::Path;
use std::time::Duration;

use support::portal::Portal;
use support::service::Service;
use support::{MIB, Result, bounds, latency, peers, report};

const ROUNDS: usize = 3;

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let portal = Portal::open_or_make(scale)?;
    // On the same volume as the portal, so that everyone writes to the same disk.
    let work = tempfile::tempdir_in(&portal.dir)?;

    let mut report = report::Report::new(&portal);
    compare(&portal, work.path(), &mut report)?;
    measure_latency(&portal, work.path(), &mut report)?;
    if support::variable("BENCH_LARGE").is_some_and(|value| value == "1") {
        measure_large(&portal, work.path(), &mut report)?;
    }
    report.bounds(bounds::measure(&portal, work.path())?);
    report.print();
    Ok(())
}

fn compare(portal: &Portal, work: &Path, report: &mut report::Report) -> Result<()> {
    let service = Service::start(portal, &work.join("ours"))?;
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}: ours");
        let ours = service.backup()?;
        eprintln!("  {:.2} s; next mariadb-dump, tar and pigz", ours.wall.as_secs_f64());
        report.ours.push(ours);
        let pigz = peers::pigz(portal, &work.join("pigz"))?;
        eprintln!("  {:.2} s; next restic", pigz.wall.as_secs_f64());
        report.pigz.push(pigz);
        let restic = peers::restic(portal, &work.join("restic"))?;
        eprintln!("  {:.2} s", restic.wall.as_secs_f64());
        report.restic.push(restic);
    }
    service.stop()
}

fn measure_latency(portal: &Portal, work: &Path, report: &mut report::Report) -> Result<()> {
    eprintln!("latency of the API during a backup");
    let service = Service::start(portal, &work.join("latency"))?;
    let length = Duration::from_secs(10);
    report.latency = Some(latency::measure(&service, length, latency::Clients::Few)?);
    eprintln!("the same with a thousand clients");
    report.load = Some(latency::measure(&service, length, latency::Clients::Many)?);
    service.stop()
}

fn measure_large(portal: &Portal, work: &Path, report: &mut report::Report) -> Result<()> {
    eprintln!("memory on a portal ten times as large (this takes minutes)");
    let large = portal.ten_times()?;
    let service = Service::start(&large, &work.join("large"))?;
    let run = service.backup()?;
    eprintln!("  {:.2} s, peak {:.1} MiB", run.wall.as_secs_f64(), run.peak_memory as f64 / MIB);
    report.large = Some(run);
    service.stop()
}
