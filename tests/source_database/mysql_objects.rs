//! One of every kind of thing in MariaDB, there and back: through the `mariadb` program and through a restore.

use portal_backup::source::database::{ObjectText, Staging, Trust};

use crate::mysql_objects_restore::staged;
use crate::mysql_restore::{Dump, Live, assert_same, attempt, dump_all, load};
use crate::support::{Temporary, client, mariadb, open, skips};

const EVERY_KIND: &str = include_str!("mysql_every_kind.sql");

/// Runs a script as it is, comments in routines included.
pub fn script(database: &str, sql: &[u8]) {
    let arguments = ["--host=127.0.0.1", "--user=root", "--comments", database];
    client("mariadb", &arguments, sql);
}

/// What `mariadb-dump` writes about a database, with the past of its tables.
pub fn picture(database: &str) -> String {
    let arguments = [
        "--host=127.0.0.1",
        "--user=root",
        "--routines",
        "--events",
        "--triggers",
        "--dump-history",
        "--skip-dump-date",
        "--skip-comments",
        "--skip-extended-insert",
        "--order-by-primary",
        database,
    ];
    let text = client("mariadb-dump", &arguments, b"");
    // The server puts the schema's name before sequences.
    String::from_utf8_lossy(&text).replace(database, "live")
}

fn every_kind() -> Live {
    let live = Live::new("");
    script(&live.0.0, EVERY_KIND.as_bytes());
    live
}

/// The members one after the other, as the documentation says.
pub fn text(dump: &Dump) -> Vec<u8> {
    let is_sequence = |object: &&ObjectText| object.kind == "sequence";
    let mut text = b"SET foreign_key_checks=0;\n".to_vec();
    dump.1.iter().filter(is_sequence).for_each(|object| text.extend(&object.sql));
    dump.0.iter().for_each(|member| text.extend(member.scheme.bytes()));
    dump.0.iter().for_each(|member| text.extend(&member.data));
    dump.1.iter().filter(|o| !is_sequence(o)).for_each(|object| text.extend(&object.sql));
    text
}

#[tokio::test]
async fn the_mariadb_program_loads_every_kind() {
    if skips(false) {
        return;
    }
    let live = every_kind();
    let dump = dump_all(&live.url()).await;
    let kinds: std::collections::BTreeSet<&str> =
        dump.1.iter().map(|object| object.kind.as_str()).collect();
    let all = [
        "event",
        "function",
        "package",
        "package_body",
        "procedure",
        "sequence",
        "trigger",
        "view",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    assert_eq!(open(&live.url()).snapshot(3).await.unwrap().warnings(), Vec::<String>::new());
    let copy = Temporary::new();
    script(&copy.0, &text(&dump));
    let before = picture(&live.0.0);
    assert!(before.contains("INSERT INTO `history`") && before.contains("'gone'"), "{before}");
    assert_same(&picture(&copy.0), &before, "loaded by the client");
}

/// A client's own character set is often another one, and then it loads what it misreads without a word.
#[tokio::test]
async fn each_member_says_that_it_is_utf8() {
    if skips(false) {
        return;
    }
    let live = Live::new(
        "CREATE TABLE `tä` (`ö` varchar(9) DEFAULT 'ü€' COMMENT '😀'); INSERT INTO `tä` VALUES ('é😀');
         CREATE TABLE past (t varchar(9)) WITH SYSTEM VERSIONING;
         INSERT INTO past VALUES ('é😀'); UPDATE past SET t = '€';
         CREATE SEQUENCE `sö`; CREATE VIEW `vé` AS SELECT `ö`, '😀' AS `ñ` FROM `tä`;
         CREATE TRIGGER `trü` BEFORE INSERT ON `tä` FOR EACH ROW SET NEW.`ö` = 'ß';
         CREATE PROCEDURE `pà`() SELECT 'œ😀'; CREATE EVENT `eû` ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT '¿';",
    );
    let dump = dump_all(&live.url()).await;
    let copy = Temporary::new();
    for member in &dump.0 {
        script(&copy.0, member.scheme.as_bytes());
        script(&copy.0, &member.data);
    }
    for object in &dump.1 {
        script(&copy.0, &object.sql);
    }
    let checksum = "CHECKSUM TABLE `tä`, past EXTENDED";
    assert_eq!(copy.run(checksum).replace(&copy.0, &live.0.0), live.run(checksum));
    let before = picture(&live.0.0);
    assert!(before.contains("'é😀'") && before.contains("'¿'"), "{before}");
    assert_same(&picture(&copy.0), &before, "loaded by the client");
}

/// The server's own tool cannot lock the tables of the first.
#[tokio::test]
async fn views_that_write_are_carried() {
    if skips(false) {
        return;
    }
    let live = Live::new("");
    let sql = "CREATE TABLE said (what varchar(9)); CREATE SEQUENCE numbers; CREATE VIEW next AS SELECT NEXTVAL(numbers) AS n;
        DELIMITER //\nCREATE FUNCTION say() RETURNS int BEGIN INSERT INTO said VALUES ('x'); RETURN 1; END//
        CREATE VIEW says AS SELECT say() AS s//";
    script(&live.0.0, sql.as_bytes());
    let dump = dump_all(&live.url()).await;
    live.run("DROP VIEW next; DROP VIEW says; DROP FUNCTION say");
    let (staged, warnings) = staged(&live.url(), &dump).await;
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.run("SELECT * FROM next; SELECT * FROM says; SELECT * FROM said"), "1\n1\nx\n");
}

