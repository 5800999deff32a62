//! SQLite, in WAL mode and without.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portal_backup::source::database::{DatabaseError, Engine};
use rusqlite::Connection;

use crate::support::{Refuse, client, data, dump, open};

pub const AWKWARD: &str = r#"
PRAGMA user_version=42; PRAGMA application_id=7;
CREATE TABLE "odd""name; x" (a, "b c" TEXT, n INTEGER, r REAL, g AS (n+1), s TEXT AS (a||'x') STORED);
INSERT INTO "odd""name; x" (a,"b c",n,r) VALUES (1.0,'it''s',1,1), (-0.0,'',0,0), (9e999,'x',null,-9e999), (5e-324,'y',-9223372036854775808,1.7976931348623157e308),
 (0.1,'1',9223372036854775807,0.30000000000000004), ('1','text in a number','text',''), (null,null,null,null), (x'','a','b','c'), (x'00ff27',x'00',x'01','z');
INSERT INTO "odd""name; x" (a,"b c") VALUES ('a'||char(13,10)||'b'||char(10)||'\n'||char(13), '😀'||char(0)||'after'), (CAST(x'61ff62' AS TEXT), ';'||char(10)||');'||char(10));
CREATE TABLE duplicates (x, y); INSERT INTO duplicates VALUES (1,1),(1,1),(1,1),(null,null); DELETE FROM duplicates WHERE rowid=2;
CREATE TABLE gaps (id INTEGER PRIMARY KEY, v); INSERT INTO gaps VALUES (0,'zero'),(-5,'minus'),(9223372036854775807,'last');
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE); INSERT INTO counted(v) VALUES ('a'),('b'),('c'); DELETE FROM counted WHERE id=3;
CREATE TABLE emptied (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO emptied DEFAULT VALUES; DELETE FROM emptied;
CREATE TABLE keyed (a TEXT, b INT, c, PRIMARY KEY (a,b)) WITHOUT ROWID; INSERT INTO keyed VALUES ('x',1,x'ff'),('x',2,1e300);
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, t TEXT, r REAL, b BLOB, y ANY) STRICT; INSERT INTO strict_one VALUES (1,'t',2.0,x'00','3'),(2,char(10),1e-7,x'',3);
CREATE TABLE rowid_taken (rowid TEXT, v); INSERT INTO rowid_taken VALUES ('r',1);
CREATE TABLE text_key (id TEXT PRIMARY KEY, v); INSERT INTO text_key VALUES ('k',1);
CREATE UNIQUE INDEX by_v ON gaps(v) -- with a comment
;
CREATE INDEX partly ON duplicates(x) WHERE y = ';';
CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent(id)); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);
CREATE TABLE empty (a);
CREATE VIEW a_view AS SELECT * FROM gaps; CREATE TRIGGER a_trigger AFTER INSERT ON gaps BEGIN SELECT 1; END;
CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO words VALUES ('hello');
"#;

struct Files {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Files {
    fn new(mode: &str, sql: &str) -> (Self, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a portal.db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", mode).unwrap();
        db.execute_batch(sql).unwrap();
        (Self { _dir: dir, path }, db)
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path.to_str().unwrap().replace(' ', "%20"))
    }
}

/// Everything that was put in, by type and bytes, with the rowid where there is one.
fn picture(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut all = Vec::new();
    let mut tables = db
        .prepare("SELECT name, wr FROM pragma_table_list WHERE schema='main' AND type='table' AND name NOT LIKE 'sqlite%' ORDER BY 1")
        .unwrap();
    let tables: Vec<(String, bool)> =
        tables.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect();
    for (table, without_rowid) in tables {
        let quoted = table.replace('"', "\"\"");
        let rowid = match (without_rowid, table.as_str()) {
            (true, _) => "0",
            (_, "rowid_taken") => "_rowid_",
            _ => "rowid",
        };
        let mut rows =
            db.prepare(&format!("SELECT {rowid} AS the_rowid, * FROM \"{quoted}\"")).unwrap();
        let count = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> = (0..count)
                .map(|i| match row.get_ref(i).unwrap() {
                    rusqlite::types::ValueRef::Real(r) => format!("real {:016x}", r.to_bits()),
                    other => format!("{other:?}"),
                })
                .collect();
            all.push(format!("{table}: {}", values.join("|")));
        }
    }
    let mut more = |query: &str| {
        let mut rows = db.prepare(query).unwrap();
        let rows =
            rows.query_map([], |r| Ok(format!("{:?}", (r.get_ref(0)?, r.get_ref(1)?)))).unwrap();
        all.extend(rows.map(Result::unwrap));
    };
    more("SELECT name, seq FROM sqlite_sequence ORDER BY 1");
    more(
        "SELECT name, trim(sql, char(10)) FROM sqlite_schema WHERE type IN ('table','index') AND name NOT LIKE 'words%' ORDER BY 1",
    );
    more("SELECT user_version, application_id FROM pragma_user_version, pragma_application_id");
    all.sort();
    all
}

