//! What stands in a restore's way: rows that break what watches them, things that a database has one of, tables that
//! were renamed.

use portal_backup::source::database::{ObjectText, Trust};

use crate::postgres::{Postgres, assert_same};
use crate::postgres_restore::{archive, beside, ready, restored, small, state};

#[tokio::test]
async fn what_is_kept_is_told_in_one_sentence() {
    let live = Postgres::with(
        "CREATE TABLE t (a integer); CREATE PUBLICATION news FOR TABLE t; CREATE FOREIGN DATA WRAPPER own;
         CREATE SERVER far FOREIGN DATA WRAPPER own; CREATE USER MAPPING FOR pb_test_reader SERVER far;
         CREATE CAST (integer AS inet) WITH INOUT;",
    );
    let archive = archive(&live.url()).await;
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.roll_back().await.unwrap();
    let kept = "kept as they are in the database, which has one of each: cast (integer AS inet), foreign data wrapper \
                own, server far, user mapping pb_test_reader SERVER far, publication news";
    assert_eq!(warnings, [kept]);
}

#[tokio::test]
async fn warnings_that_are_not_listed_are_counted() {
    let columns: Vec<_> = (1..=120).map(|number| format!("c{number} integer")).collect();
    let granted: Vec<_> = (1..=120).map(|number| format!("SELECT (c{number})")).collect();
    let live = Postgres::with(&format!(
        "CREATE TABLE t ({}); GRANT {} ON t TO pb_test_reader",
        columns.join(", "),
        granted.join(", ")
    ));
    let mut archive = archive(&live.url()).await;
    let scheme = &mut archive.member("t").scheme;
    *scheme = scheme.replace("pb_test_reader", "pb_no_such_role");
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.roll_back().await.unwrap();
    assert_eq!(warnings.len(), 101);
    assert_eq!(warnings[100], "and 20 more warnings, which are not listed");
}

/// There is one default for a type and an access method, and one transform for a type and a language.
const ONE_OF_EACH: &str = "
CREATE FUNCTION heq(json, json) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::text = $2::text';
CREATE FUNCTION hj(json) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT hashtext($1::text)';
CREATE OPERATOR = (LEFTARG = json, RIGHTARG = json, FUNCTION = heq, HASHES);
CREATE OPERATOR CLASS json_h DEFAULT FOR TYPE json USING hash AS OPERATOR 1 = (json, json), FUNCTION 1 hj(json);
CREATE TYPE pair AS (a integer, b integer);
CREATE FUNCTION from_sql(internal) RETURNS internal LANGUAGE internal STRICT IMMUTABLE AS 'varchar_support';
CREATE FUNCTION to_sql(internal) RETURNS integer LANGUAGE internal STRICT IMMUTABLE AS 'varchar_support';
CREATE TRANSFORM FOR integer LANGUAGE plpgsql (FROM SQL WITH FUNCTION from_sql(internal), TO SQL WITH FUNCTION to_sql(internal));
COMMENT ON TRANSFORM FOR integer LANGUAGE plpgsql IS 'it''s ours'; CREATE TRANSFORM FOR pair LANGUAGE plpgsql (FROM SQL WITH FUNCTION from_sql(internal));
CREATE FUNCTION with_it(integer) RETURNS integer TRANSFORM FOR TYPE integer LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE TABLE t (id integer, j json); CREATE INDEX by_hash ON t USING hash (j); INSERT INTO t VALUES (1, '1');";

#[tokio::test]
async fn what_a_database_has_one_of_is_the_archives_after_the_swap() {
    let live = Postgres::with(ONE_OF_EACH);
    let (before, archive) = (state(&live), archive(&live.url()).await);
    live.run("INSERT INTO t VALUES (2, '2')");
    let spoiled = state(&live);
    let defaults =
        "SELECT opcnamespace::regnamespace FROM pg_opclass WHERE opcname = 'json_h' AND opcdefault";
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    assert_eq!(
        warnings,
        [
            "kept as they are in the database, which has one of each: transform FOR integer LANGUAGE plpgsql"
        ]
    );
    staged.swap().await.unwrap();
    assert_same(&state(&live), &before, "swapped");
    assert_eq!(live.run(defaults), "public\n");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
    assert_eq!(live.run(defaults), "public\n");
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "finished");
    assert_eq!(live.run("SELECT with_it(3)"), "3\n");
    assert_eq!(beside(&live), "");
}