#[tokio::test]
async fn every_kind_comes_back() {
    if skips(false) {
        return;
    }
    let live = every_kind();
    let before = picture(&live.0.0);
    let dump = dump_all(&live.url()).await;
    script(
        &live.0.0,
        b"SET foreign_key_checks=0; SET system_versioning_alter_history=KEEP;
          DROP VIEW z_view; CREATE OR REPLACE VIEW a_view AS SELECT 9 AS nine; ALTER SEQUENCE numbers RESTART 500; DROP SEQUENCE `odd ``s`;
          DROP TABLE by_range, stated; UPDATE history SET t = 'spoiled'; DELETE FROM child; ALTER TABLE parent ADD more int;
          SET sql_mode='ORACLE'; DROP PACKAGE tools; SET sql_mode=DEFAULT; DROP PROCEDURE quoted; ALTER EVENT daily ON SCHEDULE EVERY 3 DAY; DROP EVENT once;
          CREATE OR REPLACE FUNCTION tripled(x int) RETURNS int RETURN 3; DROP TRIGGER sooner;
          CREATE TRIGGER after_update2 AFTER DELETE ON by_list FOR EACH ROW SET @x = 1;",
    );
    let spoiled = picture(&live.0.0);
    let fresh = Live::new("");
    let empty = picture(&fresh.0.0);
    for (live, old) in [(&live, &spoiled), (&fresh, &empty)] {
        for last in [false, true] {
            let staging = open(&live.url()).stage(&attempt()).await.unwrap();
            load(staging.as_ref(), &dump, Trust::Own).await;
            let (staged, warnings) = staging.ready().await.unwrap();
            assert_eq!(warnings, Vec::<String>::new());
            assert_same(&picture(&live.0.0), old, "staged");
            staged.swap().await.unwrap();
            live.run("DROP TRIGGER IF EXISTS after_update2");
            assert_same(&picture(&live.0.0), &before, "swapped");
            if last {
                staged.finish().await.unwrap();
            } else {
                if *old == spoiled {
                    live.run("CREATE TRIGGER after_update2 AFTER DELETE ON by_list FOR EACH ROW SET @x = 1");
                }
                staged.roll_back().await.unwrap();
                assert_same(&picture(&live.0.0), old, "rolled back");
            }
        }
        assert_same(&picture(&live.0.0), &before, "finished");
        assert_eq!(live.beside(), "");
    }
    assert_eq!(
        fresh.run("INSERT INTO parent (name) VALUES ('new'); SELECT MAX(id) FROM parent").trim(),
        "200"
    );
    let again = dump_all(&fresh.url()).await;
    assert_eq!(again.1.len(), dump.1.len());
}

