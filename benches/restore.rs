//! Restoring against its peers, in one run: see `make bench`.
//!
//! The portal of the main job's bench is backed up once by each, and restored three times by each, taking turns: by
//! us in place, verification included; by `pigz -dc | tar x` and `mariadb`, and by restic, into an empty folder and an
//! empty database.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::portal::Portal;
use support::service::Service;
use support::{MIB, Result, empty_folder, mysql, peers, shell};

const ROUNDS: usize = 3;

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let portal = Portal::open_or_make(scale)?;
    let work = tempfile::tempdir_in(&portal.dir)?;
    let service = Service::start(&portal, &work.path().join("ours"))?;
    let archive = service.backup_and_keep()?;
    let peers = Peers::prepare(&portal, work.path())?;

    let (mut ours, mut pigz, mut restic) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        let run = service.restore(&archive)?;
        peak = peak.max(run.peak_memory);
        ours.push(run.wall);
        pigz.push(peers.pigz()?);
        restic.push(peers.restic()?);
        eprintln!("  {:?}, {:?}, {:?}", ours.last(), pigz.last(), restic.last());
    }
    peers.clean()?;
    service.stop()?;

    let best = |runs: &[Duration]| runs.iter().min().copied().unwrap_or_default().as_secs_f64();
    let (ours, pigz, restic) = (best(&ours), best(&pigz), best(&restic));
    println!("\n{} rows restored; best of {ROUNDS}\n", portal.rows);
    println!("portal-backup, verified first       {ours:.2} s");
    println!("pigz -dc | tar x, mariadb <         {pigz:.2} s");
    println!("restic restore, mariadb <           {restic:.2} s\n");
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    println!(
        "faster than pigz     {:.2}x   [at least 1.5x]   {}",
        pigz / ours,
        verdict(pigz / ours >= 1.5)
    );
    println!(
        "faster than restic   {:.2}x   [at least 1.5x]   {}",
        restic / ours,
        verdict(restic / ours >= 1.5)
    );
    let peak = peak as f64 / MIB;
    println!("peak memory          {peak:.1} MiB   [under 192 MiB]   {}", verdict(peak < 192.0));
    Ok(())
}

/// What the peers restore from.
struct Peers<'a> {
    dir: &'a Path,
    database: String,
}

impl<'a> Peers<'a> {
    fn prepare(portal: &Portal, dir: &'a Path) -> Result<Self> {
        let dump = peers::dump_command(portal);
        let top = portal.dir.display();
        shell(dir, &format!("{dump} > x.sql"))?;
        shell(
            dir,
            &format!("tar -cf - -C '{top}' files -C \"$PWD\" x.sql | pigz -6 -p2 > out.tar.gz"),
        )?;
        std::fs::write(dir.join("password"), "bench")?;
        let peers = Self { dir, database: format!("{}_peers", portal.database) };
        peers.with_restic("$restic init")?;
        peers.with_restic(&format!(
            "cat x.sql | $restic backup --tag db --stdin --stdin-filename db.sql; $restic backup --tag files '{}'",
            portal.files.display()
        ))?;
        std::fs::remove_file(dir.join("x.sql"))?;
        Ok(peers)
    }

    fn with_restic(&self, script: &str) -> Result<()> {
        let restic = "restic --quiet --no-cache --repo repository";
        shell(
            self.dir,
            &format!("export RESTIC_PASSWORD_FILE=password; restic='{restic}'; {script}"),
        )
    }

    /// An empty folder and an empty database; not measured.
    fn empty(&self) -> Result<()> {
        empty_folder(&self.dir.join("restored"))?;
        let name = &self.database;
        mysql::query(&format!(
            "drop database if exists `{name}`; create database `{name}` charset utf8mb4"
        ))?;
        Ok(())
    }

    fn load(&self) -> String {
        format!("mariadb {} {}", mysql::ACCESS, self.database)
    }

    fn pigz(&self) -> Result<Duration> {
        self.empty()?;
        let began = Instant::now();
        shell(self.dir, "pigz -dc out.tar.gz | tar -xf - -C restored")?;
        shell(self.dir, &format!("{} < restored/x.sql", self.load()))?;
        Ok(began.elapsed())
    }

    fn restic(&self) -> Result<Duration> {
        self.empty()?;
        let began = Instant::now();
        self.with_restic("$restic restore latest --tag files --target restored")?;
        self.with_restic(&format!("$restic dump latest --tag db db.sql | {}", self.load()))?;
        Ok(began.elapsed())
    }

    fn clean(&self) -> Result<()> {
        mysql::query(&format!("drop database if exists `{}`", self.database))?;
        Ok(())
    }
}
