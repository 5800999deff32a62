//! What MySQL itself has, and MariaDB does not: shown only where the tests' server is MySQL.

use portal_backup::source::database::DatabaseError;

use crate::mysql_objects::{script, text};
use crate::mysql_objects_restore::staged;
use crate::mysql_restore::{Live, assert_same, dump_all};
use crate::support::{Collect, Temporary, data, mariadb, open, skips, unique};

const EVERY_KIND: &str = include_str!("mysql_proper.sql");

/// Definitions as the server tells them, and checksums of rows; those of views are of what they show.
fn picture(live: &Temporary) -> String {
    let tables = live.run("SHOW FULL TABLES");
    let mut sql = String::new();
    for line in tables.lines() {
        let (name, kind) = line.rsplit_once('\t').unwrap();
        let name = format!("`{}`", name.replace('`', "``"));
        sql += &match kind {
            "VIEW" => format!("SHOW CREATE VIEW {name}; SELECT * FROM {name};\n"),
            // The server gives equal documents other checksums.
            _ if name == "`docs`" => format!(
                "SHOW CREATE TABLE {name}; SELECT id, j, tags, HEX(v), HEX(big) FROM {name} ORDER BY 1;\n"
            ),
            _ => format!("SHOW CREATE TABLE {name}; CHECKSUM TABLE {name} EXTENDED;\n"),
        };
    }
    for (kind, list) in [
        ("LIBRARY", "LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA"),
        ("TRIGGER", "TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA"),
        ("EVENT", "EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA"),
        (
            "FUNCTION",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_SCHEMA",
        ),
        (
            "PROCEDURE",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PROCEDURE' AND ROUTINE_SCHEMA",
        ),
    ] {
        for name in live.run(&format!("SELECT {list} = DATABASE() ORDER BY 1")).lines() {
            sql += &format!("SHOW CREATE {kind} `{}`;\n", name.replace('`', "``"));
        }
    }
    sql += "SELECT TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1;";
    let text = live.run(&sql).replace(&live.0, "live");
    // When a trigger was made is no part of it.
    let lines = without_times(&text);
    lines.join("\n")
}

/// The lines without times of making, which end those of triggers.
fn without_times(text: &str) -> Vec<String> {
    let is_time = |field: &str| field.len() == 22 && field.as_bytes()[19] == b'.';
    let lines = text.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').filter(|field| !is_time(field)).collect();
        fields.join("\t")
    });
    lines.collect()
}

#[tokio::test]
async fn every_kind_comes_back() {
    if skips(true) {
        return;
    }
    let live = Live::new("");
    script(&live.0.0, EVERY_KIND.as_bytes());
    let before = picture(&live.0);
    for part in ["LIBRARY `doubling`", "DUALITY VIEW `dual_view`", "vector(3)", "my_row_id"] {
        assert!(before.contains(part), "{part}: {before}");
    }
    let dump = dump_all(&live.url()).await;
    let warnings = open(&live.url()).snapshot(3).await.unwrap().warnings().join("\n");
    assert!(warnings.contains("histograms (2): shapes.name, shapes.price"), "{warnings}");
    let copy = Temporary::new();
    // As the documentation says of dates that do not exist, and of keys of older servers.
    let by_hand = String::from_utf8(text(&dump)).unwrap().replace(
        "SET sql_mode='NO_AUTO_VALUE_ON_ZERO';",
        "SET sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';",
    );
    let by_hand = format!("SET restrict_fk_on_non_standard_key=0;\n{by_hand}");
    script(&copy.0, by_hand.as_bytes());
    assert_same(&picture(&copy), &before, "loaded by the client");

    live.run(
        "SET foreign_key_checks=0; CREATE OR REPLACE VIEW z_view AS SELECT 1 AS id; DROP VIEW dual_view; DROP TABLE shapes, gipk, by_range; UPDATE texts SET t = 'spoiled';
         DROP PROCEDURE quoted; DROP FUNCTION doubled; DROP LIBRARY doubling; DROP TRIGGER third; ALTER EVENT daily COMMENT 'x';
         ALTER TABLE docs ADD COLUMN more int",
    );
    let spoiled = picture(&live.0);
    let fresh = Live::new("");
    for (live, old) in [(&live, &spoiled), (&fresh, &String::new())] {
        for last in [false, true] {
            let (staged, warnings) = staged(&live.url(), &dump).await;
            assert_eq!(warnings, Vec::<String>::new());
            assert_same(&picture(&live.0), old, "staged");
            staged.swap().await.unwrap();
            assert_same(&picture(&live.0), &before, "swapped");
            if last {
                staged.finish().await.unwrap();
            } else {
                staged.roll_back().await.unwrap();
                assert_same(&picture(&live.0), old, "rolled back");
            }
            assert_eq!(live.beside(), "");
        }
    }
}

