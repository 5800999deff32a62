//! What is loaded, and what fails rather than be stored otherwise.

use portal_backup::source::database::{DatabaseError, Staging, Trust};

use crate::mysql_restore::{Live, attempt, pieces};
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
        ("json", "'{'"),
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
