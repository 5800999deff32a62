use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use portal_backup::config::{DatabaseConfig, Secret};
use portal_backup::source::database::{
    self, DataSink, Database, DatabaseError, SinkClosed, Snapshot,
};

/// Keeps everything.
#[derive(Default)]
pub struct Collect(pub Vec<u8>);

#[async_trait]
impl DataSink for Collect {
    async fn write(&mut self, piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        assert!(!piece.is_empty());
        self.0.extend_from_slice(piece);
        Ok(())
    }
}

/// Takes one piece, then fails.
pub struct Refuse;

#[async_trait]
impl DataSink for Refuse {
    async fn write(&mut self, _piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        Err(SinkClosed)
    }
}

pub fn open(url: &str) -> Box<dyn Database> {
    try_open(url).unwrap()
}

pub fn try_open(url: &str) -> Result<Box<dyn Database>, DatabaseError> {
    let config = DatabaseConfig { name: "portal".to_owned(), url: Secret::new(url) };
    database::open(&config, &std::env::temp_dir())
}

pub async fn data(snapshot: &dyn Snapshot, table: &str) -> (u64, Vec<u8>) {
    let table = snapshot.tables().iter().find(|t| t.name == table).unwrap();
    let mut sink = Collect::default();
    let rows = snapshot.data(table, &mut sink).await.unwrap();
    (rows, sink.0)
}

/// All members one after another: schemes first, as a restore does.
pub async fn dump(snapshot: &dyn Snapshot) -> Vec<u8> {
    let mut all = Vec::new();
    for table in snapshot.tables() {
        all.extend(snapshot.scheme(table).await.unwrap().into_bytes());
    }
    for table in snapshot.tables() {
        all.extend(data(snapshot, &table.name).await.1);
    }
    all
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("{prefix}_{}_{now}_{next}", std::process::id())
}

/// Runs a client with `input`; its output. Fails when it fails.
pub fn client(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        // Where clients take text for latin1, unless it says what it is.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // A client that fails says why itself.
    });
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    output.stdout
}

/// Loads into MariaDB as a restore would.
pub fn mariadb(database: &str, sql: &[u8]) -> String {
    let mut input = b"SET FOREIGN_KEY_CHECKS=0;\n".to_vec();
    input.extend_from_slice(sql);
    let arguments = [
        "--host=127.0.0.1",
        "--user=root",
        "--batch",
        "--raw",
        "--skip-column-names",
        "--max-allowed-packet=1G",
        database,
    ];
    String::from_utf8_lossy(&client("mariadb", &arguments, &input)).into_owned()
}

/// Whether the server at the port of MariaDB is MySQL itself.
pub fn is_mysql() -> bool {
    static IS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IS.get_or_init(|| !mariadb("", b"SELECT VERSION()").contains("MariaDB"))
}

/// Says that a test has no meaning on a server of the other kind.
pub fn skips(mysql: bool) -> bool {
    let skips = is_mysql() != mysql;
    if skips {
        eprintln!("skipped: the server is not {}", if mysql { "MySQL" } else { "MariaDB" });
    }
    skips
}

/// What stands on MySQL for things that it does not have.
const INSTEAD: [(&str, &str); 9] = [
    // (The server gives equal documents other checksums.)
    (" js json);", " js longtext);"),
    (" uuid,", " char(36),"),
    (" inet6)", " varchar(39))"),
    ("CREATE SEQUENCE counts", "CREATE TABLE counts (id int)"),
    ("DO NEXTVAL(counts)", "INSERT INTO counts VALUES (1)"),
    (" DEFAULT NEXTVAL(counts)", ""),
    ("DROP SEQUENCE counts", "DROP TABLE counts"),
    ("ALTER SEQUENCE counts RESTART 900", "DELETE FROM counts"),
    ("CREATE OR REPLACE FUNCTION answer", "DROP FUNCTION IF EXISTS answer; CREATE FUNCTION answer"),
];

/// The same statements for a MySQL server, which has no tables `seq_1_to_9` either.
fn portable(sql: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_mysql() {
        return sql.to_owned();
    }
    let sql = INSTEAD.iter().fold(sql.to_owned(), |sql, (from, to)| sql.replace(from, to));
    let mut out =
        "SET SESSION cte_max_recursion_depth=10000000, restrict_fk_on_non_standard_key=0;\n"
            .to_owned();
    let mut rest = sql.as_str();
    while let Some(at) = rest.find("seq_") {
        out += &rest[..at];
        let end = rest[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
        let (name, after) = rest[at..].split_at(end.unwrap_or(rest.len() - at));
        out += &match name["seq_".len()..].split_once("_to_") {
            Some((from, to)) if is_number(from) && is_number(to) => format!(
                "(WITH RECURSIVE s AS (SELECT {from} AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < {to}) \
                 SELECT seq FROM s) AS {name}"
            ),
            _ => name.to_owned(),
        };
        rest = after;
    }
    out + rest
}

/// A MariaDB database that goes when the test ends.
pub struct Temporary(pub String);

impl Temporary {
    pub fn new() -> Self {
        let name = unique("pb_test");
        mariadb("", format!("CREATE DATABASE {name} CHARACTER SET utf8mb4").as_bytes());
        Self(name)
    }

    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:3306/{}", self.0)
    }

    pub fn run(&self, sql: &str) -> String {
        mariadb(&self.0, format!("SET NAMES utf8mb4;\n{}", portable(sql)).as_bytes())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        mariadb("", format!("DROP DATABASE IF EXISTS {}", self.0).as_bytes());
    }
}
