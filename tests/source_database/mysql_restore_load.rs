//! What is loaded, and what fails rather than be stored otherwise.

use portal_backup::source::database::{DatabaseError, Staging, Trust};

use crate::mysql_objects_restore::staged;
use crate::mysql_restore::{Live, attempt, dump, load, pieces};
use crate::support::open;

/// Makes and loads one table.
async fn load_with(
    staging: &dyn Staging,
    create: &str,
    data: &str,
    trust: Trust,
) -> Result<u64, DatabaseError> {
    staging.scheme("t", &format!("DROP TABLE IF EXISTS `t`;\n{create};\n"), trust).await?;
    staging.data("t", pieces(data.as_bytes(), 333), trust, &|_| {}).await
}

/// Rows in one statement, as DocSpace writes them.
fn docspace(columns: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<_> = rows.collect();
    format!("REPLACE INTO `t` ({columns}) VALUES \n{};\n", rows.join(",\n"))
}

#[tokio::test]
async fn statements_beyond_the_servers_packet_are_split() {
    let live = Live::new("");
    let url = format!("{}?max-allowed-packet=65536", live.url());
    let staging = open(&url).stage(&attempt()).await.unwrap();
    let create = "CREATE TABLE `t` (`id` int NOT NULL PRIMARY KEY, `x` longtext)";
    let text =
        docspace("`id`,`x`", (0..5000).map(|id| format!("({id},'it\\'s; {}')", "x".repeat(90))));
    assert!(text.len() > 500_000);
    let rows = load_with(staging.as_ref(), create, &text, Trust::Foreign).await.unwrap();
    assert_eq!(rows, 5000);
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(
        live.run("SELECT COUNT(*), SUM(id), SUM(LENGTH(x)) FROM t").trim(),
        "5000\t12497500\t480000"
    );

    let staging = open(&url).stage(&attempt()).await.unwrap();
    let rows = |length: usize| {
        docspace("`id`,`x`", (0..3).map(|id| format!("({id},'{}')", "y".repeat(length * (id + 1)))))
    };
    let error = load_with(staging.as_ref(), create, &rows(30_000), Trust::Own).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("rows 3 to 3") && error.contains("65536"), "{error}");
    // What is too long only as a statement is not too long.
    let blob = "CREATE TABLE `t` (`g` int AS (id) VIRTUAL, `id` int PRIMARY KEY, `b` longblob, `x` longtext)";
    let text = docspace(
        "`g`,`id`,`b`,`x`",
        (1..4).map(|id| {
            format!(
                "({id},{id},0x{},'{}')",
                "00FF27".repeat(10_000 * id / 2),
                r"\'é\\".repeat(3_000)
            )
        }),
    );
    assert_eq!(load_with(staging.as_ref(), blob, &text, Trust::Foreign).await.unwrap(), 3);
    let staged = format!("{}_pb_{}.t", live.0.0, attempt());
    let found = live.run(&format!("SELECT g, LENGTH(b), HEX(b) = REPEAT('00FF27', 5000 * g), x = REPEAT('\\'é\\\\', 3000) FROM {staged}"));
    assert_eq!(found, "1\t15000\t1\t1\n2\t30000\t1\t1\n3\t45000\t1\t1\n");
    open(&url).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
    assert_eq!(live.run("SELECT COUNT(*) FROM t").trim(), "5000");
    assert_eq!(live.beside(), "");
}

/// Each value fits the server's packet; all of them, as digits, would not fit twice that.
#[tokio::test]
async fn a_row_of_several_long_values_is_loaded() {
    let live = Live::new("");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let create =
        "CREATE TABLE `t` (`id` int PRIMARY KEY, `a` longblob, `b` longblob, `c` longblob)";
    staging.scheme("t", &format!("{create};\n"), Trust::Foreign).await.unwrap();
    let packet: usize = live.run("SELECT @@max_allowed_packet").trim().parse().unwrap();
    let length = packet * 2 / 5;
    let blob = format!("0x{}", "61".repeat(length));
    let rows = docspace("`id`,`a`,`b`,`c`", [format!("(1,{blob},{blob},{blob})")].into_iter());
    let rows = pieces(rows.as_bytes(), 1 << 18);
    assert_eq!(staging.data("t", rows, Trust::Foreign, &|_| {}).await.unwrap(), 1);
    let staged = format!("{}_pb_{}.t", live.0.0, attempt());
    let found = live.run(&format!("SELECT LENGTH(a), a = b AND b = c FROM {staged}"));
    assert_eq!(found, format!("{length}\t1\n"));
}

