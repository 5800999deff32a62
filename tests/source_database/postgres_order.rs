//! What has to be there before something else, and how definitions are written.

use portal_backup::source::database::Trust;

use crate::postgres::{Postgres, assert_same};
use crate::postgres_restore::{archive, beside, ready, restored, state};

/// Restores a database over itself and into an empty one.
async fn comes_back(live: &Postgres, spoil: &str) {
    let (before, archive) = (state(live), archive(&live.url()).await);
    live.run(spoil);
    for target in [live, &Postgres::new()] {
        assert_eq!(restored(target, &archive).await, Vec::<String>::new());
        assert_same(&state(target), &before, "restored");
        assert_eq!(beside(target), "");
    }
}

#[tokio::test]
async fn rows_may_need_what_needs_a_table() {
    let live = Postgres::with(
        "CREATE TABLE t (a integer); CREATE VIEW v AS SELECT * FROM t; CREATE TABLE r (c regclass); INSERT INTO r VALUES ('v');
         CREATE FUNCTION f(t) RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE TYPE pair AS (one t, two integer);
         CREATE TABLE p (f regprocedure, t regtype); INSERT INTO p VALUES ('f(t)', 'pair');
         CREATE TABLE l (m integer); INSERT INTO l VALUES (10); CREATE VIEW lim AS SELECT max(m) m FROM l;
         CREATE FUNCTION ok(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 <= (SELECT m FROM public.lim); END';
         CREATE TABLE z (a integer CHECK (ok(a))); INSERT INTO z VALUES (3);
         CREATE TABLE k (id integer PRIMARY KEY, v text); CREATE VIEW grouped AS SELECT id, v FROM k GROUP BY id;
         CREATE VIEW above AS SELECT * FROM grouped; COMMENT ON VIEW above IS 'noted'; GRANT SELECT ON above TO PUBLIC",
    );
    comes_back(&live, "DELETE FROM z; DROP VIEW above").await;
}

/// In `pg_dump`'s order: without the cast the view would find another one.
#[tokio::test]
async fn a_view_finds_the_cast_that_it_was_made_with() {
    let live = Postgres::with(
        "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x');
         CREATE FUNCTION tt(t) RETURNS text LANGUAGE sql AS $$ SELECT 'label ' || $1.v $$;
         CREATE CAST (t AS text) WITH FUNCTION tt(t); CREATE VIEW v AS SELECT t::text AS said FROM t",
    );
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    for target in [&live, &fresh] {
        restored(target, &archive).await;
        assert_eq!(target.run("SELECT said FROM v"), "label x\n");
    }
}

#[tokio::test]
async fn strings_are_written_as_the_standard_has_them() {
    let live = Postgres::new();
    live.run(&format!("ALTER DATABASE {} SET standard_conforming_strings = off", live.0));
    live.run(
        r"CREATE TABLE t (a text DEFAULT E'a\\b' CHECK (a ~ E'^\\w')); COMMENT ON TABLE t IS E'C:\\dir'; INSERT INTO t VALUES (E'c\\d')",
    );
    let said = "SELECT pg_get_expr(adbin, adrelid), obj_description(adrelid), (SELECT string_agg(a, ',') FROM t) FROM pg_attrdef WHERE adrelid = 't'::regclass";
    let before = live.run(said);
    let archive = archive(&live.url()).await;
    live.run("DELETE FROM t");
    restored(&live, &archive).await;
    assert_eq!(live.run(said), before);
}

#[tokio::test]
async fn a_session_that_still_reads_holds_the_end_up_for_moments_only() {
    let live = Postgres::with("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)");
    let archive = archive(&live.url()).await;
    let mut reader = Reader::begin(&live);
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    let error = staged.finish().await.unwrap_err().to_string();
    assert!(error.contains("lock timeout"), "{error}");
    reader.end();
    staged.finish().await.unwrap();
    assert_eq!(beside(&live), "");
}

/// Somebody who is idle in a transaction.
struct Reader(std::process::Child);

impl Reader {
    fn begin(live: &Postgres) -> Self {
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", &live.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"BEGIN; SELECT count(*) FROM t;\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "1\n");
        Self(child)
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
