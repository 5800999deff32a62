//! Dumps while the portal goes on writing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use portal_backup::source::database::{DataSink, DatabaseError, SinkClosed, Snapshot};

use crate::support::{Collect, Temporary, data, mariadb, open, unique};

const ACCOUNTS: &str = "CREATE TABLE a (id int PRIMARY KEY, amount int); INSERT INTO a SELECT seq, 1000 FROM seq_1_to_50;
    CREATE TABLE b (id int PRIMARY KEY, amount int); INSERT INTO b SELECT seq, 1000 FROM seq_1_to_50;";

/// Held by tests of which one would make the other's snapshot fall back to one connection.
static LOCKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Moves amounts between two tables until told to stop; returns how long the longest transaction took,
/// and how many there were.
async fn writer(url: String, stop: Arc<AtomicBool>, written: Arc<AtomicU32>) -> (Duration, u32) {
    let mut conn = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while !stop.load(Ordering::SeqCst) {
        let (from, to) = (count % 50 + 1, count * 7 % 50 + 1);
        let started = Instant::now();
        conn.query_drop("START TRANSACTION").await.unwrap();
        conn.query_drop(format!("UPDATE a SET amount = amount - 1 WHERE id = {from}"))
            .await
            .unwrap();
        conn.query_drop(format!("UPDATE b SET amount = amount + 1 WHERE id = {to}")).await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
        longest = longest.max(started.elapsed());
        count += 1;
        written.store(count, Ordering::SeqCst);
    }
    conn.disconnect().await.unwrap();
    (longest, count)
}

/// The sum of the second column of rendered rows.
fn sum(sql: &[u8]) -> i64 {
    let rows = std::str::from_utf8(sql).unwrap().lines().filter(|line| line.starts_with('('));
    rows.map(|row| row.split([',', ')']).nth(1).unwrap().parse::<i64>().unwrap()).sum()
}

async fn total(snapshot: &dyn Snapshot) -> i64 {
    let (a, b) = tokio::join!(data(snapshot, "a"), data(snapshot, "b"));
    sum(&a.1) + sum(&b.1)
}