/// Such a table comes before the tables that it shows, by its name.
#[tokio::test]
async fn a_merge_table_waits_for_no_other() {
    let live = Live::new(
        "CREATE TABLE part_1 (id int NOT NULL, KEY (id)) ENGINE=MyISAM; CREATE TABLE part_2 LIKE part_1;
         INSERT INTO part_1 VALUES (1); INSERT INTO part_2 VALUES (2);
         CREATE TABLE all_of_them (id int NOT NULL, KEY (id)) ENGINE=MERGE UNION=(part_1,part_2);",
    );
    let dump = dump(&live.url()).await;
    live.run("DROP TABLE all_of_them, part_1, part_2");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &dump, Trust::Own).await;
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.run("SELECT id FROM all_of_them ORDER BY 1"), "1\n2\n");
}

#[tokio::test]
async fn generated_columns_of_old_dumps_are_left_out() {
    let live = Live::new("");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let create = "CREATE TABLE `t` (`a` int, `v` int AS (a + 1) VIRTUAL, `b` varchar(20), `s` varchar(40) AS (concat(b, a)) STORED)";
    let text = "REPLACE INTO `t` (`a`,`v`,`b`,`s`) VALUES \n(1,2,'x,\\')(',\"no; \"),\n(null,null,null,null);\n";
    assert_eq!(load_with(staging.as_ref(), create, text, Trust::Foreign).await.unwrap(), 2);
    let bare = "INSERT INTO t VALUES (5,6,'y','y5');\n";
    assert_eq!(
        staging.data("t", pieces(bare.as_bytes(), 5), Trust::Foreign, &|_| {}).await.unwrap(),
        3
    );
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(
        live.run("SELECT * FROM t ORDER BY a"),
        "NULL\tNULL\tNULL\tNULL\n1\t2\tx,')(\tx,')(1\n5\t6\ty\ty5\n"
    );
}

/// What the server rounds, cuts or cannot store is nobody's loss where it computes that anew.
#[tokio::test]
async fn computed_columns_may_be_rounded_and_loaded_ones_may_not() {
    let live = Live::new(
        "CREATE TABLE rounded (p DECIMAL(10,2), n DECIMAL(10,2) AS (p*1.195) STORED); INSERT INTO rounded (p) VALUES (9.99),(1.11);
         CREATE TABLE days (dt DATETIME, d DATE AS (dt) STORED, t TIME AS (dt) VIRTUAL, KEY (t)); INSERT INTO days (dt) VALUES ('2020-01-01 10:00:00');
         CREATE TABLE lenient (a varchar(9), e enum('x','y'), i int AS (a) STORED, s tinyint AS (i * 100) STORED, l varchar(9) CHARACTER SET latin1 AS (a) STORED, c varchar(2) AS (a));
         SET sql_mode=''; INSERT INTO lenient (a,e) VALUES ('12x','x'),('😀','no member'),(null,'y');",
    );
    let before = live.state();
    let archive = dump(&live.url()).await;
    live.run("DROP TABLE rounded, days, lenient");
    let (staged, _) = staged(&live.url(), &archive).await;
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.state(), before);

    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let create = "CREATE TABLE `t` (`p` DECIMAL(10,2), `n` DECIMAL(10,1) AS (p) STORED, `m` DECIMAL(10,1) AS (p) STORED)";
    let text = "REPLACE INTO `t` (`p`) VALUES \n(1.11),\n(2.225);\n";
    let error = load_with(staging.as_ref(), create, text, Trust::Own).await.unwrap_err();
    assert!(error.to_string().contains("column 'p' at row 2"), "{error}");
    // More than the server keeps: the last would be one that is loaded.
    let rows = (0..40_000).map(|_| "(1.11)".to_owned()).chain(["(2.225)".to_owned()]);
    let text = docspace("`p`", rows);
    let error = load_with(staging.as_ref(), create, &text, Trust::Own).await.unwrap_err();
    assert!(error.to_string().contains("warned 80003 times"), "{error}");
    // What a computed column refuses does not hide what a loaded one would lose.
    let create = "CREATE TABLE `t` (`p` varchar(3), `n` varchar(1) AS (p) STORED)";
    let text = "REPLACE INTO `t` (`p`) VALUES \n('abc'),\n('abcd');\n";
    assert!(load_with(staging.as_ref(), create, text, Trust::Own).await.is_err());
}

