//! A portal whose database is PostgreSQL's, through the API: one of every kind of thing, backed up and put back.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::local_path;
use crate::support::portal::{PlainPortal, members};
use crate::support::service::Service;

const EVERY_KIND: &str = include_str!("../source_database/postgres_every_kind.sql");
const ROLE: &str = "DO $$ BEGIN CREATE ROLE pb_test_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

/// A database that goes when the test ends.
struct Database(String);

impl Database {
    fn new() -> Self {
        let name = format!("pb_test_{}", uuid::Uuid::new_v4().simple());
        psql("postgres", ROLE);
        psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        Self(name)
    }

    fn dump(&self) -> String {
        let output = Command::new("pg_dump")
            .args(["--blobs", "-N", "portal_backup_*", &url(&self.0)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| !line.contains("restrict "))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0));
    }
}

fn url(database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:5432/{database}")
}

fn psql(database: &str, sql: &str) -> String {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &url(database)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sql = sql.to_owned();
    let feed = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut stdin, sql.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_portal_in_postgresql_comes_back_as_it_was() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    psql(&database.0, EVERY_KIND);
    let before = database.dump();
    let config = portal
        .config()
        .replace(&format!("sqlite://{}", portal.database().display()), &url(&database.0));
    assert!(config.contains(&database.0));
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let members = members(&local_path(&archive));
    for wanted in [
        "databases/scheme/everything",
        "databases/data/crm.child",
        "extra/objects/main/schema/pre-data.sql",
    ] {
        assert!(members.contains_key(wanted), "{wanted} is not in {:?}", members.keys());
    }
    psql(
        &database.0,
        "DROP TABLE everything CASCADE; UPDATE crm.child SET excl = NULL; CREATE TABLE later (a integer); INSERT INTO later VALUES (1);
         DROP SCHEMA \"Odd \"\"schema\"\"; x\" CASCADE; SELECT nextval('numbers'), lo_unlink(70001)",
    );
    let plan = service
        .post("/v1/restores", &json!({"archiveId": archive["id"], "dump": true, "dryRun": true}))
        .await;
    let plan: Value = plan.json().await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    assert_eq!(plan["tablesKept"], json!(["later"]));
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(psql(&database.0, "SELECT a FROM later; DROP TABLE later"), "1\n");
    let after = database.dump();
    assert!(after == before, "{}", differences(&after, &before));
    assert_eq!(
        psql(&database.0, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'portal%'"),
        ""
    );
}

#[tokio::test]
async fn a_plan_says_that_views_of_another_service_would_be_refused() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    psql(&database.0, "CREATE TABLE t (a integer); CREATE VIEW seen AS SELECT a FROM t");
    let config = portal
        .config()
        .replace(&format!("sqlite://{}", portal.database().display()), &url(&database.0));
    let elsewhere = Service::start(&config).await;
    let archive = elsewhere.backup("Local", json!([])).await;
    let service = Service::start(&config).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let place = service.backups().join("foreign.tar.gz");
    std::fs::copy(local_path(&archive), &place).unwrap();
    let mut body = json!({"url": format!("file://{}", place.display()), "dryRun": true});
    let plan: Value = service.post("/v1/restores", &body).await.json().await.unwrap();
    let problem = plan["problems"][0].as_str().unwrap_or_else(|| panic!("{plan}"));
    assert!(problem.contains("seen") && problem.contains("trust"), "{plan}");
    body["trust"] = json!(true);
    let plan: Value = service.post("/v1/restores", &body).await.json().await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
}

fn differences(left: &str, right: &str) -> String {
    let known: std::collections::HashSet<_> = right.lines().collect();
    left.lines().filter(|line| !known.contains(line)).take(20).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_table_that_comes_back_alone_has_its_keys_and_policies() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    psql(
        &database.0,
        "CREATE TABLE par (id integer PRIMARY KEY); INSERT INTO par VALUES (1); CREATE TABLE chi (p integer REFERENCES par);
         INSERT INTO chi VALUES (1); CREATE POLICY own ON chi USING (p > 0); ALTER TABLE chi ENABLE ROW LEVEL SECURITY",
    );
    let before = database.dump();
    let config = portal
        .config()
        .replace(&format!("sqlite://{}", portal.database().display()), &url(&database.0));
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    psql(&database.0, "DELETE FROM chi");
    let only = json!(["databases/scheme/chi"]);
    let body = json!({"archiveId": archive["id"], "dump": true, "only": only});
    service.post("/v1/restores", &body).await;
    let done = service.finish_restore().await;
    assert_eq!(done["error"], "", "{done}");
    let after = database.dump();
    assert!(after == before, "{}", differences(&before, &after));
}

#[tokio::test]
async fn a_table_that_is_dropped_while_a_backup_begins_is_no_failure() {
    let (portal, database) = (PlainPortal::new(1), Database::new());
    psql(
        &database.0,
        "CREATE TABLE goes (a integer); CREATE TABLE stays (a integer); INSERT INTO stays VALUES (1)",
    );
    let config = portal
        .config()
        .replace(&format!("sqlite://{}", portal.database().display()), &url(&database.0));
    let service = Service::start(&config).await;
    let mut dropping = Command::new("psql")
        .args(["-X", "-q", &url(&database.0)])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = dropping.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"BEGIN; DROP TABLE goes;\n").unwrap();
    let until = async |what: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let count = format!(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = '{}' AND {what}",
            database.0
        );
        while psql("postgres", &count).trim() == "0" {
            assert!(std::time::Instant::now() < deadline, "{what} never");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    until("mode = 'AccessExclusiveLock' AND granted").await;
    service.start_backup("Local", json!([])).await;
    // Its snapshot still has the table, and it waits for it.
    until("NOT granted").await;
    std::io::Write::write_all(&mut stdin, b"COMMIT;\n").unwrap();
    drop(stdin);
    dropping.wait().unwrap();
    let done = service.finish().await;
    assert_eq!(done["error"], "", "{done}");
    let archive = service.json("/v1/archives?limit=1").await["items"][0].clone();
    let members = members(&local_path(&archive));
    assert!(members.contains_key("databases/data/stays"), "{:?}", members.keys());
    assert!(!members.contains_key("databases/scheme/goes"), "{:?}", members.keys());
}
