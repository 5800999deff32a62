//! Databases that are put back: what comes back, what stays, and what is refused.

use bytes::Bytes;
use futures::{StreamExt, stream};
use portal_backup::source::database::{Adjustment, ObjectText, Staging, Statements, Trust};
use portal_backup::source::restore::AttemptId;
use sha2::{Digest, Sha256};

use crate::mysql::AWKWARD;
use crate::support::{Temporary, data, mariadb, open, skips, unique};

/// What an archive has of a database.
#[derive(Clone)]
pub struct Dump(pub Vec<Member>, pub Vec<ObjectText>);

#[derive(Clone)]
pub struct Member {
    pub table: String,
    pub scheme: String,
    pub rows: u64,
    pub data: Vec<u8>,
}

pub async fn dump(url: &str) -> Dump {
    let snapshot = open(url).snapshot(2).await.unwrap();
    let mut members = Vec::new();
    for table in snapshot.tables() {
        let scheme = snapshot.scheme(table).await.unwrap();
        let (rows, data) = data(snapshot.as_ref(), &table.name).await;
        members.push(Member { table: table.name.clone(), scheme, rows, data });
    }
    Dump(members, Vec::new())
}

/// The same with views, triggers, routines and events.
pub async fn dump_all(url: &str) -> Dump {
    let objects = open(url).snapshot(1).await.unwrap().objects().await.unwrap();
    Dump(dump(url).await.0, objects)
}

impl Dump {
    pub fn without(mut self, tables: &[&str]) -> Self {
        self.0.retain(|member| !tables.contains(&member.table.as_str()));
        self
    }
}

pub fn pieces(text: &[u8], size: usize) -> Statements {
    let pieces: Vec<_> = text.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

pub fn attempt() -> AttemptId {
    AttemptId::new("t1").unwrap()
}

/// Loads everything; checks counts and digests.
pub async fn load(staging: &dyn Staging, dump: &Dump, trust: Trust) {
    staging.objects(dump.1.clone(), trust).await.unwrap();
    for member in &dump.0 {
        staging.scheme(&member.table, &member.scheme, trust).await.unwrap();
    }
    for member in &dump.0 {
        let told = std::sync::atomic::AtomicU64::new(0);
        let tell = |bytes| {
            told.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
        };
        let rows =
            staging.data(&member.table, pieces(&member.data, 1000), trust, &tell).await.unwrap();
        assert_eq!(rows, member.rows, "{}", member.table);
        assert_eq!(told.into_inner(), member.data.len() as u64, "{}", member.table);
        let digest = staging.digest(&member.table).await.unwrap();
        let expected = (rows > 0).then(|| <[u8; 32]>::from(Sha256::digest(&member.data)));
        assert_eq!(digest, expected, "{}", member.table);
    }
}

/// A live database, with everything that an attempt may leave beside it.
pub struct Live(pub Temporary);

impl Live {
    pub fn new(sql: &str) -> Self {
        let live = Self(Temporary::new());
        live.0.run(sql);
        live
    }

    pub fn run(&self, sql: &str) -> String {
        self.0.run(sql)
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    /// All that there is to see of it: definitions, checksums of rows, objects.
    pub fn state(&self) -> String {
        let tables = self.run(
            "SELECT TABLE_NAME, TABLE_TYPE = 'VIEW' FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1",
        );
        let mut script = String::new();
        for line in tables.lines() {
            let (table, view) = line.split_once('\t').unwrap();
            let table = format!("`{}`", table.replace('`', "``"));
            script += &match view {
                "1" => format!("SHOW CREATE VIEW {table}; SELECT * FROM {table};\n"),
                _ => format!("SHOW CREATE TABLE {table}; CHECKSUM TABLE {table} EXTENDED;\n"),
            };
        }
        script += "SELECT TRIGGER_NAME,EVENT_MANIPULATION,EVENT_OBJECT_TABLE,ACTION_ORDER,HEX(ACTION_STATEMENT),\
              ACTION_TIMING,SQL_MODE,DEFINER,CHARACTER_SET_CLIENT,COLLATION_CONNECTION \
              FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1;
            SELECT EVENT_NAME,EVENT_DEFINITION FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1;
            SELECT ROUTINE_NAME,ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1;";
        self.run(&script).replace(&self.0.0, "live")
    }

    pub fn beside(&self) -> String {
        let query = format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{}\\_pb\\_%'",
            self.0.0.replace('_', "\\_")
        );
        mariadb("", query.as_bytes())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for schema in self.beside().lines() {
            mariadb("", format!("DROP DATABASE IF EXISTS `{schema}`").as_bytes());
        }
    }
}

/// Compares two states, and shows only where they differ.
#[track_caller]
pub fn assert_same(left: &str, right: &str, when: &str) {
    let lines = |one: &str, other: &str| -> Vec<String> {
        let other: Vec<_> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
    };
    assert!(left == right, "{when}: {:#?} is not {:#?}", lines(left, right), lines(right, left));
}

/// A database whose archive knows some of the tables, with everything that binds those to the others.
pub const BOUND: &str = "
CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1),(2);
CREATE TABLE parent (id int PRIMARY KEY AUTO_INCREMENT, t text) AUTO_INCREMENT=50; INSERT INTO parent VALUES (1,'a'),(2,'b');
CREATE TABLE child (id int PRIMARY KEY, p int, KEY k (p), UNIQUE KEY u (id), CONSTRAINT c1 FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE,
  CONSTRAINT c2 FOREIGN KEY (id) REFERENCES child (id)); INSERT INTO child VALUES (1,1),(2,null);