#[tokio::test]
async fn rows_that_break_a_key_come_back_without_it_counting() {
    let live = Postgres::with(
        "CREATE TABLE pk (id integer PRIMARY KEY); INSERT INTO pk VALUES (1);
         CREATE TABLE t (a integer CONSTRAINT fk REFERENCES pk DEFERRABLE, b integer); COMMENT ON CONSTRAINT fk ON t IS 'a key';
         CREATE TABLE parted (a integer CONSTRAINT fk_parted REFERENCES pk) PARTITION BY LIST (a);
         CREATE TABLE parted_9 PARTITION OF parted FOR VALUES IN (9); COMMENT ON CONSTRAINT fk_parted ON parted IS 'a key';
         CREATE FUNCTION good(t) RETURNS boolean LANGUAGE sql AS 'SELECT true'; ALTER TABLE t ADD CONSTRAINT chk CHECK (good(t.*));
         SET session_replication_role = replica; INSERT INTO t VALUES (1, 1), (7, 7); INSERT INTO parted VALUES (9);
         CREATE OR REPLACE FUNCTION good(t) RETURNS boolean LANGUAGE sql AS 'SELECT $1.b > 5'",
    );
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let said = |what: &[&str]| {
        warnings.iter().any(|warning| what.iter().all(|what| warning.contains(what)))
    };
    assert!(said(&["check constraint t chk", "rows break it", "NOT VALID"]), "{warnings:?}");
    assert!(said(&["fk constraint t fk", "rows break it", "NOT VALID"]), "{warnings:?}");
    // Since PostgreSQL 18 a partitioned table's may be NOT VALID too.
    let of_18 = live.number() >= 180_000;
    let (becomes, of_parted, count) =
        if of_18 { ("NOT VALID", "fk_parted|f|a key\n", 3) } else { ("left out", "", 4) };
    assert_eq!(warnings.len(), count, "{warnings:?}");
    assert!(said(&["fk constraint parted fk_parted", "rows break it", becomes]), "{warnings:?}");
    assert_eq!(said(&["comment CONSTRAINT fk_parted", "left out"]), !of_18, "{warnings:?}");
    let kept = "SELECT * FROM t; SELECT * FROM parted; SELECT conname, convalidated, obj_description(oid) FROM pg_constraint \
                WHERE contype IN ('c', 'f') AND conrelid <> 0 AND conparentid = 0 ORDER BY 1";
    assert_eq!(fresh.run(kept), format!("1|1\n7|7\n9\nchk|f|\nfk|f|a key\n{of_parted}"));
}

