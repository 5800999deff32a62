//! A PostgreSQL database against `pg_dump | pigz`: see `make bench`. `BENCH_SCALE=0.05` makes it smaller.

mod support;

use support::service::{Service, sources};
use support::{MB, MIB, Result, best, empty_folder, peers, shell, verdict};

const ROUNDS: usize = 3;
const ROWS: f64 = 1_000_000.0;
const DATABASE: &str = "portal_backup_bench";
/// As with MariaDB: there is nobody to hide from on the way to a server on the same machine. (With TLS both take
/// longer, and the ratio is smaller.)
const TLS: &str = "sslmode=disable";

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with other arguments: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let scale: f64 = support::variable("BENCH_SCALE").unwrap_or("1".to_owned()).parse()?;
    let work = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))?;
    make((ROWS * scale) as u64, work.path())?;
    let url = match support::variable("PGPASSWORD") {
        Some(password) => format!("postgres://postgres:{password}@127.0.0.1:5432/{DATABASE}?{TLS}"),
        None => format!("postgres://postgres@127.0.0.1:5432/{DATABASE}?{TLS}"),
    };
    let service = Service::with(&work.path().join("ours"), &sources(&url, None), "Local")?;
    let dir = work.path().join("peer");
    let (mut ours, mut peer, mut peak, mut sizes) = (Vec::new(), Vec::new(), 0, (0, 0));
    for round in 1..=ROUNDS {
        let run = service.backup()?;
        empty_folder(&dir)?;
        let dump = format!(
            "pg_dump 'host=127.0.0.1 user=postgres dbname={DATABASE} {TLS}' | pigz -6 -p2 > x.gz"
        );
        peer.push(peers::timed(|| shell(&dir, &dump))?);
        eprintln!("round {round} of {ROUNDS}: {:?}, {:?}", run.wall, peer.last());
        sizes = (run.archive_bytes, std::fs::metadata(dir.join("x.gz"))?.len());
        peak = peak.max(run.peak_memory);
        ours.push(run.wall);
    }
    service.stop()?;
    psql("postgres", &format!("drop database {DATABASE}"), work.path())?;
    let (ours, peer) = (best(&ours), best(&peer));
    println!("\nPostgreSQL, {} rows; best of {ROUNDS}\n", (ROWS * scale) as u64);
    println!("portal-backup, read back   {ours:.2} s, {:.1} MB", sizes.0 as f64 / MB);
    println!("pg_dump | pigz             {peer:.2} s, {:.1} MB", sizes.1 as f64 / MB);
    println!("peak memory                {:.1} MiB\n", peak as f64 / MIB);
    println!("{}", verdict("faster than pg_dump | pigz", peer / ours, 2.0));
    Ok(())
}

fn psql(database: &str, sql: &str, dir: &std::path::Path) -> Result<()> {
    std::fs::write(dir.join("x.sql"), sql)?;
    shell(
        dir,
        &format!("psql -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -d {database} -f x.sql"),
    )
}

/// Tables of text, numbers and times, as portals have them.
fn make(rows: u64, dir: &std::path::Path) -> Result<()> {
    eprintln!("making {rows} rows");
    psql("postgres", &format!("drop database if exists {DATABASE}"), dir)?;
    psql("postgres", &format!("create database {DATABASE}"), dir)?;
    let half = rows / 2;
    let sql = format!(
        "create table files (id bigint primary key, title text, owner uuid, size bigint, changed timestamptz, extra jsonb);
         insert into files select i, 'Report ' || md5(i::text) || '.docx', md5((i % 500)::text)::uuid, i * 37 % 90000,
             timestamptz '2026-01-01' + i * interval '7 seconds', jsonb_build_object('version', i % 9, 'tags', md5(i::text))
             from generate_series(1, {half}) i;
         create index on files (owner);
         create table messages (id bigserial primary key, body text, author int, sent timestamp);
         insert into messages (body, author, sent) select repeat('word ' || (i % 1000) || ' ', 20) || md5(i::text), i % 500,
             timestamp '2026-01-01' + i * interval '3 seconds' from generate_series(1, {half}) i;
         analyze;"
    );
    psql(DATABASE, &sql, dir)
}