/// Twenty dumps beside a writer. Returns the writer's longest wait and the most readers there were.
async fn twenty_rounds(source: &Temporary, url: &str) -> (Duration, usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU32::new(0));
    let writing = tokio::spawn(writer(source.url(), stop.clone(), written.clone()));
    let mut most = 0;
    for round in 0..20 {
        // However slow the disk is today, something is written in each round.
        let before = written.load(Ordering::SeqCst);
        let snapshot = open(url).snapshot(2).await.unwrap();
        most = most.max(snapshot.readers());
        while written.load(Ordering::SeqCst) < before + 2 {
            assert!(!writing.is_finished(), "the writer failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(total(snapshot.as_ref()).await, 100_000, "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    let (longest, count) = writing.await.unwrap();
    assert!(count > 20, "the writer hardly wrote: {count}");
    (longest, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_readers_see_one_moment_and_writers_go_on() {
    let _alone = LOCKING.lock().await;
    let source = Temporary::new();
    source.run(ACCOUNTS);
    let (longest, most) = twenty_rounds(&source, &source.url()).await;
    println!("longest write {longest:?}, up to {most} readers");
    assert_eq!(most, 2);
    // Even a FLUSH that meets a long statement gives up sooner.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_lock_gets_one_connection_and_one_moment() {
    let source = Temporary::new();
    source.run(ACCOUNTS);
    let user = unique("u").chars().take(30).collect::<String>();
    source.run(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 'p@ss'; GRANT SELECT ON {}.* TO {user}@'%';",
        source.0
    ));
    let url = format!("mysql://{user}:p%40ss@127.0.0.1/{}", source.0);
    let (longest, most) = twenty_rounds(&source, &url).await;
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    assert_eq!(most, 1);
    // Nothing here locks, but the server may be serving other tests that do.
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[tokio::test]
async fn a_long_statement_is_not_flushed_against() {
    let _alone = LOCKING.lock().await;
    let source = Temporary::new();
    source.run(ACCOUNTS);
    let name = source.0.clone();
    let sleeping = std::thread::spawn(move || mariadb(&name, b"SELECT SLEEP(6) FROM a LIMIT 1"));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let started = Instant::now();
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    assert_eq!(snapshot.readers(), 1);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(total(snapshot.as_ref()).await, 100_000);
    sleeping.join().unwrap();
}

/// Takes a piece, says so, and never asks for more.
struct Stuck(Option<tokio::sync::oneshot::Sender<()>>);

#[async_trait]
impl DataSink for Stuck {
    async fn write(&mut self, _piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        if let Some(started) = self.0.take() {
            let _ = started.send(());
        }
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_dump_ends_the_servers_statement() {
    let source = Temporary::new();
    source.run("CREATE TABLE huge (id int, t varchar(2000)); INSERT INTO huge SELECT seq, REPEAT('x', 1000) FROM seq_1_to_100000");
    let snapshot = open(&source.url()).snapshot(1).await.unwrap();
    let (started, began) = tokio::sync::oneshot::channel();
    let reading = tokio::spawn(async move {
        let table = snapshot.tables()[0].clone();
        let _ = snapshot.data(&table, &mut Stuck(Some(started))).await;
    });
    began.await.unwrap();
    let running = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB='{}' AND ID<>CONNECTION_ID()",
        source.0
    );
    // (On MySQL one more looks at tables from outside.)
    assert_ne!(mariadb("", running.as_bytes()).trim(), "0");
    reading.abort();
    assert!(reading.await.unwrap_err().is_cancelled());
    let given_up = Instant::now();
    while mariadb("", running.as_bytes()).trim() != "0" {
        assert!(given_up.elapsed() < Duration::from_secs(5), "the connection is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_were_read_can_be_altered_while_the_dump_goes_on() {
    let source = Temporary::new();
    source.run(ACCOUNTS);
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    data(snapshot.as_ref(), "a").await;
    source.run("SET lock_wait_timeout=3; ALTER TABLE a ADD COLUMN x int");
    assert_eq!(sum(&data(snapshot.as_ref(), "b").await.1), 50_000);
}

const PARTS: &str = "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)
        (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (100));
    INSERT INTO parts VALUES (1),(2),(11),(12); CREATE TABLE `ä-b` (id int PRIMARY KEY); CREATE TABLE other (id int); INSERT INTO other VALUES (1)";

/// The server shows a snapshot the rows where they are now, and keeps the times of both tables.
#[tokio::test]
async fn a_partition_that_changed_places_meanwhile_ends_the_dump_of_its_tables() {
    let source = Temporary::new();
    source.run(PARTS);
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    assert_eq!(snapshot.warnings(), Vec::<String>::new());
    assert_eq!(data(snapshot.as_ref(), "parts").await.0, 4);
    source.run("ALTER TABLE parts EXCHANGE PARTITION p0 WITH TABLE `ä-b`");
    for name in ["parts", "ä-b"] {
        let table = snapshot.tables().iter().find(|table| table.name == name).unwrap();
        let read = snapshot.data(table, &mut Collect::default()).await;
        assert!(matches!(read, Err(DatabaseError::DefinitionChanged { .. })), "{name}: {read:?}");
    }
    assert_eq!(data(snapshot.as_ref(), "other").await.0, 1);
    let after = open(&source.url()).snapshot(2).await.unwrap();
    assert_eq!(data(after.as_ref(), "parts").await.0, 2);
    assert_eq!(data(after.as_ref(), "ä-b").await.0, 2);
}

#[tokio::test]
async fn partitions_that_cannot_be_watched_are_named() {
    let source = Temporary::new();
    source.run(PARTS);
    let user = unique("w").chars().take(30).collect::<String>();
    source.run(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 's'; GRANT SELECT, TRIGGER, EVENT, EXECUTE ON {}.* TO {user}@'%';",
        source.0
    ));
    let snapshot = open(&format!("mysql://{user}:s@127.0.0.1/{}", source.0)).snapshot(1).await;
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    let warnings = snapshot.unwrap().warnings().join("\n");
    assert!(
        warnings.contains("PROCESS") && warnings.contains("partitions (1): parts"),
        "{warnings}"
    );
}

/// Counts bytes.
struct Count(u64);

#[async_trait]
impl DataSink for Count {
    async fn write(&mut self, piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        self.0 += piece.len() as u64;
        Ok(())
    }
}

/// `cargo test --release --test source_database -- --ignored --nocapture speed`; PORTAL_BACKUP_TEST_DATABASE names
/// a database to read instead of a generated table of 600,000 rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed() {
    let generated = Temporary::new();
    let name = std::env::var("PORTAL_BACKUP_TEST_DATABASE").unwrap_or_else(|_| {
        generated.run(
            "CREATE TABLE t (id int PRIMARY KEY, a varchar(200), b datetime, c double, d int, e text);
             INSERT INTO t SELECT seq, SHA2(seq, 224), NOW(), seq/7, seq*3, REPEAT('it''s text\\n', 12) FROM seq_1_to_600000",
        );
        generated.0.clone()
    });
    for readers in [1, 2] {
        let cpu = cpu_seconds();
        let started = Instant::now();
        let url = format!("mysql://root@127.0.0.1/{name}");
        let snapshot: Arc<dyn Snapshot> = open(&url).snapshot(readers).await.unwrap().into();
        let tables: Vec<_> = snapshot.tables().to_vec();
        let tasks = tables.into_iter().map(|table| {
            let snapshot = snapshot.clone();
            tokio::spawn(async move {
                let mut sink = Count(0);
                let rows = snapshot.data(&table, &mut sink).await.unwrap();
                (rows, sink.0)
            })
        });
        let (mut rows, mut bytes) = (0, 0);
        for task in tasks.collect::<Vec<_>>() {
            let (r, b) = task.await.unwrap();
            rows += r;
            bytes += b;
        }
        let took = started.elapsed().as_secs_f64();
        println!(
            "{} readers: {rows} rows, {:.1} MB in {took:.2} s ({:.0} MB/s), {:.2} s of CPU here",
            snapshot.readers(),
            bytes as f64 / 1e6,
            bytes as f64 / 1e6 / took,
            cpu_seconds() - cpu
        );
    }
}

/// User and system time of this process (proc(5), in ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
