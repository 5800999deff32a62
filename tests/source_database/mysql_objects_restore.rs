//! Views, routines and events that a restore could lose, or that could keep it from being undone.

use portal_backup::source::database::Trust;
use portal_backup::source::restore::Staged;

use crate::mysql_cut::proxy;
use crate::mysql_objects::script;
use crate::mysql_restore::{Dump, Live, assert_same, attempt, dump_all, load};
use crate::support::{Temporary, mariadb, open, skips, unique};

/// A user of the server, who goes when the test ends.
struct User(String);

impl User {
    fn new(schema: &str) -> Self {
        let name: String = unique("d").chars().take(30).collect();
        let pattern = schema.replace('_', "\\_");
        mariadb(
            "",
            format!(
                "CREATE USER {name}@'%' IDENTIFIED BY 's'; GRANT ALL ON {schema}.* TO {name}@'%';
                 GRANT ALL ON `{pattern}\\_pb\\_%`.* TO {name}@'%'"
            )
            .as_bytes(),
        );
        Self(name)
    }

    fn url(&self, live: &Live) -> String {
        live.url().replace("root@", &format!("{}:s@", self.0))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        mariadb("", format!("DROP USER IF EXISTS {}@'%'", self.0).as_bytes());
    }
}

/// What is ready to be swapped, and the warnings.
pub async fn staged(url: &str, dump: &Dump) -> (Box<dyn Staged>, Vec<String>) {
    let staging = open(url).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), dump, Trust::Own).await;
    staging.ready().await.unwrap()
}

/// Why it is not ready.
async fn refused(url: &str, dump: &Dump) -> String {
    let staging = open(url).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), dump, Trust::Own).await;
    let error = staging.ready().await.err().unwrap().to_string();
    open(url).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
    error
}

pub const NONE: Vec<String> = Vec::new();

#[tokio::test]
async fn a_view_means_the_same_where_a_table_or_an_alias_has_the_schemas_name() {
    if skips(false) {
        return;
    }
    let live = Live::new("");
    let name = &live.0.0;
    live.run(&format!(
        "CREATE TABLE {name} (id int); CREATE TABLE x (id int); INSERT INTO {name} VALUES (1),(2); INSERT INTO x VALUES (2),(3);
         CREATE FUNCTION f(a int) RETURNS int RETURN a * 10; CREATE SEQUENCE s;
         CREATE TABLE `from` (id bigint DEFAULT NEXTVAL(s), at datetime);
         CREATE VIEW v AS SELECT {name}.id FROM {name} WHERE EXISTS (SELECT 1 FROM x WHERE x.id = {name}.id);
         CREATE VIEW w AS SELECT {name}.id, {name}.f(x.id) AS ten FROM x AS {name} JOIN x ON {name}.id = x.id;
         CREATE VIEW y AS SELECT extract(year FROM {name}.at) AS year FROM `from` {name};"
    ));
    let dump = dump_all(&live.url()).await;
    let target = Live::new("");
    let (staged, warnings) = staged(&target.url(), &dump).await;
    assert_eq!(warnings, NONE);
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let rows = "SELECT * FROM v; SELECT * FROM w; SELECT * FROM y";
    assert_eq!(live.run(rows), "2\n2\t20\n3\t30\n");
    assert_eq!(target.run(rows), live.run(rows));
}

/// Its definers have their rights in the portal's schema, and nowhere else.
#[tokio::test]
async fn views_of_definers_who_have_no_rights_beside_it_come_back() {
    let live = Live::new("CREATE TABLE t (id int); INSERT INTO t VALUES (7)");
    let app = User::new(&live.0.0);
    mariadb(
        "",
        format!("REVOKE ALL ON `{}\\_pb\\_%`.* FROM {}@'%'", live.0.0.replace('_', "\\_"), app.0)
            .as_bytes(),
    );
    let definer = format!("DEFINER={}@'%'", app.0);
    live.run(&format!(
        "CREATE {definer} FUNCTION f() RETURNS int RETURN (SELECT MAX(id) FROM t);
         CREATE {definer} VIEW a AS SELECT id FROM t; CREATE {definer} VIEW b AS SELECT id FROM a;
         CREATE {definer} VIEW c AS SELECT id, f() AS called FROM b;"
    ));
    let dump = dump_all(&live.url()).await;
    let before = live.state();
    live.run("DROP VIEW b; CREATE OR REPLACE VIEW a AS SELECT 1 AS id; UPDATE t SET id = 8");
    let (ready, warnings) = staged(&live.url(), &dump).await;
    assert_eq!(warnings, NONE);
    ready.swap().await.unwrap();
    assert_eq!(ready.settle().await.unwrap(), NONE);
    ready.finish().await.unwrap();
    assert_same(&live.state(), &before, "restored");
    assert_eq!(live.run("SELECT * FROM c"), "7\t7\n");

    // Where they have none at all, the rest comes back all the same.
    let target = Live::new("CREATE VIEW b AS SELECT 5 AS old");
    let (ready, _) = staged(&target.url(), &dump).await;
    ready.swap().await.unwrap();
    let warnings = ready.settle().await.unwrap();
    assert!(
        warnings.concat().contains("left out") && warnings.concat().contains('b'),
        "{warnings:?}"
    );
    assert_eq!(target.run("SELECT * FROM t; SELECT * FROM b"), "7\n5\n");
    ready.roll_back().await.unwrap();
    assert_eq!(target.run("SHOW TABLES; SELECT * FROM b"), "b\n5\n");
}

