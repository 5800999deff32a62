//! Large objects: more than a server has locks for, and those of somebody who is no superuser.

use portal_backup::source::database::Trust;

use crate::postgres::{Postgres, psql};
use crate::postgres_restore::{archive, attempt, load, ready};
use crate::support::open;

const LARGE: &str = "pg_catalog.pg_largeobject";

/// Of whom, how many, and how long together.
fn counted(live: &Postgres) -> String {
    live.run(
        "SELECT lomowner::regrole, count(*), sum(length(lo_get(oid))) FROM pg_largeobject_metadata GROUP BY lomowner ORDER BY lomowner::regrole::text",
    )
}

#[tokio::test]
async fn more_objects_than_locks_come_back_and_go_again() {
    let live = Postgres::new();
    let locks = "SELECT current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int + 10)";
    let locks: usize = live.run(locks).trim().parse().unwrap();
    let count = 2 * locks;
    live.run(&format!(
        "SET ROLE pb_test_reader; SELECT count(lo_create(100000 + g)) FROM generate_series(1, {count}) g; RESET ROLE;
         SELECT lo_from_bytea(70001, 'abc'); COMMENT ON LARGE OBJECT 70001 IS 'it''s'; SELECT lo_put(100001, 0, 'inside')",
    ));
    let before = counted(&live);
    assert_eq!(before, format!("pb_test_reader|{count}|6\npostgres|1|3\n"));
    let archive = archive(&live.url()).await;
    let scheme = &archive.tables.iter().find(|member| member.table == LARGE).unwrap().scheme;
    assert!(scheme.len() < 12 * count, "{} for {count}", scheme.len());

    let fresh = Postgres::new();
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    assert_eq!(counted(&fresh), before, "where there were none");
    staged.roll_back().await.unwrap();
    assert_eq!(counted(&fresh), "", "and there are none");

    live.run("SELECT lo_put(100001, 6, ' out'), lo_put(100002, 0, 'new'), lo_put(70001, 0, '1234'); GRANT SELECT ON LARGE OBJECT 100002 TO PUBLIC");
    let spoiled = counted(&live);
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    assert_eq!(counted(&live), before, "in place of others");
    staged.roll_back().await.unwrap();
    assert_eq!(counted(&live), spoiled, "and back");
    let kept = "SELECT lomacl IS NULL, encode(lo_get(oid), 'escape') FROM pg_largeobject_metadata WHERE oid IN (100002, 70001) ORDER BY oid;
        SELECT obj_description(70001, 'pg_largeobject')";
    assert_eq!(live.run(kept), "t|1234\nf|new\nit's\n");
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_has_his_own() {
    let live = Postgres::new();
    psql(
        "postgres",
        "DO $$ BEGIN CREATE ROLE pb_test_owner LOGIN PASSWORD 'portal-backup-tests'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    let name = &live.0;
    live.run(&format!(
        "ALTER DATABASE {name} OWNER TO pb_test_owner; SELECT lo_from_bytea(80001, 'of another');
         SET ROLE pb_test_owner; CREATE TABLE t (a integer);
         SELECT lo_from_bytea(70001, 'abc'), lo_from_bytea(70002, decode(repeat('0a5c27', 200000), 'hex')), lo_create(70003);"
    ));
    let url = format!("postgres://pb_test_owner:portal-backup-tests@127.0.0.1:5432/{name}");
    let snapshot = open(&url).snapshot(1).await.unwrap();
    let warnings = snapshot.warnings().join("\n");
    assert!(warnings.contains("large objects are not carried") && warnings.contains("(1)"));
    drop(snapshot);
    let archive = archive(&url).await;
    let before = counted(&live);
    assert!(archive.tables.iter().any(|member| member.table == LARGE && member.rows == 4));
    live.run("SELECT lo_put(70001, 0, 'ABCD'), lo_unlink(70002)");
    let spoiled = counted(&live);
    let staging = open(&url).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &archive, Trust::Own).await.unwrap();
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    assert_eq!(counted(&live), before);
    staged.roll_back().await.unwrap();
    assert_eq!(counted(&live), spoiled);
}

/// A comment is text like any other.
#[tokio::test]
async fn comments_of_several_lines_come_back() {
    let comment = "a\n\n\nGRANT it; or\nCOMMENT ON LARGE OBJECT 70001 IS 'x';\n\\n\n";
    let live = Postgres::new();
    let quoted = comment.replace('\'', "''");
    live.run(&format!("SELECT lo_from_bytea(70001, 'abc'); COMMENT ON LARGE OBJECT 70001 IS '{quoted}'; GRANT SELECT ON LARGE OBJECT 70001 TO PUBLIC"));
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let said = "SELECT encode(convert_to(obj_description(70001, 'pg_largeobject'), 'UTF8'), 'escape'), lomacl FROM pg_largeobject_metadata";
    assert_eq!(fresh.run(said), live.run(said));
}