fn without_fts(picture: Vec<String>) -> Vec<String> {
    picture.into_iter().filter(|line| !line.starts_with("words")).collect()
}

async fn comes_back(mode: &str) {
    let (files, db) = Files::new(mode, AWKWARD);
    let snapshot = open(&files.url()).snapshot(3).await.unwrap();
    assert_eq!(snapshot.server().engine, Engine::Sqlite);
    assert_eq!(snapshot.readers(), 3);
    let sql = dump(snapshot.as_ref()).await;
    let loaded = files.path.with_file_name("loaded.db");
    client("sqlite3", &["-bail", loaded.to_str().unwrap()], &sql);
    drop(db);
    assert_eq!(without_fts(picture(&files.path)), without_fts(picture(&loaded)));
    assert!(!snapshot.tables().iter().any(|t| t.name == "words" || t.name.starts_with("sqlite")));
    assert!(data(snapshot.as_ref(), "empty").await.1.is_empty());
}

#[tokio::test]
async fn every_kind_of_value_comes_back_from_wal() {
    comes_back("wal").await;
}

#[tokio::test]
async fn every_kind_of_value_comes_back_from_a_rollback_journal() {
    comes_back("delete").await;
}

#[tokio::test]
async fn a_value_of_20_mib_and_many_rows_load() {
    let (files, _db) = Files::new("wal", "
        CREATE TABLE big (v, id); INSERT INTO big VALUES (zeroblob(20971520),1), (replace(hex(zeroblob(10485760)),'00','it''s'),2);
        CREATE TABLE many (id INTEGER PRIMARY KEY, v);
        WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<12001) INSERT INTO many SELECT i, hex(i) FROM s;");
    let snapshot = open(&files.url()).snapshot(1).await.unwrap();
    let sql = dump(snapshot.as_ref()).await;
    assert_eq!(data(snapshot.as_ref(), "many").await.0, 12001);
    let loaded = files.path.with_file_name("loaded.db");
    client("sqlite3", &["-bail", loaded.to_str().unwrap()], &sql);
    for path in [&files.path, &loaded] {
        let db = Connection::open(path).unwrap();
        let sizes: String = db
            .query_row("SELECT group_concat(length(v)||typeof(v)) FROM big", [], |r| r.get(0))
            .unwrap();
        assert_eq!(sizes, "20971520blob,41943040text");
        let many: i64 = db.query_row("SELECT sum(id) FROM many", [], |r| r.get(0)).unwrap();
        assert_eq!(many, 12001 * 12002 / 2);
    }
}

/// Moves amounts between two tables, and counts how often.
fn writer(path: &Path, stop: &AtomicBool, count: &AtomicU64) {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    while !stop.load(Ordering::SeqCst) {
        let done = count.load(Ordering::SeqCst);
        let (from, to) = (done % 50 + 1, done * 7 % 50 + 1);
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; UPDATE a SET amount=amount-1 WHERE id={from}; UPDATE b SET amount=amount+1 WHERE id={to}; COMMIT"
        ))
        .unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn sum(sql: &[u8]) -> i64 {
    let rows = std::str::from_utf8(sql).unwrap().lines().filter(|line| line.starts_with('('));
    rows.map(|row| row.split([',', ')']).nth(1).unwrap().parse::<i64>().unwrap()).sum()
}