CREATE TABLE points (id int PRIMARY KEY, o int, KEY k (o),
  CONSTRAINT p1 FOREIGN KEY (o) REFERENCES other (id) ON DELETE RESTRICT ON UPDATE SET NULL); INSERT INTO points VALUES (1,2);
CREATE TABLE stays (id int PRIMARY KEY, p int, q int, KEY kp (p), KEY kq (q),
  CONSTRAINT s1 FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE CASCADE,
  CONSTRAINT s2 FOREIGN KEY (q) REFERENCES other (id)); INSERT INTO stays VALUES (1,1,1);
CREATE TABLE noted (what varchar(100));
SET sql_mode='ANSI_QUOTES,NO_ZERO_DATE'; SET NAMES latin1;
CREATE TRIGGER first_one BEFORE INSERT ON parent FOR EACH ROW SET NEW.t = CONCAT(NEW.t, \"NEW\".id, '\u{e4}');
CREATE TRIGGER another BEFORE INSERT ON parent FOR EACH ROW PRECEDES first_one INSERT INTO noted VALUES (NEW.t);
SET NAMES utf8mb4;
CREATE TRIGGER gone AFTER DELETE ON `child` FOR EACH ROW INSERT INTO noted VALUES ('ü gone');
CREATE TRIGGER kept AFTER DELETE ON stays FOR EACH ROW INSERT INTO noted VALUES ('stays');
CREATE VIEW seen AS SELECT p.id, c.id AS c FROM parent p LEFT JOIN child c ON c.p = p.id;
CREATE PROCEDURE doing() INSERT INTO parent (t) VALUES ('x');
CREATE FUNCTION answer() RETURNS int RETURN (SELECT COUNT(*) FROM parent);
CREATE EVENT sometimes ON SCHEDULE EVERY 1 YEAR DISABLE DO DELETE FROM parent WHERE id = 99;";

/// What happens to it after the backup.
pub const SPOILED: &str = "
SET foreign_key_checks=0; DELETE FROM child; UPDATE parent SET t = 'spoiled' WHERE id = 1;
INSERT INTO parent VALUES (3,'newer'); INSERT INTO points VALUES (2,2); DROP TABLE fresh; TRUNCATE noted;";

/// Tables that the archive does not have.
pub const UNKNOWN: &[&str] = &["other", "stays", "noted", "waits"];

/// Such a database, the archive of its first state, and that state as far as it comes back.
pub async fn bound() -> (Live, Dump, String) {
    let live = Live::new(&format!("{BOUND} CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (7);
         CREATE TABLE waits (f int, KEY k (f), CONSTRAINT w FOREIGN KEY (f) REFERENCES fresh (id)); INSERT INTO waits VALUES (7);"));
    let dump = dump(&live.url()).await.without(UNKNOWN);
    let before = live.state();
    live.run(SPOILED);
    (live, dump, before)
}

/// A table that the server reads by its shorter index, as that has all columns; one that comes in no order; engines
/// and forms of rows that are not the default.
const MORE: &str = "
CREATE TABLE links (a bigint, b int, c char(36), PRIMARY KEY (a, b, c), KEY k (b));
INSERT INTO links SELECT seq * 7919 % 4001, seq % 13, UUID() FROM seq_1_to_4000;
CREATE TABLE heap (t varchar(30)); INSERT INTO heap SELECT LEFT(SHA2(seq * 31 % 977, 224), 30) FROM seq_1_to_900;
CREATE TABLE old (id int AUTO_INCREMENT PRIMARY KEY, t text, FULLTEXT KEY f (t)) ENGINE=MyISAM CHECKSUM=1 COLLATE latin1_german1_ci;
INSERT INTO old VALUES (5,'ä'),(2,'b'); DELETE FROM old WHERE id=5;
CREATE TABLE pressed (id int PRIMARY KEY, t text COLLATE utf8mb4_bin CHECK (LENGTH(t) < 50)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 COMMENT='c';
INSERT INTO pressed VALUES (1,'é');";

#[tokio::test]
async fn awkward_tables_come_back_exactly() {
    let live = Live::new(&format!("{AWKWARD} {MORE}"));
    let before = live.state();
    let dump = dump(&live.url()).await;
    // Over what is there, and where nothing is.
    live.run(
        "SET foreign_key_checks=0; DELETE FROM numbers; ALTER TABLE texts DROP COLUMN js; DROP TABLE made, parts;
         INSERT INTO `odd``name ünï` VALUES (9,9,9); ALTER TABLE `empty` AUTO_INCREMENT=500; UPDATE child SET p = 7;",
    );
    let fresh = Live::new("");
    for (live, trust) in [(&live, Trust::Own), (&fresh, Trust::Foreign)] {
        let spoiled = live.state();
        let database = open(&live.url());
        let staging = database.stage(&attempt()).await.unwrap();
        assert!(staging.loaders() >= 2);
        load(staging.as_ref(), &dump, trust).await;
        let (staged, warnings) = staging.ready().await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_same(&live.state(), &spoiled, "");
        staged.swap().await.unwrap();
        assert_same(&live.state(), &before, "");
        staged.roll_back().await.unwrap();
        assert_same(&live.state(), &spoiled, "");
        assert_eq!(live.beside(), "");
        let staging = database.stage(&attempt()).await.unwrap();
        load(staging.as_ref(), &dump, trust).await;
        let (staged, _) = staging.ready().await.unwrap();
        staged.swap().await.unwrap();
        staged.finish().await.unwrap();
        assert_same(&live.state(), &before, "");
        assert_eq!(live.beside(), "");
    }
}

#[tokio::test]
async fn what_the_archive_does_not_know_stays_and_goes_on_working() {
    if skips(false) {
        return;
    }
    let (live, dump, before) = bound().await;
    let elsewhere = Temporary::new();
    elsewhere.run(&format!(
        "CREATE TABLE far (id int PRIMARY KEY, KEY k (id), CONSTRAINT f FOREIGN KEY (id) REFERENCES {}.parent (id));
         INSERT INTO far VALUES (1)",
        live.0.0
    ));
    let spoiled = live.state();
    assert_ne!(spoiled, before);
    let far = elsewhere.run("SHOW CREATE TABLE far");
    for round in 0..2 {
        let staging = open(&live.url()).stage(&attempt()).await.unwrap();
        load(staging.as_ref(), &dump, Trust::Own).await;
        let (staged, warnings) = staging.ready().await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        // Nothing that is staged binds what is live.
        live.run("SET foreign_key_checks=1; INSERT INTO other VALUES (99); DELETE FROM other WHERE id = 99");
        assert_same(&live.state(), &spoiled, "");
        staged.swap().await.unwrap();
        if round == 0 {
            staged.swap().await.unwrap();
            staged.roll_back().await.unwrap();
            assert_same(&live.state(), &spoiled, "");
            assert_eq!(elsewhere.run("SHOW CREATE TABLE far"), far);
            assert_eq!(live.beside(), "");
            staged.roll_back().await.unwrap();
        } else {
            staged.finish().await.unwrap();
            staged.finish().await.unwrap();
        }
    }
    live.run("INSERT INTO noted VALUES ('ü gone')"); // As the first state has it not: the table stays.
    live.run("DELETE FROM noted");
    assert_same(&live.state(), &before, "");
    assert_eq!(elsewhere.run("SHOW CREATE TABLE far"), far);
    assert_eq!(live.beside(), "");
    // Foreign keys of and to what stays bind, triggers fire.
    let refused = |sql: &str| {
        let script = format!(
            "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR 1451, 1452 SELECT 'refused'; SET foreign_key_checks=1; {sql}; END"
        );
        let answer = live.run(&format!("DELIMITER //\n{script}//\n"));
        assert_eq!(answer.trim(), "refused", "{sql}");
    };
    refused("INSERT INTO stays VALUES (5,3,1)");
    refused("DELETE FROM parent WHERE id = 1");
    refused("INSERT INTO points VALUES (5,77)");
    refused("DELETE FROM other WHERE id = 2");
    refused("DELETE FROM fresh");
    live.run("CALL doing(); DELETE FROM child WHERE id = 1;");
    assert_eq!(live.run("SELECT what FROM noted"), "x\nü gone\n");
    assert!(live.run("SELECT answer(), MAX(id) FROM parent").starts_with("3\t50"));
}

#[tokio::test]
async fn rows_that_would_refer_to_nothing_are_told() {
    let (live, dump, _) = bound().await;
    live.run("INSERT INTO stays VALUES (2,3,1)");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &dump, Trust::Own).await;
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("1 rows of table stays"), "{warnings:?}");
    staged.roll_back().await.unwrap();
}

#[tokio::test]
async fn tables_that_do_not_fit_what_stays_are_refused_before_anything_changes() {
    for (sql, word) in [
        // A trigger uses a column that the archive's table does not have.
        (
            "ALTER TABLE parent ADD extra int; CREATE TRIGGER uses BEFORE UPDATE ON parent FOR EACH ROW SET NEW.extra = 1",
            "trigger uses",
        ),
        // A table that stays refers to a column that it does not have either.
        (
            "ALTER TABLE parent ADD code int UNIQUE; CREATE TABLE more (c int, CONSTRAINT m FOREIGN KEY (c) REFERENCES parent (code))",
            "table more",
        ),
        (
            "SET foreign_key_checks=0; DROP TABLE child; CREATE VIEW child AS SELECT 1 AS id, 2 AS c, 3 AS p",
            "child is a table in the archive",
        ),
    ] {
        let (live, dump, _) = bound().await;
        live.run(sql);
        let spoiled = live.state();
        let database = open(&live.url());
        let staging = database.stage(&attempt()).await.unwrap();
        load(staging.as_ref(), &dump, Trust::Own).await;
        let error = staging.ready().await.err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
        let staged = database.staged(&attempt()).await.unwrap();
        assert!(staged.swap().await.is_err());
        assert_same(&live.state(), &spoiled, "");
        staged.roll_back().await.unwrap();
        assert_same(&live.state(), &spoiled, "");
        assert_eq!(live.beside(), "");
    }
}

#[tokio::test]
async fn loaded_tables_can_be_adjusted() {
    let live = Live::new(
        "CREATE TABLE a (id int PRIMARY KEY, g int AS (id * 2) STORED, t varchar(50)); INSERT INTO a (id,t) VALUES (1,'x'),(2,'it''s'),(3,'z');
         CREATE TABLE b (id int); INSERT INTO b VALUES (1);",
    );
    let dump = dump(&live.url()).await;
    live.run("DELETE FROM a WHERE id=1; UPDATE a SET t='live' WHERE id=3; ALTER TABLE a ADD more int; INSERT INTO a (id,t) VALUES (4,'newer')");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &dump, Trust::Own).await;
    let text = str::to_owned;
    for adjustment in [
        Adjustment::Empty { table: text("b") },
        Adjustment::KeepNewer { table: text("a"), key: text("id"), of: None },
        Adjustment::Replace {
            table: text("a"),
            column: text("t"),
            from: text("it's"),
            to: text("é'"),
        },
        Adjustment::Delete {
            table: text("a"),
            column: text("t"),
            values: vec![text("x"), text("y")],
        },
        Adjustment::Delete { table: text("a"), column: text("t"), values: Vec::new() },
        Adjustment::Empty { table: text("not_there") },
    ] {
        staging.adjust(&adjustment).await.unwrap();
    }
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.run("SELECT * FROM a ORDER BY id"), "2\t4\té'\n3\t6\tz\n4\t8\tnewer\n");
    assert_eq!(live.run("SELECT COUNT(*) FROM b").trim(), "0");
}