#[tokio::test]
async fn what_could_not_be_made_again_refuses_the_restore() {
    let live = Live::new(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (7);
         CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1; CREATE VIEW v AS SELECT 1 AS a",
    );
    let dump = dump_all(&live.url()).await;
    let (state, user) = (live.state(), User::new(&live.0.0));
    let error = refused(&user.url(&live), &dump).await;
    assert!(error.contains("trigger tr (`root`@") && error.contains("SET USER"), "{error}");
    assert_same(&live.state(), &state, "refused");
    // His own he may make again.
    live.run("DROP TRIGGER tr; CREATE OR REPLACE VIEW v AS SELECT 2 AS a");
    let error = refused(&user.url(&live), &dump).await;
    assert!(error.contains("view v (`root`@") && !error.contains("trigger"), "{error}");
    live.run(&format!(
        "DROP VIEW v; CREATE DEFINER={0}@'%' VIEW v AS SELECT 2 AS a;
         CREATE DEFINER={0}@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 3",
        user.0
    ));
    let state = live.state();
    let (ready, warnings) = staged(&user.url(&live), &dump).await;
    assert!(warnings.concat().contains("so they run as"), "{warnings:?}");
    ready.swap().await.unwrap();
    assert_eq!(live.run("SELECT * FROM v"), "1\n");
    ready.roll_back().await.unwrap();
    assert_same(&live.state(), &state, "rolled back");
}

#[tokio::test]
async fn views_of_two_databases_come_back_on_an_empty_server() {
    let (one, two) = (Live::new("CREATE TABLE t (a int); INSERT INTO t VALUES (1)"), Live::new(""));
    two.run("CREATE TABLE u (b int); INSERT INTO u VALUES (2); CREATE VIEW low AS SELECT b FROM u");
    one.run(&format!(
        "CREATE VIEW v AS SELECT a, b FROM t, {}.low; CREATE VIEW on_v AS SELECT b FROM v",
        two.0.0
    ));
    two.run(&format!("CREATE VIEW high AS SELECT b + 1 AS c FROM {}.on_v", one.0.0));
    let dumps = [dump_all(&one.url()).await, dump_all(&two.url()).await];
    let states = [one.state(), two.state()];
    for live in [&one, &two] {
        mariadb("", format!("DROP DATABASE {0}; CREATE DATABASE {0}", live.0.0).as_bytes());
    }
    let mut ready = Vec::new();
    for (live, dump) in [&one, &two].into_iter().zip(&dumps) {
        let (staged, warnings) = staged(&live.url(), dump).await;
        assert_eq!(warnings, NONE);
        ready.push(staged);
    }
    for last in [false, true] {
        for staged in &ready {
            staged.swap().await.unwrap();
        }
        for staged in &ready {
            assert_eq!(staged.settle().await.unwrap(), NONE);
        }
        assert_eq!([one.state(), two.state()], states);
        assert_eq!(two.run("SELECT * FROM high"), "3\n");
        for (staged, (live, dump)) in ready.iter_mut().zip([&one, &two].into_iter().zip(&dumps)) {
            if last {
                staged.finish().await.unwrap();
            } else {
                staged.roll_back().await.unwrap();
                assert_eq!(live.run("SHOW TABLES"), "");
                *staged = self::staged(&live.url(), dump).await.0;
            }
        }
    }
    assert_eq!([one.state(), two.state()], states);
}

