//! SQLite databases put back, compared by the `sqlite3` program and by what they hold.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portal_backup::source::database::{
    Adjustment, Database, DatabaseError, Snapshot, Staging, Statements, Trust,
};
use portal_backup::source::restore::{AttemptId, Staged};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::sqlite::AWKWARD;
use crate::support::{client, data, open};

struct Portal {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Portal {
    fn new(mode: &str, sql: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a portal.db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", mode).unwrap();
        db.execute_batch(sql).unwrap();
        Self { dir, path }
    }

    fn database(&self) -> Box<dyn Database> {
        open(&format!("sqlite://{}", self.path.to_str().unwrap().replace(' ', "%20")))
    }

    fn db(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    fn ask(&self, query: &str) -> String {
        self.db().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// What the `sqlite3` program writes about it, in no order.
    fn picture(&self) -> Vec<String> {
        let path = self.path.to_str().unwrap();
        let commands = b".dump\nPRAGMA user_version;\nPRAGMA application_id;\nPRAGMA journal_mode;\nPRAGMA page_size;\nPRAGMA encoding;\nPRAGMA integrity_check;\n";
        let text = client("sqlite3", &["-bail", path], commands);
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
        names.sort();
        names
    }
}

fn attempt() -> AttemptId {
    AttemptId::new("t1").unwrap()
}

/// What an archive has of one table.
struct Member {
    table: String,
    scheme: String,
    rows: u64,
    data: Vec<u8>,
}

async fn archive(snapshot: &dyn Snapshot) -> Vec<Member> {
    let mut members = Vec::new();
    for table in snapshot.tables().to_vec() {
        if table.name.starts_with("portal_backup_") {
            continue;
        }
        let scheme = snapshot.scheme(&table).await.unwrap();
        let (rows, data) = data(snapshot, &table.name).await;
        members.push(Member { table: table.name, scheme, rows, data });
    }
    members
}

fn pieces(data: &[u8], size: usize) -> Statements {
    let pieces: Vec<_> = data.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures::stream::iter(pieces))
}

async fn load(staging: &dyn Staging, members: &[Member], trust: Trust) {
    for member in members {
        staging.scheme(&member.table, &member.scheme, trust).await.unwrap();
        let told = AtomicU64::new(0);
        let loaded = |bytes| {
            told.fetch_add(bytes, Ordering::SeqCst);
        };
        let rows =
            staging.data(&member.table, pieces(&member.data, 1000), trust, &loaded).await.unwrap();
        assert_eq!(rows, member.rows, "{}", member.table);
        let rest = member.data.len() as u64 - told.into_inner();
        assert!(rest <= 1, "{rest} bytes after the last statement");
        let digest: [u8; 32] = Sha256::digest(&member.data).into();
        let expected = (member.rows > 0).then_some(digest);
        assert_eq!(staging.digest(&member.table).await.unwrap(), expected, "{}", member.table);
    }
}

async fn stage(portal: &Portal, members: &[Member]) -> (Box<dyn Staged>, Vec<String>) {
    let staging = portal.database().stage(&attempt()).await.unwrap();
    load(staging.as_ref(), members, Trust::Foreign).await;
    staging.ready().await.unwrap()
}

async fn comes_back(mode: &str, prepare: &str) {
    let portal = Portal::new(mode, &format!("{prepare}{AWKWARD}"));
    let before = portal.picture();
    let members = archive(portal.database().snapshot(2).await.unwrap().as_ref()).await;
    portal
        .db()
        .execute_batch(
            "PRAGMA user_version=43; DROP TABLE child; DELETE FROM gaps; DROP TABLE empty; CREATE TABLE empty (b);
             UPDATE keyed SET c=1; DROP INDEX partly; ALTER TABLE counted ADD COLUMN more;",
        )
        .unwrap();
    let changed = portal.picture();
    assert_ne!(changed, before);
    let (staged, warnings) = stage(&portal, &members).await;
    assert_eq!(portal.picture(), changed, "until it is swapped nothing changes");
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(portal.picture(), before);
    assert_eq!(portal.files(), ["a portal.db"]);
    assert_eq!(warnings, [""; 0]);
}

#[tokio::test]
async fn everything_comes_back_in_wal_mode() {
    comes_back("wal", "").await;
}

#[tokio::test]
async fn everything_comes_back_with_a_rollback_journal() {
    comes_back("delete", "").await;
}

#[tokio::test]
async fn page_size_encoding_and_vacuum_mode_stay() {
    for mode in ["wal", "delete"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a portal.db");
        let portal = Portal { dir, path };
        let db = portal.db();
        db.execute_batch(
            "PRAGMA encoding='UTF-16le'; PRAGMA page_size=16384; PRAGMA auto_vacuum=2;
             CREATE TABLE t (v); INSERT INTO t VALUES ('ä😀'||char(0)||'x');",
        )
        .unwrap();
        db.pragma_update(None, "journal_mode", mode).unwrap();
        drop(db);
        let before = portal.picture();
        let members = archive(portal.database().snapshot(1).await.unwrap().as_ref()).await;
        portal.db().execute_batch("DELETE FROM t").unwrap();
        let (staged, _) = stage(&portal, &members).await;
        staged.swap().await.unwrap();
        staged.finish().await.unwrap();
        assert_eq!(portal.picture(), before, "{mode}");
        assert_eq!(
            portal.ask("SELECT hex(v) FROM t"),
            "E400".to_owned() + "3DD800DE" + "0000" + "7800"
        );
        assert_eq!(portal.ask("SELECT auto_vacuum || page_size || encoding FROM pragma_auto_vacuum, pragma_page_size, pragma_encoding"), "216384UTF-16le");
    }
}

const OBJECTS: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, v, old); INSERT INTO t VALUES (1,'live',1);
    CREATE TABLE log (v); CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v UNIQUE, g AS (id+1) STORED);
    INSERT INTO counted(v) VALUES ('a'),('b'); DELETE FROM counted WHERE id=2; CREATE INDEX counted_v ON counted(v) WHERE v > 'a';
    CREATE TABLE hidden (v); INSERT INTO hidden VALUES (1),(2),(3); DELETE FROM hidden WHERE v<3;
    CREATE VIEW good AS SELECT id, v FROM t; CREATE VIEW bad AS SELECT old FROM t; CREATE VIEW taken AS SELECT 1 AS one;
    CREATE TRIGGER works AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('t '||new.v); END;
    CREATE TRIGGER fails AFTER DELETE ON t BEGIN INSERT INTO log VALUES (old.old); END;
    CREATE TRIGGER instead INSTEAD OF INSERT ON good BEGIN INSERT INTO t VALUES (new.id, new.v); END;
    CREATE TRIGGER of_taken INSTEAD OF INSERT ON taken BEGIN SELECT 1; END;
    CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO words VALUES ('hello world');
    ANALYZE;";

