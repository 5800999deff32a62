//! The table that the bench prints.

use std::time::Duration;

use super::bounds::Bounds;
use super::latency::Latency;
use super::portal::Portal;
use super::{MB, MIB, peers, service};

pub struct Report {
    title: String,
    pub ours: Vec<service::Run>,
    pub pigz: Vec<peers::Run>,
    pub restic: Vec<peers::Run>,
    pub latency: Option<Latency>,
    pub load: Option<Latency>,
    pub large: Option<service::Run>,
    bounds: Option<Bounds>,
    file_bytes: u64,
}

impl Report {
    pub fn new(portal: &Portal) -> Self {
        let file_bytes = portal.file_bytes().unwrap_or(0);
        Self {
            title: format!("{} rows, {:.0} MB of files", portal.rows, file_bytes as f64 / MB),
            ours: Vec::new(),
            pigz: Vec::new(),
            restic: Vec::new(),
            latency: None,
            load: None,
            large: None,
            bounds: None,
            file_bytes,
        }
    }

    pub fn bounds(&mut self, bounds: Bounds) {
        self.bounds = Some(bounds);
    }

    pub fn print(&self) {
        let ours = self.ours.iter().min_by_key(|run| run.wall);
        let pigz = self.pigz.iter().min_by_key(|run| run.wall);
        let restic = self.restic.iter().min_by_key(|run| run.wall);
        let (Some(ours), Some(pigz), Some(restic)) = (ours, pigz, restic) else { return };

        println!("\n{}; everything in the page cache; best of {}\n", self.title, self.ours.len());
        line("", &["time".into(), "all runs".into(), "written".into()]);
        let row = |name: &str, walls: Vec<Duration>, best: Duration, bytes: u64| {
            let all: Vec<String> =
                walls.iter().map(|w| format!("{:.1}", w.as_secs_f64())).collect();
            line(name, &[seconds(best), all.join(" "), megabytes(bytes)]);
        };
        row(
            "portal-backup (read back too)",
            walls(&self.ours, |r| r.wall),
            ours.wall,
            ours.archive_bytes,
        );
        row(
            "mariadb-dump, tar | pigz -6 -p2",
            walls(&self.pigz, |r| r.wall),
            pigz.wall,
            pigz.archive_bytes,
        );
        row(
            "mariadb-dump, restic",
            walls(&self.restic, |r| r.wall),
            restic.wall,
            restic.archive_bytes,
        );

        println!();
        let ratio = |other: Duration| other.as_secs_f64() / ours.wall.as_secs_f64();
        target(
            "faster than pigz",
            format!("{:.2}x", ratio(pigz.wall)),
            "at least 4x",
            ratio(pigz.wall) >= 4.0,
        );
        target(
            "faster than restic",
            format!("{:.2}x", ratio(restic.wall)),
            "at least 2x",
            ratio(restic.wall) >= 2.0,
        );
        let size = ours.archive_bytes as f64 / pigz.archive_bytes as f64;
        target("size against pigz's", format!("{size:.3}"), "at most 1.05", size <= 1.05);
        let peak = self.ours.iter().map(|run| run.peak_memory).max().unwrap_or(0);
        memory("peak memory", peak);
        if let Some(large) = &self.large {
            memory("peak memory, ten times the portal", large.peak_memory);
        }
        for (latency, name, wanted) in
            [(&self.latency, "getbackupprogress, p99", 5), (&self.load, "1,000 clients, p99", 50)]
        {
            let Some(latency) = latency else { continue };
            let limit = Duration::from_millis(wanted);
            let wanted = format!("under {wanted} ms");
            target(name, milliseconds(latency.p99), &wanted, latency.p99 < limit);
            line(
                "",
                &[format!(
                    "p50 {}, max {}, {} requests",
                    milliseconds(latency.p50),
                    milliseconds(latency.max),
                    latency.requests
                )],
            );
        }
        if let Some(bounds) = &self.bounds {
            self.print_bounds(ours, bounds);
        }
    }

    /// How long each part of the job takes on this machine by itself, to set against our time.
    fn print_bounds(&self, ours: &service::Run, bounds: &Bounds) {
        println!("\nwhat bounds it (each part alone, to set against our {})\n", seconds(ours.wall));
        let input = (self.file_bytes + bounds.sql_bytes) as f64;
        let part = |name: &str, bytes: f64, speed: f64, what: String| {
            line(
                name,
                &[format!("{:.2} s", bytes / speed), format!("{:.0} MB/s", speed / MB), what],
            );
        };
        part(
            "disk: writing the archive",
            ours.archive_bytes as f64,
            bounds.disk_write,
            "one file, with fsync".into(),
        );
        part(
            "files: reading them",
            self.file_bytes as f64,
            bounds.file_read,
            "from the page cache".into(),
        );
        part(
            "compression: every byte",
            input,
            bounds.compression,
            format!("libdeflate level 1, {} threads", bounds.cores),
        );
        part(
            "database: SELECT of all tables",
            bounds.sql_bytes as f64,
            bounds.sql_bytes as f64 / bounds.select.as_secs_f64(),
            "one connection".into(),
        );
        line(
            "processor time of our best run",
            &[
                seconds(ours.usage.cpu),
                format!("{} in mariadbd", seconds(ours.database_cpu)),
                format!("{:.0} % of {} cores", busy(ours, bounds.cores), bounds.cores),
            ],
        );
        line(
            "moved by our process",
            &[
                format!("{} read", megabytes(ours.usage.read)),
                format!("{} written", megabytes(ours.usage.written)),
            ],
        );
    }
}

fn busy(run: &service::Run, cores: usize) -> f64 {
    let used = run.usage.cpu + run.database_cpu;
    used.as_secs_f64() / run.wall.as_secs_f64() / cores as f64 * 100.0
}

fn walls<T>(runs: &[T], wall: impl Fn(&T) -> Duration) -> Vec<Duration> {
    runs.iter().map(wall).collect()
}

fn line(name: &str, columns: &[String]) {
    let columns: String = columns.iter().map(|column| format!("{column:<22}")).collect();
    println!("{name:<36}{}", columns.trim_end());
}

fn target(name: &str, value: String, wanted: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    line(name, &[value, format!("[{wanted}]"), verdict.to_owned()]);
}

fn memory(name: &str, bytes: u64) {
    let value = bytes as f64 / MIB;
    target(name, format!("{value:.1} MiB"), "under 128 MiB", value < 128.0);
}

fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

fn milliseconds(length: Duration) -> String {
    format!("{:.2} ms", length.as_secs_f64() * 1e3)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / MB)
}