#[tokio::test]
async fn a_constraints_name_that_a_renamed_table_kept_refuses_the_restore() {
    let live = Live::new(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE outer_p (id int PRIMARY KEY);
         CREATE TABLE t (p int, o int, CONSTRAINT fk_a FOREIGN KEY (p) REFERENCES p (id));
         CREATE TABLE u (o int, CONSTRAINT fk_b FOREIGN KEY (o) REFERENCES outer_p (id))",
    );
    let dump = dump_all(&live.url()).await.without(&["outer_p"]);
    for (table, name) in [("t", "fk_a"), ("u", "fk_b")] {
        live.run(&format!("RENAME TABLE {table} TO {table}2"));
        let state = live.state();
        let error = refused(&live.url(), &dump).await;
        assert!(error.contains(name) && error.contains(&format!("table {table}2")), "{error}");
        assert_same(&live.state(), &state, "refused");
        live.run(&format!("RENAME TABLE {table}2 TO {table}"));
    }
    let (ready, _) = staged(&live.url(), &dump).await;
    ready.swap().await.unwrap();
    ready.finish().await.unwrap();
}

#[tokio::test]
async fn settings_that_the_server_lacks_are_told_before_the_swap() {
    let live = Live::new(
        "SET sql_mode='ANSI_QUOTES'; CREATE TABLE t (id int); CREATE PROCEDURE p() SELECT \"id\" FROM t;
         CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO SET @a = 1; CREATE EVENT far ON SCHEDULE EVERY 1 YEAR DISABLE DO SET @a = 1",
    );
    let mut dump = dump_all(&live.url()).await;
    for object in &mut dump.1 {
        let mut sql = String::from_utf8(object.sql.clone()).unwrap();
        sql = sql.replace("sql_mode='ANSI_QUOTES'", "sql_mode='ANSI_QUOTES,NO_SUCH_MODE'");
        if object.name == "far" {
            sql = sql.replace("time_zone='SYSTEM'", "time_zone='Mars/Olympus'");
            assert!(sql.contains("Mars"), "{sql}");
        }
        object.sql = sql.into();
    }
    let target = Live::new("");
    let (ready, warnings) = staged(&target.url(), &dump).await;
    let warnings = warnings.join("\n");
    assert!(warnings.contains("procedure p (NO_SUCH_MODE)"), "{warnings}");
    assert!(
        warnings.contains("events (1): far (") && warnings.contains("Mars/Olympus"),
        "{warnings}"
    );
    ready.swap().await.unwrap();
    ready.finish().await.unwrap();
    let routines = "SELECT ROUTINE_NAME, SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE();
        SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()";
    assert_eq!(target.run(routines), "p\tANSI_QUOTES\ne\n");
}

/// A server drops such an event as it is made. (On this server no event runs.)
#[tokio::test]
async fn events_whose_time_has_passed_come_back() {
    let events =
        "SELECT EVENT_NAME, EVENT_TYPE, EXECUTE_AT, ENDS, STATUS, ON_COMPLETION, EVENT_COMMENT
        FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1";
    let live = Live::new(
        "CREATE TABLE t (id int); SET timestamp=1;
         CREATE EVENT off ON SCHEDULE AT '2018-01-01' DISABLE DO SET @a = 1;
         CREATE EVENT kept ON SCHEDULE AT '2018-01-01' ON COMPLETION PRESERVE ENABLE DO SET @a = 1;
         CREATE EVENT ended ON SCHEDULE EVERY 1 DAY STARTS '2017-01-01' ENDS '2018-01-01' DISABLE DO SET @a = 1;",
    );
    let before = live.run(events);
    assert_eq!(before.lines().count(), 3, "{before}");
    let dump = dump_all(&live.url()).await;
    live.run("SET timestamp=1; DROP EVENT kept; ALTER EVENT off COMMENT 'x'; ALTER EVENT ended COMMENT 'x'");
    let spoiled = live.run(events);
    for last in [false, true] {
        let (ready, warnings) = staged(&live.url(), &dump).await;
        assert_eq!(warnings, NONE);
        ready.swap().await.unwrap();
        assert_eq!(live.run(events), before);
        if last {
            ready.finish().await.unwrap();
        } else {
            ready.roll_back().await.unwrap();
            assert_eq!(live.run(events), spoiled);
        }
    }
}