async fn only_t(portal: &Portal) -> (Box<dyn Staged>, Vec<String>) {
    let staging = portal.database().stage(&attempt()).await.unwrap();
    for (table, scheme) in [
        ("t", "DROP TABLE IF EXISTS t; CREATE TABLE t (id INTEGER PRIMARY KEY, v);"),
        ("taken", "CREATE TABLE taken (x);"),
    ] {
        staging.scheme(table, scheme, Trust::Foreign).await.unwrap();
    }
    let rows = b"REPLACE INTO t (id,v) VALUES (5,'new');";
    staging.data("t", pieces(rows, 7), Trust::Foreign, &|_| {}).await.unwrap();
    staging.ready().await.unwrap()
}

#[tokio::test]
async fn what_the_archive_does_not_know_stays() {
    for mode in ["wal", "delete"] {
        let portal = Portal::new(mode, OBJECTS);
        let before = portal.picture();
        let (staged, warnings) = only_t(&portal).await;
        let warnings = warnings.join("\n");
        for name in ["view bad", "trigger fails on t", "view taken", "trigger of_taken", "words"] {
            assert!(warnings.contains(name), "{warnings}");
        }
        assert!(!warnings.contains("good") && !warnings.contains("works"), "{warnings}");
        // Also what is written until the swap.
        portal.db().execute_batch("INSERT INTO log VALUES ('late')").unwrap();
        staged.swap().await.unwrap();
        let ask = |query: &str| portal.ask(query);
        assert_eq!(ask("SELECT group_concat(id||v) FROM good"), "5new");
        assert_eq!(ask("SELECT group_concat(rowid||':'||v) FROM hidden"), "3:3");
        assert_eq!(ask("SELECT w FROM words WHERE words MATCH 'world'"), "hello world");
        portal.db().execute_batch("INSERT INTO words VALUES ('again'); INSERT INTO t VALUES (6,'x'); INSERT INTO counted(v) VALUES ('c')").unwrap();
        assert_eq!(ask("SELECT group_concat(v) FROM log"), "late,t x");
        assert_eq!(ask("SELECT group_concat(id||v||g) FROM counted"), "1a2,3c4");
        assert_eq!(ask("SELECT integrity_check FROM pragma_integrity_check"), "ok");
        assert_eq!(ask("SELECT stat FROM sqlite_stat1 WHERE tbl='hidden'"), "1");
        assert_eq!(
            ask(
                "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type IN ('view','trigger') ORDER BY 1)"
            ),
            "bad,fails,good,instead,works"
        );
        staged.roll_back().await.unwrap();
        let mut back = portal.picture();
        back.retain(|line| !line.contains("'late'"));
        assert_eq!(back, before);
        assert_eq!(portal.files(), ["a portal.db"]);
    }
}

