//! Portals whose database is SQLite's: what `.dump` shows is the same afterwards, to the byte.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

/// In no order of their names.
const EVERY_KIND: &str = "
    CREATE TABLE z (id INTEGER PRIMARY KEY AUTOINCREMENT, v ANY) STRICT; CREATE INDEX z_v ON z (v);
    INSERT INTO z (v) VALUES (1.5), (x'00ff'), ('it''s' || char(10)), (NULL); DELETE FROM z WHERE id = 4;
    CREATE VIEW m AS SELECT v FROM z;
    CREATE TABLE a (k TEXT PRIMARY KEY, n INT UNIQUE, twice INT AS (n * 2)) WITHOUT ROWID;
    INSERT INTO a (k, n) VALUES ('b', 1), ('a', 2);
    CREATE TRIGGER t AFTER INSERT ON z BEGIN DELETE FROM a WHERE n = 9; END;
    CREATE VIRTUAL TABLE words USING fts5(title, tokenize = porter); INSERT INTO words VALUES ('running');
    CREATE TABLE k (c REFERENCES z (id)); CREATE UNIQUE INDEX b_index ON k (c) WHERE c > 0; CREATE INDEX a_index ON k (c);
    CREATE VIEW b AS SELECT * FROM m; CREATE INDEX last ON a (twice);";

fn dump(database: &Path) -> String {
    let output = Command::new("sqlite3").arg(database).arg(".dump").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn comes_back(journal: &str) {
    let portal = PlainPortal::new(10);
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.query_row(&format!("PRAGMA journal_mode={journal}"), [], |_| Ok(())).unwrap();
    db.execute_batch(EVERY_KIND).unwrap();
    // (Kept open: in WAL mode nothing need be in the file itself.)
    let before = dump(&portal.database());
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    db.execute_batch(
        "DROP VIEW b; DROP TABLE a; UPDATE z SET v = 0; INSERT INTO words VALUES ('x')",
    )
    .unwrap();
    drop(db);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(dump(&portal.database()), before, "{journal}");
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let found = "SELECT count(*) FROM words WHERE words MATCH 'run'";
    assert_eq!(db.query_row(found, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn a_dump_is_the_same_afterwards() {
    comes_back("delete").await;
    comes_back("wal").await;
}

#[tokio::test]
async fn a_database_without_tables_comes_back() {
    let portal = PlainPortal::new(1);
    std::fs::remove_file(portal.database()).unwrap();
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.execute_batch("CREATE VIEW one AS SELECT 1 AS a").unwrap();
    let before = dump(&portal.database());
    let config = portal.config();
    let (config, _) = config.split_once("[[portal.filesystem]]").unwrap();
    let service = Service::start(config).await;
    let archive = service.backup("Local", json!([])).await;
    db.execute_batch("DROP VIEW one").unwrap();
    drop(db);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(dump(&portal.database()), before);
}

#[tokio::test]
async fn the_widest_table_and_a_computed_root_come_back() {
    let portal = PlainPortal::new(1);
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    for count in [600, 1999, 2000] {
        let columns: Vec<_> = (0..count).map(|number| format!("c{number}")).collect();
        db.execute_batch(&format!(
            "CREATE TABLE wide_{count} ({}); INSERT INTO wide_{count} (c0, c{}) VALUES (1, 'last')",
            columns.join(","),
            count - 1
        ))
        .unwrap();
    }
    db.execute_batch("CREATE TABLE roots (a, b AS (sqrt(a)) STORED); CREATE INDEX by_log ON roots (ln(a)); INSERT INTO roots VALUES (9)")
        .unwrap();
    let before = dump(&portal.database());
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    db.execute_batch(
        "DELETE FROM wide_600; DROP TABLE wide_1999; DROP TABLE wide_2000; DELETE FROM roots",
    )
    .unwrap();
    drop(db);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert!(dump(&portal.database()) == before);
}

#[tokio::test]
async fn a_damaged_file_is_named_with_what_to_do() {
    let portal = PlainPortal::new(10);
    let before = dump(&portal.database());
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let path = portal.database();
    let whole = std::fs::read(&path).unwrap();
    let no_header = [&[0x55; 4096], &whole[4096..]].concat();
    for damaged in [&no_header[..], &whole[..5000]] {
        std::fs::write(&path, damaged).unwrap();
        let refused = service.cli(&["restore", id, "--yes"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let help = format!("move {} away", path.display());
        assert!(!refused.status.success() && said.contains(&help), "{said}");
        assert!(std::fs::read(&path).unwrap() == damaged);
    }
    std::fs::rename(&path, path.with_extension("damaged")).unwrap();
    let done = service.cli(&["restore", id, "--yes"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(dump(&path), before);
}
