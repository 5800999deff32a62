//! Portals of several databases and filesystems: all of them come back, or none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::local_path;
use super::restore::dump;
use crate::support::portal::{members, noise, tree};
use crate::support::s3::S3Server;
use crate::support::service::Service;

/// MariaDB, PostgreSQL and SQLite; two folders and a bucket.
pub struct Several {
    dir: tempfile::TempDir,
    name: String,
    s3: S3Server,
}

/// Everything of a portal.
#[derive(PartialEq, Eq)]
pub struct State {
    databases: [Vec<String>; 3],
    files: [BTreeMap<String, Vec<u8>>; 3],
}

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mariadb(database: &str, sql: &str) -> String {
    run("mariadb", &["-h127.0.0.1", "-uroot", "-BN", database], sql)
}

fn psql(database: &str, sql: &str) -> String {
    let url = format!("postgres://postgres@127.0.0.1:5432/{database}");
    run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", &url], sql)
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

impl Several {
    pub async fn new() -> Self {
        let name = format!("pb_test_{}", uuid::Uuid::new_v4().simple());
        let (dir, s3) = (tempfile::tempdir().unwrap(), S3Server::start().await);
        let portal = Self { dir, name, s3 };
        mariadb("", &format!("CREATE DATABASE {}", portal.name));
        psql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", portal.name));
        mariadb(
            &portal.name,
            "CREATE TABLE same (id int PRIMARY KEY, t text); INSERT INTO same SELECT seq, CONCAT('maria ', seq) FROM seq_1_to_2000;
             CREATE VIEW seen AS SELECT id FROM same; CREATE FUNCTION two() RETURNS int RETURN 2;",
        );
        psql(
            &portal.name,
            "CREATE TABLE same (id int PRIMARY KEY, t text); INSERT INTO same SELECT i, 'post ' || i FROM generate_series(1, 2000) i;
             CREATE VIEW seen AS SELECT id FROM same;",
        );
        portal.sqlite(
            "CREATE TABLE same (id INTEGER PRIMARY KEY, t TEXT); CREATE VIEW seen AS SELECT id FROM same;
             INSERT INTO same WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i, 'lite ' || i FROM n;",
        );
        for (number, root) in portal.roots().iter().enumerate() {
            write(root, "same.txt", format!("root {number}").as_bytes());
            write(root, "deep/noise.bin", &noise(300_000 + number));
        }
        portal
    }

    fn sqlite(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.dir.path().join("notes.db")).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn roots(&self) -> [PathBuf; 3] {
        [
            self.dir.path().join("files"),
            self.dir.path().join("more"),
            self.s3.bucket_dir().join("docs"),
        ]
    }

    /// MariaDB comes last of the databases, so that what fails there fails late.
    pub fn config(&self) -> String {
        let options: Vec<_> =
            self.s3.options().iter().map(|(key, value)| format!("{key} = \"{value}\"")).collect();
        let [files, more, _] = self.roots();
        let Self { name, .. } = self;
        format!(
            "[portal]\nlayout = \"plain\"\n\
             [[portal.database]]\nname = \"main\"\nurl = \"postgres://postgres@127.0.0.1:5432/{name}\"\n\
             [[portal.database]]\nname = \"notes\"\nurl = \"sqlite://{}\"\n\
             [[portal.database]]\nname = \"crm\"\nurl = \"mysql://root@127.0.0.1:3306/{name}?lock-wait-timeout=1\"\n\
             [[portal.filesystem]]\nname = \"files\"\nurl = \"file://{}\"\n\
             [[portal.filesystem]]\nname = \"more\"\nurl = \"file://{}\"\n\
             [[portal.filesystem]]\nname = \"bucket\"\nurl = \"s3://{}/docs\"\noptions = {{ {} }}\n",
            self.dir.path().join("notes.db").display(),
            files.display(),
            more.display(),
            self.s3.bucket,
            options.join(", "),
        )
    }

    pub fn change(&self) {
        mariadb(
            &self.name,
            "UPDATE same SET t = 'x'; DROP VIEW seen; DROP FUNCTION two; CREATE TABLE own (a int)",
        );
        psql(&self.name, "DROP VIEW seen; DELETE FROM same WHERE id > 5");
        self.sqlite("DROP VIEW seen; DELETE FROM same WHERE id < 50");
        for root in self.roots() {
            write(&root, "same.txt", b"changed");
            write(&root, "new.txt", b"new");
            std::fs::remove_dir_all(root.join("deep")).unwrap();
        }
    }

    pub fn state(&self) -> State {
        let lines = |text: String| {
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| {
                    !line.contains("restrict ") && !line.starts_with("-- Dump completed")
                })
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        let url = format!("postgres://postgres@127.0.0.1:5432/{}", self.name);
        let databases = [
            run(
                "mariadb-dump",
                &["-h127.0.0.1", "-uroot", "--routines", "--skip-dump-date", &self.name],
                "",
            ),
            run("pg_dump", &[&url], ""),
            dump(&self.dir.path().join("notes.db")),
        ];
        let files = self.roots().map(|root| {
            let mut files = tree(&root);
            files.retain(|name, _| !name.starts_with(".portal-backup"));
            files
        });
        State { databases: databases.map(lines), files }
    }

    fn left_over(&self) -> String {
        let schemas = mariadb("", &format!("SHOW DATABASES LIKE '{}\\_pb%'", self.name));
        let more =
            psql(&self.name, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'portal%'");
        let more = more.lines().filter(|line| line.starts_with(" portal")).collect::<String>();
        // (The bucket's server keeps folders that are empty.)
        let files = self.roots().map(|root| tree(&root).into_keys().collect::<Vec<_>>()).concat();
        let staged = files.into_iter().filter(|name| name.starts_with(".portal-backup"));
        format!("{schemas}{more}{}", staged.collect::<String>())
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        for schema in mariadb("", &format!("SHOW DATABASES LIKE '{}%'", self.name)).lines() {
            mariadb("", &format!("DROP DATABASE `{schema}`"));
        }
        psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

#[track_caller]
fn assert_same(now: &State, expected: &State, when: &str) {
    for (now, expected) in now.databases.iter().zip(&expected.databases) {
        let other: Vec<_> = now.iter().filter(|line| !expected.contains(line)).take(5).collect();
        assert!(now == expected, "{when}: {other:?}");
    }
    for (now, expected) in now.files.iter().zip(&expected.files) {
        assert_eq!(now.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{when}");
        assert!(now == expected, "{when}: the files' contents");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_databases_and_filesystems_come_back_together() {
    let portal = Several::new().await;
    let service = Service::start(&portal.config()).await;
    let before = portal.state();
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let members = members(&local_path(&archive));
    for member in [
        "databases/data/same",
        "extra/databases/notes/scheme/same",
        "extra/databases/crm/data/same",
        "extra/objects/main/schema/post-data.sql",
        "extra/objects/notes/view/seen.sql",
        "extra/objects/crm/view/seen.sql",
        "extra/objects/crm/function/two.sql",
        "storage/same.txt",
        "extra/files/more/deep/noise.bin",
        "extra/files/bucket/same.txt",
    ] {
        assert!(members.contains_key(member), "{member}: {:?}", members.keys());
    }
    assert_eq!(members["extra/files/bucket/same.txt"], b"root 2");
    portal.change();
    let changed = portal.state();

    let plan = json!({"archiveId": id, "dump": true, "dryRun": true});
    let plan: Value = service.post("/v1/restores", &plan).await.json().await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    assert_eq!(plan["tables"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(plan["filesystems"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(plan["tablesKept"], json!(["own"]), "{plan}");
    let object = |database: &str, kind: &str, name: &str| json!({"database": database, "kind": kind, "name": name, "action": "create"});
    let expected = [
        object("crm", "function", "two"),
        object("crm", "view", "seen"),
        object("notes", "view", "seen"),
    ];
    let mut objects = plan["objects"].as_array().unwrap().clone();
    objects.sort_by_key(ToString::to_string);
    assert_eq!(objects.len(), 3, "{plan}");
    for expected in &expected {
        assert!(objects.contains(expected), "{plan}");
    }
    let proof = service.cli(&["verify", "--restore", id]);
    assert!(proof.status.success(), "{}", String::from_utf8_lossy(&proof.stderr));
    assert_same(&portal.state(), &changed, "planned and proved");
    assert_eq!(portal.left_over(), "");

    // Parts of it, of the second of each kind.
    let only = ["extra/databases/notes/", "extra/files/bucket/deep"];
    let output = service.cli(&["restore", id, "--yes", "--only", only[0], "--only", only[1]]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let part = portal.state();
    assert_eq!(part.databases[0], changed.databases[0]);
    assert_eq!(part.databases[1], changed.databases[1]);
    assert!(part.databases[2].iter().any(|line| line.contains("'lite 3'")));
    assert_eq!(part.files[..2], changed.files[..2]);
    assert_eq!(part.files[2]["deep/noise.bin"], before.files[2]["deep/noise.bin"]);
    assert_eq!(part.files[2]["same.txt"], b"changed");

    service.restore(&json!({"backupId": id, "dump": true})).await;
    mariadb(&portal.name, "DROP TABLE own");
    assert_same(&portal.state(), &before, "restored");
    assert_eq!(portal.left_over(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_late_is_undone_everywhere() {
    let portal = Several::new().await;
    let mut service = Service::start(&portal.config()).await;
    let before = portal.state();
    let archive = service.backup("Local", json!([])).await;
    portal.change();
    let changed = portal.state();
    let body = json!({"backupId": archive["id"], "dump": true});

    // Somebody holds a table of the last database: the others were swapped by then.
    let mut holder = Command::new("mariadb")
        .args(["-h127.0.0.1", "-uroot", "-BN", "--unbuffered", &portal.name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let hold = b"START TRANSACTION; SELECT * FROM same LIMIT 1; SELECT SLEEP(600);\n";
    let mut input = holder.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, hold).unwrap();
    let query = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{}' AND INFO LIKE 'SELECT SLEEP%'",
        portal.name
    );
    while mariadb("", &query).trim() != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = service.post("/api/2.0/backup/startrestore", &body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let done = service.finish_restore().await;
    let error = done["error"].as_str().unwrap();
    assert!(error.contains("crm") && error.contains("in use by another connection"), "{done}");
    drop(input);
    let kill = format!(
        "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE DB = '{}' AND INFO LIKE 'SELECT SLEEP%'",
        portal.name
    );
    let kill = mariadb("", &kill);
    mariadb("", &kill);
    holder.wait().unwrap();
    assert_same(&portal.state(), &changed, "it failed");
    assert_eq!(portal.left_over(), "");

    // Killed anywhere, it is the old portal or the new one.
    let mut undone = 0;
    let mut whole = Duration::from_secs(2);
    for step in 0..7 {
        let started = Instant::now();
        let answer = service.post("/api/2.0/backup/startrestore", &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        if step > 0 {
            tokio::time::sleep(whole.mul_f64(f64::from(step) / 7.0)).await;
            service.kill();
            service.restart().await;
        }
        let done = service.finish_restore().await;
        if step == 0 {
            whole = started.elapsed();
            assert_eq!(done["error"], "", "{done}");
        }
        let is_undone = done["error"] != "";
        undone += i32::from(is_undone);
        let when = format!("step {step}: {done}");
        if is_undone {
            assert_same(&portal.state(), &changed, &when);
        } else {
            mariadb(&portal.name, "DROP TABLE own");
            assert_same(&portal.state(), &before, &when);
            portal.change();
        }
        assert_eq!(portal.left_over(), "", "{when}");
    }
    assert!(undone > 0, "none was killed in time");
}
