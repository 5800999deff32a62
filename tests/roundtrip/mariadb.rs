//! A portal whose database is MariaDB's, through the API: one of every kind of thing, backed up and put back.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

const EVERY_KIND: &str = include_str!("../source_database/mysql_every_kind.sql");

/// A database that goes when the test ends.
struct Database(String);

impl Database {
    fn new() -> Self {
        let name = format!("pb_test_{}", uuid::Uuid::new_v4().simple());
        mariadb("", &format!("CREATE DATABASE {name}"));
        Self(name)
    }

    fn dump(&self) -> String {
        let options = ["--routines", "--events", "--triggers", "--hex-blob", "--order-by-primary"];
        let output = Command::new("mariadb-dump")
            .args(["-h127.0.0.1", "-uroot", "--skip-dump-date", "--dump-history"])
            .args(options)
            .arg(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        mariadb("", &format!("DROP DATABASE IF EXISTS {}", self.0));
    }
}

fn mariadb(database: &str, sql: &str) {
    let mut child = Command::new("mariadb")
        .args(["-h127.0.0.1", "-uroot", "--comments", "--default-character-set=utf8mb4", database])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The portal's configuration, with this database in place of its own.
fn config(portal: &PlainPortal, database: &Database) -> String {
    let config = portal.config().replace(
        &format!("sqlite://{}", portal.database().display()),
        &format!("mysql://root@127.0.0.1:3306/{}", database.0),
    );
    assert!(config.contains(&database.0));
    config
}

#[tokio::test]
async fn a_portal_in_mariadb_comes_back_as_it_was() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    mariadb(&database.0, EVERY_KIND);
    mariadb(
        &database.0,
        "CREATE TABLE with_past (a int PRIMARY KEY, b int) WITH SYSTEM VERSIONING;
         INSERT INTO with_past VALUES (1, 1), (2, 2); UPDATE with_past SET b = 3; DELETE FROM with_past WHERE a = 2;
         CREATE TABLE past_in_parts (a int PRIMARY KEY) WITH SYSTEM VERSIONING
         PARTITION BY SYSTEM_TIME (PARTITION past HISTORY, PARTITION now CURRENT);
         INSERT INTO past_in_parts VALUES (1), (2); DELETE FROM past_in_parts;",
    );
    let before = database.dump();
    let config = config(&portal, &database);
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    mariadb(
        &database.0,
        "DELETE FROM with_past; DROP TABLE past_in_parts; CREATE TABLE later (a int)",
    );
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    mariadb(&database.0, "DROP TABLE later");
    let after = database.dump();
    let known: std::collections::HashSet<_> = before.lines().collect();
    let other: Vec<_> = after.lines().filter(|line| !known.contains(line)).take(20).collect();
    assert!(after == before, "{}", other.join("\n"));
}

#[tokio::test]
async fn a_database_without_tables_comes_back() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    mariadb(
        &database.0,
        "CREATE VIEW one AS SELECT 1 AS a; CREATE PROCEDURE two() SELECT 2; CREATE SEQUENCE three; DO NEXTVAL(three)",
    );
    let before = database.dump();
    let config = config(&portal, &database);
    let (config, _) = config.split_once("[[portal.filesystem]]").unwrap();
    let service = Service::start(config).await;
    let archive = service.backup("Local", json!([])).await;
    mariadb(&database.0, "DROP VIEW one; DROP PROCEDURE two; DROP SEQUENCE three");
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(database.dump(), before);
}