#[tokio::test]
async fn what_is_live_is_told_with_what_is_missing() {
    let live = Live::new(BOUND);
    let found = open(&live.url()).live().await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    let names: Vec<_> = found.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["child", "noted", "other", "parent", "points", "stays"]);
    assert!(found.tables.iter().all(|table| table.bytes > 0));
    let objects: Vec<_> =
        found.objects.iter().map(|object| format!("{} {}", object.kind, object.name)).collect();
    assert_eq!(
        objects,
        [
            "view seen",
            "trigger another",
            "trigger first_one",
            "trigger gone",
            "trigger kept",
            "procedure doing",
            "function answer",
            "event sometimes"
        ]
    );
    // The server of the tests is on this machine.
    assert!(found.space.is_some_and(|space| space.free > 1 << 20));

    let user = unique("r").chars().take(30).collect::<String>();
    let name = &live.0.0;
    let url = format!("mysql://{user}:secret@127.0.0.1/{name}");
    mariadb("", format!("CREATE USER {user}@'%' IDENTIFIED BY 'secret'; GRANT SELECT, TRIGGER ON {name}.* TO {user}@'%'").as_bytes());
    let poor = open(&url).live().await;
    let staged = open(&url).stage(&attempt()).await;
    mariadb(
        "",
        format!(
            "GRANT ALL ON {name}.* TO {user}@'%'; GRANT ALL ON `{}\\_pb\\_%`.* TO {user}@'%'",
            name.replace('_', "\\_")
        )
        .as_bytes(),
    );
    let rich = open(&url).live().await;
    let enough = open(&url).stage(&attempt()).await.map(drop);
    let dropped = match open(&url).staged(&attempt()).await {
        Ok(staged) => staged.roll_back().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    let problems = poor.unwrap().problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("DROP") && !problems[0].contains("SELECT"), "{problems:?}");
    assert!(problems[1].contains("beside"), "{problems:?}");
    let error = staged.err().unwrap().to_string();
    assert!(error.contains("needs the right to make schemas"), "{error}");
    assert_eq!(rich.unwrap().problems, Vec::<String>::new());
    enough.unwrap();
    dropped.unwrap();
    assert_eq!(live.beside(), "");
}

#[tokio::test]
async fn an_end_that_was_cut_short_is_brought_to_an_end() {
    let live = Live::new("CREATE TABLE a (id int PRIMARY KEY)");
    // What is left when the journal is dropped and its schema is not yet.
    let staging = format!("{}_pb_{}", live.0.0, attempt());
    live.run(&format!("CREATE DATABASE `{staging}`; CREATE DATABASE `{staging}_old`"));
    open(&live.url()).staged(&attempt()).await.unwrap().finish().await.unwrap();
    assert_eq!(live.beside(), "");
}