#[tokio::test]
async fn routines_and_events_are_of_one_place_whatever_the_case_of_their_names() {
    let live = Live::new(
        "CREATE TABLE t (id int); CREATE PROCEDURE GetUser() SELECT 1; CREATE EVENT Tick ON SCHEDULE EVERY 1 YEAR DISABLE DO SET @a = 1",
    );
    let dump = dump_all(&live.url()).await;
    live.run(
        "DROP PROCEDURE GetUser; DROP EVENT Tick; CREATE PROCEDURE getuser() SELECT 2;
         CREATE EVENT tick ON SCHEDULE EVERY 2 YEAR DISABLE DO SET @a = 2",
    );
    let spoiled = live.state();
    let (ready, _) = staged(&live.url(), &dump).await;
    ready.swap().await.unwrap();
    assert!(live.state().contains("SELECT 1") && !live.state().contains("SELECT 2"));
    ready.roll_back().await.unwrap();
    assert_same(&live.state(), &spoiled, "rolled back");
    assert!(spoiled.contains("SELECT 2") && spoiled.contains("@a = 2"), "{spoiled}");
}

#[tokio::test]
async fn a_view_that_did_not_work_does_not_keep_a_restore_from_being_undone() {
    let live = Live::new(
        "CREATE TABLE t (a int); CREATE TABLE u (a int); CREATE VIEW v AS SELECT a FROM t",
    );
    let dump = dump_all(&live.url()).await;
    live.run("CREATE OR REPLACE VIEW v AS SELECT a, a + 1 AS b FROM t; DROP TABLE t");
    let (ready, _) = staged(&live.url(), &dump).await;
    ready.swap().await.unwrap();
    assert_eq!(live.run("SELECT COUNT(*) FROM v"), "0\n");
    ready.roll_back().await.unwrap();
    assert_eq!(live.run("SHOW TABLES LIKE 'u'"), "u\n");
    assert_eq!(live.beside(), "");
}

/// A rollback that is ended at any statement, after a trigger was made since the swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_never_loses_the_triggers_that_it_dropped() {
    const TRIGGERS: &str = "CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1;
        CREATE TRIGGER two AFTER INSERT ON t FOR EACH ROW SET @a = 1;";
    const LATE: &str = "CREATE TRIGGER late AFTER DELETE ON t FOR EACH ROW SET @a = 2";
    let live = Live::new(&format!("CREATE TABLE t (a int); {TRIGGERS} {LATE}"));
    let expected = live.state();
    live.run("DROP TRIGGER late");
    let dump = dump_all(&live.url()).await;
    for statements in 0.. {
        let (ready, _) = staged(&live.url(), &dump).await;
        ready.swap().await.unwrap();
        live.run(LATE);
        let through = live.url().replace(":3306", &format!(":{}", proxy(statements).await));
        let ended = open(&through).staged(&attempt()).await.unwrap().roll_back().await.is_err();
        open(&live.url()).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
        assert_same(&live.state(), &expected, &format!("ended at {statements}"));
        live.run("DROP TRIGGER late");
        if !ended {
            assert!(statements > 8, "{statements}");
            break;
        }
    }
}

#[tokio::test]
async fn rows_that_were_written_without_a_check_come_back() {
    if skips(false) {
        return;
    }
    let live = Live::new(
        "CREATE TABLE t (a int CHECK (a > 0)); SET check_constraint_checks=0; INSERT INTO t VALUES (-1)",
    );
    let dump = dump_all(&live.url()).await;
    live.run("DELETE FROM t");
    let (ready, _) = staged(&live.url(), &dump).await;
    ready.swap().await.unwrap();
    ready.finish().await.unwrap();
    assert_eq!(live.run("SELECT * FROM t"), "-1\n");
}

/// Times in a definition are those of UTC, wherever it is loaded.
#[tokio::test]
async fn the_times_of_a_definition_do_not_move() {
    let live = Live::new(
        "SET time_zone='+00:00', sql_mode='';
         CREATE TABLE t (a timestamp NOT NULL DEFAULT '2020-01-01 00:00:00', b datetime DEFAULT '0000-00-00 00:00:00')
         PARTITION BY RANGE (unix_timestamp(a)) (PARTITION p VALUES LESS THAN (unix_timestamp('2021-01-01 00:00:00')));",
    );
    let dump = dump_all(&live.url()).await;
    let copy = Temporary::new();
    let sql = format!(
        "SET time_zone='+05:00', sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE';\n{}",
        dump.0[0].scheme
    );
    script(&copy.0, sql.as_bytes());
    let shown = "SET time_zone='+00:00'; SHOW CREATE TABLE t";
    assert_eq!(copy.run(shown), live.run(shown));
    assert!(live.run(shown).contains("2020-01-01 00:00:00"));
    let (ready, warnings) = staged(&live.url(), &dump).await;
    assert_eq!(warnings, NONE);
    ready.roll_back().await.unwrap();
}
