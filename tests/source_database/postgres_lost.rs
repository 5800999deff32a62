//! What a restore would take along without having it: nothing goes without a word.

use portal_backup::source::database::Trust;

use crate::postgres::{Postgres, assert_same};
use crate::postgres_bound::only;
use crate::postgres_restore::{SMALL, archive, beside, ready, restored, small, state};
use crate::support::open;

/// Of every kind that lies in a schema and belongs to no table: what makes it, and what it is called.
const OTHERS: &[(&str, &str)] = &[
    ("CREATE TYPE addr AS (street text)", "type public.addr"),
    ("CREATE TYPE span AS RANGE (subtype = float8)", "type public.span"),
    ("CREATE DOMAIN name_of AS text", "type public.name_of"),
    ("CREATE VIEW seen AS SELECT 1", "view public.seen"),
    ("CREATE SEQUENCE counts", "sequence public.counts"),
    (
        "CREATE FUNCTION twice(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        "function public.twice(pg_catalog.text)",
    ),
    ("CREATE OPERATOR FAMILY fam USING btree", "operator family public.fam USING btree"),
    (
        "CREATE OPERATOR CLASS few FOR TYPE integer USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(integer)",
        "operator class public.few USING hash",
    ),
    (
        "CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        "conversion public.conv",
    ),
    ("CREATE COLLATION same_as (locale = 'C')", "collation public.same_as"),
    (
        "CREATE TEXT SEARCH DICTIONARY plain (TEMPLATE = simple)",
        "text search dictionary public.plain",
    ),
    (
        "CREATE TEXT SEARCH TEMPLATE temp (LEXIZE = dsimple_lexize)",
        "text search template public.temp",
    ),
];

#[tokio::test]
async fn what_only_tables_would_leave_without_is_named() {
    let plain = "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE n (a integer, b integer)";
    let live = Postgres::with(plain);
    let archive = only(archive(&live.url()).await, &["t"]);
    for (make, named) in OTHERS {
        live.run(make);
        let error = ready(&live, &archive, Trust::Own).await.err();
        let error = error.unwrap_or_else(|| panic!("{named} would be lost"));
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[tokio::test]
async fn what_lies_beside_a_table_is_named_too() {
    let live = Postgres::with(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing; CREATE SCHEMA b;
         CREATE TABLE p (i integer) PARTITION BY LIST (i); CREATE TABLE b.t (x integer, y integer);",
    );
    let archive = only(archive(&live.url()).await, &["p"]);
    for (make, named) in [
        (
            "CREATE FOREIGN TABLE pf PARTITION OF p FOR VALUES IN (1) SERVER far",
            "partition public.pf",
        ),
        ("CREATE STATISTICS st ON x, y FROM b.t", "statistics object public.st"),
    ] {
        live.run(make);
        let error = ready(&live, &archive, Trust::Own).await.err();
        let error = error.unwrap_or_else(|| panic!("{named} would be lost"));
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[tokio::test]
async fn what_a_whole_restore_does_not_have_is_named_by_its_arguments() {
    let live = Postgres::with(&format!(
        "{SMALL} CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE TYPE addr AS (street text);
         CREATE FUNCTION f(addr) RETURNS integer LANGUAGE sql AS 'SELECT 2'"
    ));
    let archive = archive(&live.url()).await;
    live.run("CREATE FUNCTION f(text) RETURNS integer LANGUAGE sql AS 'SELECT 3'; CREATE INDEX ON child (p)");
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    assert_eq!(
        warnings,
        ["not in the archive, so gone after the restore (1): function public.f(pg_catalog.text)"]
    );
    staged.roll_back().await.unwrap();
}

#[tokio::test]
async fn statistics_stay_with_their_table() {
    let live = Postgres::with(SMALL);
    let archive = archive(&live.url()).await;
    live.run(
        "CREATE TABLE stays (a integer, b integer) PARTITION BY LIST (a); CREATE TABLE stays_1 PARTITION OF stays FOR VALUES IN (1);
         CREATE STATISTICS of_all ON a, b FROM stays; CREATE STATISTICS of_one ON a, b FROM stays_1;
         ALTER STATISTICS of_all SET STATISTICS 7; COMMENT ON STATISTICS of_all IS 'noted'",
    );
    let before = state(&live);
    for finishes in [false, true] {
        let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        staged.swap().await.unwrap();
        assert_same(&state(&live), &before, "swapped");
        match finishes {
            true => staged.finish().await.unwrap(),
            false => staged.roll_back().await.unwrap(),
        }
        assert_same(&state(&live), &before, if finishes { "finished" } else { "rolled back" });
    }
    assert_eq!(beside(&live), "");
}

#[tokio::test]
async fn a_publication_of_all_tables_does_not_stand_in_the_way() {
    let (live, archive, before, spoiled) = small().await;
    let everything = "CREATE PUBLICATION everything FOR ALL TABLES";
    live.run(everything);
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.roll_back().await.unwrap();
    let of =
        |text: String| text.lines().filter(|line| !line.contains("everything")).collect::<String>();
    assert_eq!(of(state(&live)), spoiled.lines().collect::<String>());
    restored(&live, &archive).await;
    assert_eq!(of(state(&live)), before.lines().collect::<String>());
    assert_eq!(beside(&live), "");
}

#[tokio::test]
async fn rows_are_counted_without_those_of_foreign_partitions() {
    let live = Postgres::with(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing;
         CREATE TABLE p (i integer) PARTITION BY RANGE (i); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE FOREIGN TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) SERVER far; INSERT INTO p VALUES (1), (2)",
    );
    let counts = open(&live.url()).count(&["p".to_owned(), "p1".to_owned()]).await.unwrap();
    assert_eq!(counts, [Some(0), Some(2)]);
}