/// A lenient server puts the largest value in the place of a larger one, and rounds it up as it stores it.
#[tokio::test]
async fn the_largest_values_of_rounded_floats_come_back() {
    let live = Live::new(
        "CREATE TABLE t (a FLOAT(30,0), b FLOAT(8,2)); SET sql_mode='';
         INSERT INTO t VALUES (1e30,1),(1,-5e9),(2,-1e9),(-1e30,9999999),(3,4);",
    );
    let before = live.state();
    let archive = dump(&live.url()).await;
    live.run("DROP TABLE t");
    let (staged, _) = staged(&live.url(), &archive).await;
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.state(), before);
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let create = "CREATE TABLE `t` (`a` FLOAT(8,2))";
    let text = "REPLACE INTO `t` (`a`) VALUES \n(1000000.0),\n(1000000.1);\n";
    let error = load_with(staging.as_ref(), create, text, Trust::Own).await.unwrap_err();
    assert!(error.to_string().contains("Out of range"), "{error}");
}

#[tokio::test]
async fn what_would_be_stored_otherwise_fails() {
    let live = Live::new("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let before = live.state();
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    for (column, value) in [
        ("varchar(3)", "'long'"),
        ("int", "4294967296"),
        ("int", "'12x'"),
        ("decimal(5,2)", "1.239"),
        ("date", "'2026-01-01 10:00:00'"),
        ("date", "'2026-13-01'"),
        ("timestamp NULL", "'1950-01-01 00:00:00'"),
        ("varchar(9) CHARACTER SET latin1", "'😀'"),
        ("varchar(9) CHARACTER SET utf8mb4", "0x61FF62"),
        ("enum('x','y')", "'z'"),
        ("set('x','y')", "'x,z'"),
        ("int NOT NULL", "null"),
        ("tinyint", "200"),
        ("bit(2)", "0xFF"),
    ] {
        let create = format!("CREATE TABLE `t` (`id` int, `c` {column})");
        let text = format!("REPLACE INTO `t` (`id`,`c`) VALUES \n(1,{value});\n");
        let result = load_with(staging.as_ref(), &create, &text, Trust::Own).await;
        let error = result.expect_err(&format!("{value} as {column}")).to_string();
        assert!(error.contains("table t") && error.contains("rows 1 to 1"), "{error}");
    }
    // What strict servers refuse, and others had stored.
    for (column, value, stored) in [
        ("enum('x','y')", "''", "0"),
        ("enum('','y')", "0", "0"),
        ("date", "'0000-00-00'", "0"),
        ("date", "'2026-02-31'", "20260231"),
        ("year", "0", "0"),
        ("int PRIMARY KEY AUTO_INCREMENT", "0", "0"),
        ("timestamp NOT NULL", "'0000-00-00 00:00:00'", "0"),
        ("int CHECK (`c` > 0)", "-1", "-1"),
        ("json", "'{'", "0"),
    ] {
        let create = format!("CREATE TABLE `t` (`c` {column})");
        let text = format!(
            "SET sql_mode='NO_AUTO_VALUE_ON_ZERO';\nREPLACE INTO `t` (`c`) VALUES \n({value});\n"
        );
        let rows = load_with(staging.as_ref(), &create, &text, Trust::Own).await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{value} as {column}: {error}")), 1);
        let found = live.run(&format!("SELECT c+0 FROM {}_pb_{}.t", live.0.0, attempt()));
        assert_eq!(found.trim(), stored, "{value} as {column}");
    }
    assert_eq!(live.state(), before);
}

#[tokio::test]
async fn a_failing_statement_is_named_and_nothing_is_changed() {
    let live =
        Live::new("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1,'old')");
    let before = live.state();
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let create = "CREATE TABLE `t` (`id` int PRIMARY KEY, `x` text)";
    let text = "REPLACE INTO `t` (`id`,`x`) VALUES \n(1,'a'),\n(2,'b');\nREPLACE INTO `t` (`id`,`nope`) VALUES \n(3,'c');\n";
    let error =
        load_with(staging.as_ref(), create, text, Trust::Own).await.unwrap_err().to_string();
    assert!(error.contains("rows 3 to 3") && error.contains("nope"), "{error}");
    for cut in [
        "REPLACE INTO `t` (`id`,`x`) VALUES \n(1,'a'),\n(2,'b",
        "REPLACE INTO `t` (`id`,`x`) VALUES \n(1,'a'),\n(2,'b')",
    ] {
        assert!(load_with(staging.as_ref(), create, cut, Trust::Own).await.is_err(), "{cut}");
    }
    // The same connections serve on.
    let good = "REPLACE INTO `t` (`id`,`x`) VALUES \n(1,'a'),\n(1,'b');\n";
    assert_eq!(load_with(staging.as_ref(), create, good, Trust::Own).await.unwrap(), 1);
    drop(staging);
    open(&live.url()).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
    assert_eq!(live.state(), before);
    assert_eq!(live.beside(), "");
}

#[tokio::test]
async fn hostile_statements_are_not_run() {
    let live = Live::new("CREATE TABLE t (id int, x text)");
    let before = live.state();
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    let name = &live.0.0;
    for scheme in [
        format!("DROP TABLE {name}.t; CREATE TABLE t (id int)"),
        "CREATE TABLE t (id int) DATA DIRECTORY='/tmp'".to_owned(),
        "CREATE TABLE t (id int) ENGINE=FEDERATED CONNECTION='mysql://x@y/z/t'".to_owned(),
        "CREATE TABLE t (id int) ENGINE=MRG_MyISAM UNION=(u)".to_owned(),
        format!("CREATE TABLE t AS SELECT * FROM {name}.t"),
        "CREATE TABLE t (id int); CREATE USER u".to_owned(),
        "CREATE TABLE u (id int)".to_owned(),
        "CREATE VIEW t AS SELECT 1".to_owned(),
        "DROP TABLE IF EXISTS t".to_owned(),
    ] {
        assert!(staging.scheme("t", &scheme, Trust::Foreign).await.is_err(), "{scheme}");
    }
    let own = staging.scheme(
        "portal_backup_jobs",
        "CREATE TABLE portal_backup_jobs (id int)",
        Trust::Own,
    );
    assert!(own.await.is_err());
    for data in [
        format!("REPLACE INTO {name}.t VALUES (1,'x');"),
        "REPLACE INTO t VALUES (1,LOAD_FILE('/etc/hostname'));".to_owned(),
        "REPLACE INTO t SELECT 1,'x';".to_owned(),
        "DROP TABLE t;".to_owned(),
        "SET GLOBAL max_connections=1;".to_owned(),
        "REPLACE INTO u VALUES (1,'x');".to_owned(),
    ] {
        let create = "CREATE TABLE t (id int, x text)";
        let result = load_with(staging.as_ref(), create, &data, Trust::Foreign).await;
        assert!(result.is_err(), "{data}");
    }
    assert_eq!(live.state(), before);
    drop(staging);
    open(&live.url()).staged(&attempt()).await.unwrap().roll_back().await.unwrap();
}
