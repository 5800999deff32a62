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
