//! Definitions that a server has and cannot make again: what is in tables comes back without them.

use portal_backup::source::database::Trust;

use crate::mysql_objects_restore::staged;
use crate::mysql_restore::{Live, attempt, dump_all, pieces};
use crate::support::{is_mysql, open, skips};

/// Servers let a column be dropped that a trigger names.
#[tokio::test]
async fn a_trigger_on_a_column_that_was_dropped_is_left_out() {
    let live = Live::new(
        "CREATE TABLE t (a int, b int); CREATE TABLE log (x int); INSERT INTO t VALUES (1,2);
         CREATE TRIGGER good BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 7;",
    );
    const BROKEN: &str =
        "CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW INSERT INTO log VALUES (OLD.b);
         ALTER TABLE t DROP COLUMN b;";
    live.run(BROKEN);
    let dump = dump_all(&live.url()).await;
    live.run("DELETE FROM t");
    for target in [&Live::new(""), &live] {
        let (ready, warnings) = staged(&target.url(), &dump).await;
        assert!(
            warnings[0].contains("left out") && warnings[0].contains("tr (column b)"),
            "{warnings:?}"
        );
        ready.swap().await.unwrap();
        assert_eq!(target.run("SHOW TRIGGERS").lines().count(), 1);
        ready.roll_back().await.unwrap();
        assert_eq!(target.beside(), "");
        let (ready, _) = staged(&target.url(), &dump).await;
        ready.swap().await.unwrap();
        ready.finish().await.unwrap();
        assert_eq!(target.run("INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n7\n");
    }
}

/// Not even its definition can be read then.
#[tokio::test]
async fn a_merge_table_without_its_tables_is_named_and_nothing_else_is_lost() {
    let live = Live::new(
        "CREATE TABLE part_1 (id int NOT NULL) ENGINE=MyISAM; CREATE TABLE part_2 LIKE part_1;
         INSERT INTO part_1 VALUES (1); CREATE TABLE other (id int); INSERT INTO other VALUES (7);
         CREATE TABLE all_of_them (id int NOT NULL) ENGINE=MERGE UNION=(part_1,part_2);
         CREATE VIEW seen AS SELECT id FROM all_of_them; CREATE TRIGGER tr BEFORE DELETE ON other FOR EACH ROW SET @a = 1;",
    );
    let whole = dump_all(&live.url()).await;
    live.run("DROP TABLE part_2");
    let snapshot = open(&live.url()).snapshot(2).await.unwrap();
    let warnings = snapshot.warnings().join("\n");
    assert!(warnings.contains("MERGE tables (1): all_of_them"), "{warnings}");
    drop(snapshot);
    // Over it, and from an archive that has it, but not all that it shows.
    for dump in [dump_all(&live.url()).await, whole.without(&["part_2"])] {
        live.run("UPDATE part_1 SET id = 2; UPDATE other SET id = 8");
        for last in [false, true] {
            // What has no rows is not loaded.
            let staging = open(&live.url()).stage(&attempt()).await.unwrap();
            staging.objects(dump.1.clone(), Trust::Own).await.unwrap();
            for member in &dump.0 {
                staging.scheme(&member.table, &member.scheme, Trust::Own).await.unwrap();
            }
            for member in dump.0.iter().filter(|member| member.rows > 0) {
                let rows = pieces(&member.data, 100);
                staging.data(&member.table, rows, Trust::Own, &|_| {}).await.unwrap();
            }
            let (ready, warnings) = staging.ready().await.unwrap();
            let views = "left out, because they name what neither the archive nor the database has: views (1): seen";
            assert_eq!(warnings, [views]);
            ready.swap().await.unwrap();
            assert_eq!(live.run("SELECT * FROM part_1; SELECT * FROM other"), "1\n7\n");
            if last {
                ready.finish().await.unwrap();
                let counted = open(&live.url()).count(&["all_of_them".to_owned()]).await.unwrap();
                assert_eq!(counted, [None]);
            } else {
                ready.roll_back().await.unwrap();
                assert_eq!(live.run("SELECT * FROM part_1; SELECT * FROM other"), "2\n8\n");
            }
        }
    }
    live.run("CREATE TABLE part_2 LIKE part_1; INSERT INTO part_2 VALUES (3)");
    assert_eq!(live.run("SELECT id FROM all_of_them ORDER BY 1"), "1\n3\n");
}

/// The server keeps 65,535 warnings of a statement.
#[tokio::test]
async fn more_computed_values_are_rounded_than_the_server_tells_of() {
    let live = Live::new(
        "CREATE TABLE g (p decimal(3,2), n decimal(3,2) AS (p * 1.005) STORED);
         INSERT INTO g (p) SELECT 1.11 FROM seq_1_to_200000",
    );
    let dump = dump_all(&live.url()).await;
    live.run("DELETE FROM g");
    let (ready, warnings) = staged(&live.url(), &dump).await;
    assert_eq!(warnings, Vec::<String>::new());
    ready.swap().await.unwrap();
    ready.finish().await.unwrap();
    assert_eq!(live.run("SELECT COUNT(*), SUM(n) FROM g"), "200000\t224000.00\n");
}

/// Without checks the server lets the index go that it asks for when it makes the key.
#[tokio::test]
async fn a_foreign_key_that_the_server_refuses_is_left_out_and_named() {
    if skips(false) {
        return;
    }
    let live = Live::new(
        "CREATE TABLE p (id int, x int, KEY k (id)); CREATE TABLE good (id int PRIMARY KEY);
         CREATE TABLE a (id int, KEY (id), CONSTRAINT fa FOREIGN KEY (id) REFERENCES p (id));
         CREATE TABLE q (id int, KEY (id), CONSTRAINT fq FOREIGN KEY (id) REFERENCES p (id) ON DELETE CASCADE,
            CONSTRAINT fg FOREIGN KEY (id) REFERENCES good (id));
         INSERT INTO p VALUES (1,2); INSERT INTO good VALUES (1); INSERT INTO a VALUES (1); INSERT INTO q VALUES (1);
         SET foreign_key_checks=0; ALTER TABLE p DROP KEY k;",
    );
    let dump = dump_all(&live.url()).await;
    let archived = live.run("SHOW CREATE TABLE q");
    for target in [&Live::new(""), &live] {
        let (ready, warnings) = staged(&target.url(), &dump).await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("table q is left out")
                && warnings[0].contains("CONSTRAINT `fq`")
                && warnings[0].contains("Missing index"),
            "{warnings:?}"
        );
        ready.swap().await.unwrap();
        ready.roll_back().await.unwrap();
        let (ready, _) = staged(&target.url(), &dump).await;
        ready.swap().await.unwrap();
        ready.finish().await.unwrap();
        let made = target.run("SHOW CREATE TABLE q");
        assert!(made.contains("`fg`"), "{made}");
        let lines = |text: &str| -> Vec<String> {
            let others = text.lines().filter(|line| !line.contains("`fq`"));
            others.map(|line| line.trim_end_matches(',').to_owned()).collect()
        };
        assert!(!made.contains("`fq`") && lines(&made) == lines(&archived), "{made}");
        assert_eq!(target.run("SELECT * FROM a, p, q, good"), "1\t1\t2\t1\t1\n");
    }
    assert!(archived.contains("`fq`"));
}