/// In a table's own definition, as one is that was made with it.
#[tokio::test]
async fn rows_that_break_a_check_of_their_table_come_back_nevertheless() {
    let live = Postgres::with(
        "CREATE FUNCTION good(integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE TABLE t (a integer, b integer CHECK (b > 0), CONSTRAINT \"odd; chk\" CHECK (good(a))); COMMENT ON CONSTRAINT \"odd; chk\" ON t IS 'a; check';
         CREATE TABLE soon (at timestamptz CONSTRAINT \"not yet\" CHECK (at > now())); INSERT INTO soon VALUES (now() + interval '1 second');
         CREATE TABLE parent (a integer CONSTRAINT same CHECK (good(a))); CREATE TABLE heir (CONSTRAINT same CHECK (good(a))) INHERITS (parent);
         CREATE TABLE alone (CONSTRAINT own CHECK (good(a)) NO INHERIT) INHERITS (parent);
         CREATE TABLE parted (a integer CONSTRAINT whole CHECK (good(a))) PARTITION BY LIST (a); CREATE TABLE parted_7 PARTITION OF parted FOR VALUES IN (7);
         INSERT INTO t VALUES (1, 1), (7, 7); INSERT INTO heir VALUES (7); INSERT INTO alone VALUES (1); INSERT INTO parted VALUES (7);
         -- A check that needs the rows of a table that comes later.
         CREATE TABLE z_known (a integer); INSERT INTO z_known VALUES (5);
         CREATE FUNCTION known(integer) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT 1 FROM public.z_known z WHERE z.a = $1)';
         CREATE TABLE knows (a integer CONSTRAINT is_known CHECK (known(a))); INSERT INTO knows VALUES (5);
         CREATE OR REPLACE FUNCTION good(integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 < 5'",
    );
    let archive = archive(&live.url()).await;
    live.run("SELECT pg_sleep(1.1)");
    let fresh = Postgres::new();
    let warnings = restored(&fresh, &archive).await;
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    for what in ["t odd; chk", "soon not yet", "parent same", "heir same", "parted whole"] {
        let start = format!("check constraint {what} is made NOT VALID, because ");
        assert!(warnings.iter().any(|warning| warning.starts_with(&start)), "{what}: {warnings:?}");
    }
    let rows = "SELECT * FROM t; SELECT tableoid::regclass, * FROM parent ORDER BY a; SELECT * FROM parted; SELECT * FROM soon; SELECT * FROM knows";
    assert_eq!(fresh.run(rows), live.run(rows));
    let checks = |valid: &str| {
        format!(
            "SELECT conrelid::regclass::text, conname, coninhcount, conislocal, connoinherit, obj_description(oid), \
               replace(pg_get_constraintdef(oid), ' NOT VALID', ''), {valid} \
             FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0 ORDER BY 1, 2"
        )
    };
    assert_eq!(fresh.run(&checks("true")), live.run(&checks("true")));
    let valid = fresh.run("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0 AND convalidated ORDER BY 1");
    assert_eq!(valid, "is_known\nown\nt_b_check\n");
}

#[tokio::test]
async fn rows_of_some_tables_may_break_a_key_between_them_alone() {
    let live = Postgres::with(
        "CREATE TABLE pk (id integer PRIMARY KEY); CREATE TABLE t (a integer CONSTRAINT fk REFERENCES pk);
         SET session_replication_role = replica; INSERT INTO t VALUES (7)",
    );
    let mut archive = archive(&live.url()).await;
    archive.objects.retain(|object| object.name == ObjectText::AFTER_TABLES);
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.roll_back().await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("fk constraint t fk"), "{warnings:?}");
    // Here the row would break it only with what stays.
    archive.tables.retain(|member| member.table == "t");
    let error = ready(&live, &archive, Trust::Own).await.err().unwrap();
    assert!(error.contains("fk constraint t fk"), "{error}");
}

#[tokio::test]
async fn a_renamed_table_that_is_in_the_way_is_named() {
    let (live, archive, ..) = small().await;
    live.run("ALTER TABLE parent RENAME TO old; CREATE TABLE parent (id integer)");
    let spoiled = state(&live);
    let error = ready(&live, &archive, Trust::Own).await.err().unwrap();
    for named in [
        "table public.old, which the archive does not have",
        "index parent_pkey has the name of the index of the archive's table parent",
        "sequence parent_id_seq has the name of the sequence of the archive's table parent",
        "rename what is named, or drop the table",
    ] {
        assert!(error.contains(named), "{error}");
    }
    assert_same(&state(&live), &spoiled, "refused");

    let (live, archive, ..) = small().await;
    live.run(
        "CREATE TABLE whole (id integer NOT NULL, p integer) PARTITION BY LIST (id); ALTER TABLE whole ATTACH PARTITION child DEFAULT",
    );
    let spoiled = state(&live);
    let error = ready(&live, &archive, Trust::Own).await.err().unwrap();
    for named in [
        "table public.whole, which the archive does not have",
        "partition child has the name of a table of the archive",
        "detach",
    ] {
        assert!(error.contains(named), "{error}");
    }
    assert_same(&state(&live), &spoiled, "refused");
}