async fn one_moment(mode: &str) {
    // Enough other pages that a copy takes several steps.
    let (files, _db) = Files::new(mode, "
        CREATE TABLE a (id INTEGER PRIMARY KEY, amount INT); CREATE TABLE b (id INTEGER PRIMARY KEY, amount INT);
        WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<50) INSERT INTO a SELECT i, 1000 FROM s;
        INSERT INTO b SELECT * FROM a; CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(30000000));");
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let (path, stopped, counted) = (files.path.clone(), stop.clone(), count.clone());
    let writing = std::thread::spawn(move || writer(&path, &stopped, &counted));
    for round in 0..20 {
        let snapshot = open(&files.url()).snapshot(2).await.unwrap();
        written(&count, 1).await;
        let a = data(snapshot.as_ref(), "a").await;
        // Nor does a table that was read keep the writer out, or let what it wrote into the next.
        written(&count, 2).await;
        let b = data(snapshot.as_ref(), "b").await;
        assert_eq!(sum(&a.1) + sum(&b.1), 100_000, "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().unwrap();
}

/// Waits until the writer has come through so many times more: a snapshot that locked the file would let it never.
async fn written(count: &AtomicU64, more: u64) {
    let until = count.load(Ordering::SeqCst) + more;
    let deadline = Instant::now() + Duration::from_secs(15);
    while count.load(Ordering::SeqCst) < until {
        assert!(Instant::now() < deadline, "the writer waits for the snapshot");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_moment_in_wal_mode() {
    one_moment("wal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_moment_with_a_rollback_journal() {
    one_moment("delete").await;
}

#[tokio::test]
async fn copies_leave_nothing_behind() {
    let (files, _db) = Files::new("delete", "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    let temp = tempfile::tempdir().unwrap();
    let config = portal_backup::config::DatabaseConfig {
        name: "portal".to_owned(),
        url: portal_backup::config::Secret::new(files.url()),
    };
    let database = portal_backup::source::database::open(&config, temp.path()).unwrap();
    let snapshot = database.snapshot(2).await.unwrap();
    // Unlinked already, and yet readable.
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    assert_eq!(data(snapshot.as_ref(), "t").await.0, 1);
}

#[tokio::test]
async fn a_missing_or_wrong_file_is_refused_and_never_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.db");
    let wrong = dir.path().join("wrong.db");
    std::fs::write(
        &wrong,
        b"this is no database, though it is long enough to be looked at".repeat(20),
    )
    .unwrap();
    for path in [&missing, &wrong, &dir.path().to_path_buf()] {
        let url = format!("sqlite://{}", path.display());
        let error = open(&url).check().await.unwrap_err();
        assert!(matches!(error, DatabaseError::Connect { .. }), "{error}");
        assert!(open(&url).snapshot(1).await.is_err());
    }
    assert!(!missing.exists());
}

#[tokio::test]
async fn a_crashed_writers_journal_is_recovered() {
    let (files, db) = Files::new("delete", "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    db.execute_batch("PRAGMA cache_size=1; CREATE TABLE u (x); BEGIN; UPDATE t SET x=2; INSERT INTO u VALUES (zeroblob(3000000));").unwrap();
    let crashed = files.path.with_file_name("crashed.db");
    std::fs::copy(&files.path, &crashed).unwrap();
    std::fs::copy(
        files.path.with_file_name("a portal.db-journal"),
        crashed.with_file_name("crashed.db-journal"),
    )
    .unwrap();
    let snapshot = open(&format!("sqlite://{}", crashed.display())).snapshot(1).await.unwrap();
    let (_, sql) = data(snapshot.as_ref(), "t").await;
    assert!(String::from_utf8(sql).unwrap().contains("(1,1);"));
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_table_and_frees_the_connection() {
    let (files, _db) =
        Files::new("wal", "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(9000000)), (1)");
    let snapshot = open(&files.url()).snapshot(1).await.unwrap();
    let error = snapshot.data(&snapshot.tables()[0], &mut Refuse).await.unwrap_err();
    assert!(matches!(error, DatabaseError::SinkClosed(_)), "{error}");
    assert_eq!(data(snapshot.as_ref(), "t").await.0, 2);
}

/// A column that has the rowid's name, and is no number.
#[tokio::test]
async fn a_column_may_be_called_rowid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portal.db");
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) INSERT INTO";
    let db = Connection::open(&path).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE t (rowid TEXT, v); {many} t SELECT 'x' || i, i FROM n;
         CREATE TABLE u (id INTEGER PRIMARY KEY, rowid TEXT, _rowid_ TEXT, oid TEXT); {many} u SELECT i, 'x', 'x', 'x' FROM n;
         CREATE TABLE g (v, rowid AS ('x' || v)); {many} g(v) SELECT i FROM n;"
    ))
    .unwrap();
    let snapshot = open(&format!("sqlite://{}", path.display())).snapshot(1).await.unwrap();
    for name in ["g", "t", "u"] {
        assert_eq!(data(snapshot.as_ref(), name).await.0, 150, "{name}");
    }
    assert!(snapshot.tables().iter().all(|table| table.estimated_bytes > 150 * 4));
}

/// What only the portal's own program has is said when there is still time to do something about it.
#[tokio::test]
async fn collations_and_functions_of_the_portal_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portal.db");
    let db = Connection::open(&path).unwrap();
    // (As a program that has them would have left it.)
    db.execute_batch(
        "CREATE TABLE plain (a TEXT COLLATE NOCASE UNIQUE, CHECK (length(a) > 0)); INSERT INTO plain VALUES ('a');
         CREATE TABLE ordered (a TEXT COLLATE nocase PRIMARY KEY) WITHOUT ROWID; INSERT INTO ordered VALUES ('B'), ('a');
         CREATE TABLE checked (a, CHECK (length(a) > 0)); INSERT INTO checked VALUES ('c');
         PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = replace(replace(sql, 'nocase', 'portal_ci'), 'length', 'portal_f')
         WHERE name IN ('ordered', 'checked');",
    )
    .unwrap();
    drop(db);
    let snapshot = open(&format!("sqlite://{}", path.display())).snapshot(1).await.unwrap();
    let warnings = snapshot.warnings().join("\n");
    assert!(warnings.contains("ordered (collation sequence: portal_ci)"), "{warnings}");
    assert!(warnings.contains("checked (function: portal_f)"), "{warnings}");
    assert!(!warnings.contains("plain"), "{warnings}");
    let (rows, text) = data(snapshot.as_ref(), "ordered").await;
    let text = String::from_utf8(text).unwrap();
    assert!(rows == 2 && text.find("'a'") < text.find("'B'"), "{text}");
}