/// A collation of the other server, a default as only MariaDB says it, and a comment that only MySQL reads.
#[tokio::test]
async fn definitions_of_the_other_server_are_understood() {
    let (theirs, ours) = match is_mysql() {
        true => ("utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci"),
        false => ("utf8mb4_0900_ai_ci", "utf8mb4_uca1400_nopad_ai_ci"),
    };
    let scheme = format!(
        "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `uri` text COLLATE {theirs} NOT NULL DEFAULT 'it''s {theirs}',\n  \
         `h` int DEFAULT NULL /*!80023 INVISIBLE */,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n"
    );
    let live = Live::new("");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    staging.scheme("t", &scheme, Trust::Own).await.unwrap();
    let (ready, warnings) = staging.ready().await.unwrap();
    ready.swap().await.unwrap();
    ready.finish().await.unwrap();
    let warnings = warnings.join("\n");
    assert!(
        warnings.contains(&format!("{ours}, because this server has no {theirs}")),
        "{warnings}"
    );
    assert_eq!(warnings.contains("only MySQL has (1): INVISIBLE"), !is_mysql(), "{warnings}");
    let made = live.run("SHOW CREATE TABLE t");
    assert!(made.contains(&format!("COLLATE {ours}")) || is_mysql(), "{made}");
    let row = live.run("INSERT INTO t (id) VALUES (1); SELECT id, uri FROM t");
    assert_eq!(row, format!("1\tit's {theirs}\n"));
}