/// A renamed table keeps its indexes' names, which the archive's tables have too.
#[tokio::test]
async fn an_index_of_a_name_that_comes_back_is_left_behind() {
    for mode in ["wal", "delete"] {
        let portal = Portal::new(
            mode,
            "CREATE TABLE t (a, b); CREATE UNIQUE INDEX idx_t ON t (a); INSERT INTO t VALUES (1, 2);",
        );
        let members = archive(portal.database().snapshot(1).await.unwrap().as_ref()).await;
        let renamed = "ALTER TABLE t RENAME TO t2; CREATE INDEX other ON t2 (b);";
        portal.db().execute_batch(renamed).unwrap();
        let (staged, warnings) = stage(&portal, &members).await;
        assert!(warnings.iter().any(|w| w.contains("index idx_t of table t2")), "{warnings:?}");
        staged.swap().await.unwrap();
        staged.finish().await.unwrap();
        let indexes = "SELECT group_concat(tbl_name || ' ' || name) FROM \
                       (SELECT * FROM sqlite_schema WHERE type = 'index' ORDER BY 2)";
        assert_eq!(portal.ask(indexes), "t idx_t,t2 other");
        assert_eq!(portal.ask("SELECT t.b || t2.b FROM t, t2"), "22");
        assert_eq!(portal.ask("PRAGMA integrity_check"), "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_have_the_file_open_meanwhile() {
    for mode in ["wal", "delete"] {
        let portal = Portal::new(mode, "CREATE TABLE a (v); CREATE TABLE b (v); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
            CREATE TABLE filler (v); INSERT INTO filler VALUES (zeroblob(20000000)); CREATE TABLE writes (v);");
        let staging = portal.database().stage(&attempt()).await.unwrap();
        for table in ["a", "b"] {
            let scheme = format!("CREATE TABLE {table} (v);");
            staging.scheme(table, &scheme, Trust::Foreign).await.unwrap();
            let rows = format!("REPLACE INTO {table} (v) VALUES (2);");
            staging.data(table, pieces(rows.as_bytes(), 9), Trust::Foreign, &|_| {}).await.unwrap();
        }
        let (staged, _) = staging.ready().await.unwrap();

        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (portal.path.clone(), stop.clone());
        // Old or new, never a mixture; and each of its commits is kept, because `writes` is not in the archive.
        let others = std::thread::spawn(move || {
            let db = Connection::open(&path).unwrap();
            db.busy_timeout(Duration::from_secs(60)).unwrap();
            let (mut seen, mut written) = (Vec::new(), 0u64);
            while !stopped.load(Ordering::SeqCst) {
                let both: (i64, i64) = db
                    .query_row("SELECT (SELECT v FROM a), (SELECT v FROM b)", [], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .unwrap();
                seen.push(both);
                db.execute("INSERT INTO writes VALUES (1)", []).unwrap();
                written += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (seen, written)
        });
        // Another program, with the file open all the time.
        let mut program = Command::new("sqlite3")
            .args(["-bail", "-cmd", ".timeout 60000", portal.path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = program.stdin.take().unwrap();
        use std::io::{BufRead, Write};
        let mut output = std::io::BufReader::new(program.stdout.take().unwrap());
        let mut asked = String::new();
        writeln!(input, "SELECT v FROM a;").unwrap();
        output.read_line(&mut asked).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        staged.swap().await.unwrap();
        writeln!(input, "SELECT v FROM a;").unwrap();
        output.read_line(&mut asked).unwrap();
        drop(input);
        assert!(program.wait().unwrap().success());
        assert_eq!(asked, "1\n2\n");
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.store(true, Ordering::SeqCst);
        let (seen, written) = others.join().unwrap();
        assert!(seen.iter().all(|both| *both == (1, 1) || *both == (2, 2)));
        assert_eq!((seen[0], seen[seen.len() - 1]), ((1, 1), (2, 2)));
        assert_eq!(portal.ask("SELECT 'n'||count(*) FROM writes"), format!("n{written}"), "{mode}");
        staged.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_in_wal_mode_keeps_its_moment() {
    let portal = Portal::new("wal", OBJECTS);
    let reader = portal.db();
    reader.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
    let (staged, _) = only_t(&portal).await;
    staged.swap().await.unwrap();
    let seen = |query: &str| reader.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(seen("SELECT v FROM t"), "live");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(seen("SELECT v FROM t"), "new");
}

#[tokio::test]
async fn a_lock_that_others_hold_is_named() {
    let portal = Portal::new("delete", OBJECTS);
    let (staged, _) = only_t(&portal).await;
    let reader = portal.db();
    reader.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
    let error = staged.swap().await.unwrap_err().to_string();
    assert!(error.contains("locked for 10 seconds"), "{error}");
    drop(reader);
    assert_eq!(portal.ask("SELECT v FROM t"), "live");
    staged.swap().await.unwrap();
    assert_eq!(portal.ask("SELECT v FROM t"), "new");
}

/// Every byte that is in the folder.
fn folder(portal: &Portal) -> Vec<(String, Vec<u8>)> {
    let names = portal.files();
    names
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(portal.dir.path().join(name)).unwrap()))
        .collect()
}

#[tokio::test]
async fn what_fails_leaves_no_trace() {
    let portal = Portal::new("delete", OBJECTS);
    let before = folder(&portal);
    let database = portal.database();
    for bad in [
        "REPLACE INTO t (id,v) VALUES (1,'a'),(2,now());",
        "REPLACE INTO t (id,v) VALUES (1,'a'),(2);",
        "REPLACE INTO t (id,v) VALUES (1,'a'),(2,'b",
        "REPLACE INTO t (id,v,w) VALUES (1,'a',3);",
        "INSERT INTO t (id,v) VALUES (1,'a'),(1,'b');",
        "REPLACE INTO t VALUES (1,'a');",
        "REPLACE INTO t (id,v) VALUES ('not a number','a');",
    ] {
        let staging = database.stage(&attempt()).await.unwrap();
        let scheme = "CREATE TABLE t (id INTEGER PRIMARY KEY, v);";
        staging.scheme("t", scheme, Trust::Own).await.unwrap();
        let loaded = staging.data("t", pieces(bad.as_bytes(), 5), Trust::Own, &|_| {}).await;
        assert!(matches!(loaded, Err(DatabaseError::Query { .. })), "{bad}");
        drop(staging);
        database.staged(&attempt()).await.unwrap().roll_back().await.unwrap();
        assert_eq!(folder(&portal), before, "{bad}");
    }
    let staging = database.stage(&attempt()).await.unwrap();
    let broken: Statements = Box::pin(futures::stream::iter([
        Ok(Bytes::from_static(b"REPLACE INTO t (id,v) VALUES (1,'a'),")),
        Err(std::io::Error::other("the storage is gone")),
    ]));
    staging.scheme("t", "CREATE TABLE t (id, v);", Trust::Own).await.unwrap();
    let error = staging.data("t", broken, Trust::Own, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("the storage is gone"), "{error}");
    // The table is as it was, so that it can be tried again.
    let rows =
        staging.data("t", pieces(b"REPLACE INTO t (id,v) VALUES (1,2);", 9), Trust::Own, &|_| {});
    assert_eq!(rows.await.unwrap(), 1);
    assert!(staging.data("u", pieces(b"", 9), Trust::Own, &|_| {}).await.is_err());
    drop(staging);
    database.staged(&attempt()).await.unwrap().roll_back().await.unwrap();
    assert_eq!(folder(&portal), before);
}

#[tokio::test]
async fn a_unique_index_that_rows_do_not_fit_fails_before_the_swap() {
    let portal = Portal::new("delete", OBJECTS);
    let before = folder(&portal);
    let staging = portal.database().stage(&attempt()).await.unwrap();
    let scheme = "CREATE TABLE t (id, v); CREATE UNIQUE INDEX i ON t(v);";
    staging.scheme("t", scheme, Trust::Own).await.unwrap();
    let rows = pieces(b"REPLACE INTO t (id,v) VALUES (1,1),(2,1);", 9);
    staging.data("t", rows, Trust::Own, &|_| {}).await.unwrap();
    let Err(error) = staging.ready().await else { panic!("it was made") };
    assert!(error.to_string().contains("UNIQUE"), "{error}");
    let staged = portal.database().staged(&attempt()).await.unwrap();
    assert!(staged.swap().await.is_err());
    staged.roll_back().await.unwrap();
    assert_eq!(folder(&portal), before);
}

#[tokio::test]
async fn hostile_archives_are_refused() {
    let portal = Portal::new("delete", OBJECTS);
    let before = folder(&portal);
    let victim = portal.dir.path().join("victim.db");
    let database = portal.database();
    let attach = format!("ATTACH '{}' AS x; CREATE TABLE x.t (a);", victim.display());
    for scheme in [
        attach.as_str(),
        "PRAGMA writable_schema=ON; CREATE TABLE t (a);",
        "CREATE TABLE t (a); UPDATE sqlite_schema SET sql='';",
        "CREATE TABLE t AS SELECT 1;",
        "CREATE TABLE t (a DEFAULT (load_extension('x')));",
        "CREATE TABLE counted (a);",
        "CREATE TABLE t (a); DROP TABLE counted;",
        "CREATE TABLE t (a); DELETE FROM counted;",
        "CREATE TABLE t (a); INSERT INTO t VALUES (1);",
        "CREATE TABLE t (a); SELECT load_extension('x');",
        "CREATE TABLE t (a); VACUUM INTO '/tmp/x';",
        "CREATE VIRTUAL TABLE t USING fts5(a);",
        "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END;",
        "CREATE TEMP TABLE t (a);",
        "CREATE TABLE main.t (a);",
        "CREATE TABLE t (a",
        "",
    ] {
        let staging = database.stage(&attempt()).await.unwrap();
        let error = staging.scheme("t", scheme, Trust::Foreign).await.unwrap_err();
        assert!(error.to_string().contains("table t"), "{error}");
    }
    for rows in [
        "REPLACE INTO counted (id) VALUES (1);",
        "REPLACE INTO main.t (id) VALUES (1);",
        "REPLACE INTO t (id) VALUES (load_extension('x'));",
        "REPLACE INTO t (id) VALUES ((SELECT 1));",
        "REPLACE INTO t (id) SELECT 1;",
        "INSERT OR IGNORE INTO t (id) VALUES (1);",
        "DELETE FROM t;",
        "PRAGMA writable_schema=ON;",
        "SELECT load_extension('x');",
        attach.as_str(),
    ] {
        for trust in [Trust::Foreign, Trust::Own] {
            let staging = database.stage(&attempt()).await.unwrap();
            staging.scheme("t", "CREATE TABLE t (id);", trust).await.unwrap();
            let loaded = staging.data("t", pieces(rows.as_bytes(), 9), trust, &|_| {}).await;
            assert!(loaded.is_err(), "{rows}");
        }
    }
    // Jobs and keys cannot be brought in.
    let staging = database.stage(&attempt()).await.unwrap();
    let own =
        staging.scheme("portal_backup_jobs", "CREATE TABLE portal_backup_jobs (a);", Trust::Own);
    assert!(own.await.is_err());
    drop(staging);
    database.staged(&attempt()).await.unwrap().roll_back().await.unwrap();
    assert_eq!(folder(&portal), before);
}

#[tokio::test]
async fn loaded_tables_can_be_adjusted() {
    let portal = Portal::new(
        "wal",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, extra); INSERT INTO t VALUES (1,'live',1),(3,'newer',1);",
    );
    let staging = portal.database().stage(&attempt()).await.unwrap();
    let scheme = "CREATE TABLE t (id INTEGER PRIMARY KEY, v, n INTEGER);";
    staging.scheme("t", scheme, Trust::Own).await.unwrap();
    let rows = b"REPLACE INTO t (id,v,n) VALUES (1,'old',5),(2,'x',5),(4,'y',6),(7,'z',7);";
    staging.data("t", pieces(rows, 20), Trust::Own, &|_| {}).await.unwrap();
    staging.scheme("u", "CREATE TABLE u (a);", Trust::Own).await.unwrap();
    staging
        .data("u", pieces(b"REPLACE INTO u (a) VALUES (1);", 20), Trust::Own, &|_| {})
        .await
        .unwrap();
    let (t, n) = ("t".to_owned(), "n".to_owned());
    for adjustment in [
        Adjustment::Delete {
            table: t.clone(),
            column: n.clone(),
            values: vec!["7".to_owned(), "8".to_owned()],
        },
        Adjustment::Replace {
            table: t.clone(),
            column: n,
            from: "5".to_owned(),
            to: "50".to_owned(),
        },
        Adjustment::KeepNewer { table: t, key: "id".to_owned(), of: None },
        Adjustment::Empty { table: "u".to_owned() },
        Adjustment::Empty { table: "not loaded".to_owned() },
    ] {
        staging.adjust(&adjustment).await.unwrap();
    }
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    assert_eq!(
        portal.ask("SELECT group_concat(id||v||ifnull(n,'-')||typeof(n)) FROM t"),
        "1old50integer,2x50integer,3newer-null,4y6integer"
    );
    assert_eq!(portal.ask("SELECT 'n'||count(*) FROM u"), "n0");
}

#[tokio::test]
async fn what_is_live_is_described() {
    let portal = Portal::new("wal", &format!("{OBJECTS} CREATE TABLE portal_backup_jobs (id);"));
    let live = portal.database().live().await.unwrap();
    let tables: Vec<_> =
        live.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    let (shadows, tables): (Vec<_>, Vec<_>) =
        tables.into_iter().partition(|(name, _)| name.starts_with("words_"));
    assert_eq!(shadows.len(), 5);
    assert_eq!(tables, [("counted", 1), ("hidden", 1), ("log", 0), ("t", 1)]);
    assert!(live.tables.iter().map(|table| table.bytes).sum::<u64>() > 4096);
    let objects: Vec<_> = live.objects.iter().map(|o| (o.kind, o.name.as_str())).collect();
    assert!(objects.contains(&("view", "good")) && objects.contains(&("trigger", "works")));
    assert!(objects.contains(&("virtual_table", "words")));
    assert!(live.space.is_some_and(|space| space.free > 0));
    assert_eq!(live.problems, [""; 0]);
}

/// Runs a restore in a process of its own, which the test below kills.
#[tokio::test]
async fn child_that_swaps() {
    let Ok(path) = std::env::var("PORTAL_BACKUP_TEST_SWAP") else { return };
    let database = open(&format!("sqlite://{path}"));
    let staged = database.staged(&attempt()).await.unwrap();
    println!("begins");
    staged.swap().await.unwrap();
}

/// Begins a swap in another process and kills it after a while, or waits for its end; says how long it ran.
fn swap_and_kill(path: &Path, after: Option<Duration>) -> Duration {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite_restore::child_that_swaps", "--nocapture"])
        .env("PORTAL_BACKUP_TEST_SWAP", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    use std::io::BufRead;
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().ends_with("begins")));
    let begun = Instant::now();
    if let Some(after) = after {
        std::thread::sleep(after);
        let _ = child.kill(); // It may have ended.
    }
    child.wait().unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn a_killed_process_leaves_the_old_state_or_the_new() {
    let many =
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<20000) INSERT INTO";
    const ROUNDS: u32 = 14;
    let mut outcomes = Vec::new();
    let mut whole = Duration::ZERO;
    for (round, mode) in ["wal", "delete"].into_iter().cycle().take(ROUNDS as usize).enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portal.db");
        let portal = Portal { dir, path };
        portal.db().pragma_update(None, "journal_mode", mode).unwrap();
        portal.db().execute_batch(&format!("CREATE TABLE a (v, w); {many} a SELECT i, hex(zeroblob(200)) FROM s; CREATE TABLE kept (v); {many} kept SELECT hex(i) FROM s;")).unwrap();
        let members = archive(portal.database().snapshot(1).await.unwrap().as_ref()).await;
        portal.db().execute_batch("UPDATE a SET v = -v").unwrap();
        let picture = || {
            portal.ask("SELECT (SELECT sum(v)||':'||count(*) FROM a)||'/'||(SELECT count(*)||max(v) FROM kept)||(SELECT integrity_check FROM pragma_integrity_check)")
        };
        let old = picture();
        let new = old.replace("-200010000", "200010000");
        assert_ne!(old, new);
        let (_, _) = stage(&portal, &members[..1]).await;
        match round as u32 {
            0 => whole = swap_and_kill(&portal.path, None),
            round => drop(swap_and_kill(&portal.path, Some(whole * round / ROUNDS))),
        }
        let found = picture();
        assert!(found == old || found == new, "{found}");
        outcomes.push(found == new);
        let staged = portal.database().staged(&attempt()).await.unwrap();
        if round % 4 < 2 {
            staged.roll_back().await.unwrap();
            assert_eq!(picture(), old);
        } else {
            staged.swap().await.unwrap();
            assert_eq!(picture(), new);
            staged.finish().await.unwrap();
        }
        // A journal that has nothing to tell stays until somebody writes.
        portal.db().execute_batch("PRAGMA user_version=1").unwrap();
        assert_eq!(portal.files(), ["portal.db"]);
    }
    println!("swapped when killed, of {whole:?}: {outcomes:?}");
}