/// Within a snapshot the server's lists are those of the snapshot, and the rows are where they are now.
#[tokio::test]
async fn tables_and_columns_that_swapped_names_meanwhile_end_the_dump() {
    if skips(true) {
        return;
    }
    for change in [
        "RENAME TABLE t TO x, u TO t, x TO u",
        "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a",
        "ALTER TABLE t DROP PARTITION p0",
        "ALTER TABLE t ADD COLUMN c int, ALGORITHM=INSTANT",
        "TRUNCATE TABLE t",
        "OPTIMIZE TABLE t",
    ] {
        let parts = match change.contains("PARTITION") {
            true => {
                "PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (2), PARTITION p1 VALUES LESS THAN (9))"
            }
            false => "",
        };
        let source = Temporary::new();
        source.run(&format!(
            "CREATE TABLE t (a int PRIMARY KEY, b int) {parts}; CREATE TABLE u (a int PRIMARY KEY, b int); CREATE TABLE other (id int);
             INSERT INTO t VALUES (1,2),(3,4); INSERT INTO u VALUES (5,6); INSERT INTO other VALUES (1)"
        ));
        let snapshot = open(&source.url()).snapshot(2).await.unwrap();
        source.run(change);
        let table = snapshot.tables().iter().find(|table| table.name == "t").unwrap();
        let read = snapshot.data(table, &mut Collect::default()).await;
        assert!(matches!(read, Err(DatabaseError::DefinitionChanged { .. })), "{change}: {read:?}");
        assert_eq!(data(snapshot.as_ref(), "other").await.0, 1);
    }
}

/// Who owns a database may not set every variable.
#[tokio::test]
async fn an_owner_without_further_rights_restores() {
    if skips(true) {
        return;
    }
    let live = Live::new(
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1,'a'); CREATE TABLE heap (x int); INSERT INTO heap VALUES (1);
         CREATE VIEW v AS SELECT * FROM t",
    );
    let dump = dump_all(&live.url()).await;
    let user: String = unique("o").chars().take(30).collect();
    let pattern = live.0.0.replace('_', "\\_");
    live.run(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 's'; GRANT ALL ON {0}.* TO {user}@'%'; GRANT ALL ON `{pattern}\\_pb\\_%`.* TO {user}@'%';
         UPDATE t SET x = 'spoiled'; DROP VIEW v",
        live.0.0
    ));
    let url = live.url().replace("root@", &format!("{user}:s@"));
    let (staged, _) = staged(&url, &dump).await;
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.run("SELECT * FROM v; SELECT * FROM heap"), "1\ta\n1\n");

    // A table would get a column that the archive does not have.
    mariadb("", b"SET GLOBAL sql_generate_invisible_primary_key=1");
    let staging = open(&url).stage(&crate::mysql_restore::attempt()).await.unwrap();
    let heap = dump.0.iter().find(|member| member.table == "heap").unwrap();
    let made =
        staging.scheme("heap", &heap.scheme, portal_backup::source::database::Trust::Own).await;
    mariadb("", b"SET GLOBAL sql_generate_invisible_primary_key=0");
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    let error = made.unwrap_err().to_string();
    assert!(error.contains("sql_generate_invisible_primary_key"), "{error}");
    drop(staging);
    open(&live.url())
        .staged(&crate::mysql_restore::attempt())
        .await
        .unwrap()
        .roll_back()
        .await
        .unwrap();
}
