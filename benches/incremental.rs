//! Incremental backups of the main job's portal, with a hundredth of it changed and with nothing changed: see
//! `make bench`. Takes the main bench's variables.

mod support;

use std::time::Duration;

use support::portal::Portal;
use support::service::{Run, Service};
use support::{MB, Result, bounds, peers};

const ROUNDS: usize = 3;

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let portal = Portal::open_or_make(scale)?.copy()?;
    let work = tempfile::tempdir_in(&portal.dir)?;
    let service = Service::start(&portal, &work.path().join("ours"))?;

    let full = best(|| service.backup_of_mode("full"))?;
    let unchanged = best(|| service.backup_of_mode("incremental"))?;
    // Each round changes the same places again.
    let changed = best(|| {
        portal.change_a_hundredth()?;
        service.backup_of_mode("incremental")
    })?;
    service.stop()?;
    let select = bounds::select_all(&portal.database)?;
    let restic = peers::restic_again(&portal, &work.path().join("restic"), ROUNDS)?;

    println!(
        "\n{} rows, {:.0} MB of files; best of {ROUNDS}\n",
        portal.rows,
        portal.file_bytes()? as f64 / MB
    );
    for (name, run) in
        [("full", &full), ("unchanged", &unchanged), ("a hundredth changed", &changed)]
    {
        println!("{name:<36}{:<12}{:.2} MB", seconds(run.wall), run.archive_bytes as f64 / MB);
    }
    println!("{:<36}{}", "restic, unchanged", seconds(restic));
    println!("{:<36}{}\n", "reading the database once", seconds(select));
    let most = full.wall.mul_f64(0.15) + select;
    target(
        "time with a hundredth changed",
        seconds(changed.wall),
        seconds(most),
        changed.wall <= most,
    );
    let share = changed.archive_bytes as f64 / full.archive_bytes as f64;
    target("stored then", format!("{:.2} %", share * 100.0), "3 %".to_owned(), share <= 0.03);
    target(
        "time without a change",
        seconds(unchanged.wall),
        seconds(restic),
        unchanged.wall < restic,
    );
    Ok(())
}

fn best(mut backup: impl FnMut() -> Result<Run>) -> Result<Run> {
    let mut runs = (0..ROUNDS).map(|_| backup()).collect::<Result<Vec<_>>>()?;
    runs.sort_by_key(|run| run.wall);
    Ok(runs.swap_remove(0))
}

fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

fn target(name: &str, value: String, most: String, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("{name:<36}{value:<12}[at most {most}]   {verdict}");
}