#[tokio::test]
async fn definers_that_are_not_here_become_the_current_user() {
    let live = Live::new(
        "CREATE TABLE t (a int); CREATE DEFINER='pb_ghost'@'%' VIEW v AS SELECT a FROM t;
         CREATE VIEW w AS SELECT 1 AS a;
         CREATE DEFINER='pb_ghost'@'%' PROCEDURE p() SELECT 1;
         CREATE DEFINER='pb_ghost'@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1;
         CREATE DEFINER='pb_ghost'@'%' EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO SET @a = 1;",
    );
    let dump = dump_all(&live.url()).await;
    let target = Live::new("");
    let staging = open(&target.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &dump, Trust::Own).await;
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in
        ["definers do not exist here", "view v", "procedure p", "trigger tr", "event e", "pb_ghost"]
    {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
    assert!(!warnings[0].contains("view w"), "{warnings:?}");
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let definers = "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()
        UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()
        UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
        UNION SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()";
    let own = target.run("SELECT CURRENT_USER()");
    assert_eq!(target.run(definers), own);
    assert_eq!(target.run("INSERT INTO t VALUES (5); SELECT * FROM v"), "1\n");
}

#[tokio::test]
async fn what_the_archive_does_not_know_stays_and_what_it_may_not_bring_is_left_out() {
    if skips(false) {
        return;
    }
    let live = every_kind();
    let dump = dump_all(&live.url()).await;
    script(
        &live.0.0,
        b"DROP VIEW a_view; DROP FUNCTION tripled; CREATE VIEW own_view AS SELECT id FROM child; CREATE FUNCTION own_f() RETURNS int RETURN 1;
          CREATE EVENT own_e ON SCHEDULE EVERY 1 YEAR DISABLE DO SET @a = 1; CREATE TABLE own_t (a int); INSERT INTO own_t VALUES (4);
          CREATE TRIGGER own_tr BEFORE DELETE ON child FOR EACH ROW SET @a = 1; CREATE SEQUENCE own_s;
          CREATE TRIGGER own_trt BEFORE DELETE ON own_t FOR EACH ROW SET @a = 1",
    );
    let objects = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'BASE TABLE'
        UNION SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()
        UNION SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
        UNION SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1";
    let without = live.run(objects);
    for (trust, comes) in [(Trust::Foreign, false), (Trust::Own, true)] {
        let staging = open(&live.url()).stage(&attempt()).await.unwrap();
        staging.objects(dump.1.clone(), trust).await.unwrap();
        staging.scheme("by_list", "CREATE TABLE by_list (k varchar(5));", trust).await.unwrap();
        if comes {
            load(staging.as_ref(), &dump, trust).await;
        }
        let (staged, warnings) = staging.ready().await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        staged.swap().await.unwrap();
        staged.finish().await.unwrap();
        let now = live.run(objects);
        assert_eq!(now.contains("a_view") && now.contains("tripled"), comes, "{now}");
        if !comes {
            assert_eq!(now, without);
        }
        for own in ["own_view", "own_f", "own_e", "own_tr", "own_trt", "own_s"] {
            assert!(now.lines().any(|name| name == own), "{own}: {now}");
        }
        assert_eq!(live.run("SELECT * FROM own_t").trim(), "4");
    }
}

#[tokio::test]
async fn views_that_name_what_is_not_there_are_named() {
    let live = Live::new(
        "CREATE TABLE t (a int); CREATE TABLE lost (a int); CREATE VIEW broken AS SELECT a FROM lost; CREATE VIEW on_it AS SELECT a FROM broken;
         CREATE VIEW good AS SELECT a FROM t; DROP TABLE lost;",
    );
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    let warnings = snapshot.warnings().join("\n");
    assert!(warnings.contains("broken") && !warnings.contains("good"), "{warnings}");
    drop(snapshot);
    let dump = dump_all(&live.url()).await;
    let target = Live::new("");
    let staging = open(&target.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &dump, Trust::Own).await;
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("broken") && warnings[0].contains("on_it"), "{warnings:?}");
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(target.run("SHOW TABLES"), "good\nt\n");
}

#[tokio::test]
async fn what_a_user_may_not_see_is_named() {
    let live = Live::new(
        "CREATE TABLE t (a int); CREATE VIEW v AS SELECT a FROM t; CREATE PROCEDURE p() SELECT 1",
    );
    let name = &live.0.0;
    let user: String = crate::support::unique("o").chars().take(30).collect();
    mariadb("", format!("CREATE USER {user}@'%' IDENTIFIED BY 's'; GRANT SELECT, EXECUTE ON {name}.* TO {user}@'%'").as_bytes());
    let snapshot = open(&format!("mysql://{user}:s@127.0.0.1/{name}")).snapshot(1).await;
    let warnings = snapshot.map(|snapshot| snapshot.warnings().join("\n"));
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    let warnings = warnings.unwrap();
    assert!(
        warnings.contains("may not read them (2): procedure p, view v")
            || warnings.contains("view v, procedure p"),
        "{warnings}"
    );
    assert!(
        warnings.contains("triggers (TRIGGER)") && warnings.contains("events (EVENT)"),
        "{warnings}"
    );
    assert!(!warnings.contains("mysql.proc"), "{warnings}");
}

#[tokio::test]
async fn a_text_that_is_not_ours_is_refused() {
    let live = Live::new("");
    let staging: Box<dyn Staging> = open(&live.url()).stage(&attempt()).await.unwrap();
    let object = |kind: &str, sql: &str| ObjectText {
        kind: kind.to_owned(),
        name: "v".to_owned(),
        sql: sql.into(),
    };
    for odd in [object("view", "CREATE VIEW v AS SELECT 1"), object("user", "CREATE USER v")] {
        let error = staging.objects(vec![odd], Trust::Own).await.unwrap_err().to_string();
        assert!(error.contains("not of the form"), "{error}");
    }
    drop(staging);
    open(&live.url()).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
}
