//! What belongs to restored tables, or is bound to them: keys, triggers, policies, partitions; and what is in the way.

use portal_backup::source::database::{ObjectText, Trust};

use crate::postgres::{Postgres, assert_same, whole};
use crate::postgres_restore::{Archive, SMALL, archive, attempt, beside, ready, small, state};
use crate::support::open;

/// What a restore of some tables is given of an archive.
pub fn only(mut archive: Archive, tables: &[&str]) -> Archive {
    archive.objects.retain(|object| object.name == ObjectText::AFTER_TABLES);
    archive.tables.retain(|member| tables.contains(&member.table.as_str()));
    archive
}

const BELONGINGS: &str = "
CREATE TABLE par (id integer PRIMARY KEY); INSERT INTO par VALUES (1), (2);
CREATE TABLE chi (id integer PRIMARY KEY, p integer CONSTRAINT fk REFERENCES par, n integer);
INSERT INTO chi VALUES (1, 1, 5), (2, 2, -5);
COMMENT ON CONSTRAINT fk ON chi IS 'a key'; ALTER TABLE chi ADD CONSTRAINT positive CHECK (n > 0) NOT VALID;
CREATE STATISTICS both_of ON p, n FROM chi; CREATE RULE nothing AS ON DELETE TO chi DO INSTEAD NOTHING;
CREATE POLICY own ON chi USING (EXISTS (SELECT 1 FROM par WHERE par.id = chi.p)); ALTER TABLE chi ENABLE ROW LEVEL SECURITY;
CREATE TRIGGER same BEFORE UPDATE ON chi FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
COMMENT ON TRIGGER same ON chi IS 'a trigger';
CREATE TABLE parted (a integer PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE staying (a integer REFERENCES par); ALTER TABLE staying ENABLE ROW LEVEL SECURITY;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pb_test_reader;";

#[tokio::test]
async fn a_table_that_is_restored_alone_has_all_that_belongs_to_it() {
    let live = Postgres::with(BELONGINGS);
    let (before, whole) = (state(&live), archive(&live.url()).await);
    let chosen = only(whole.clone(), &["chi", "parted", "parted_1"]);
    live.run("UPDATE chi SET n = 7; INSERT INTO parted VALUES (1)");
    let spoiled = state(&live);
    // Rules may do anything, so a stranger's are refused, also here.
    let error = ready(&live, &chosen, Trust::Foreign).await.err().unwrap();
    assert!(error.contains("rule chi nothing is refused"), "{error}");
    let (staged, warnings) = ready(&live, &chosen, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_same(&state(&live), &spoiled, "staged");
    staged.swap().await.unwrap();
    assert_same(&state(&live), &before, "swapped");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
    let (staged, _) = ready(&live, &chosen, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "finished");
    assert_eq!(beside(&live), "");

    // Also where the live table is gone with all of it.
    live.run("DROP TABLE chi");
    let (staged, _) = ready(&live, &only(whole.clone(), &["chi"]), Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "dropped and restored");

    // What they need must be there.
    live.run(
        "ALTER TABLE chi DROP CONSTRAINT fk; DELETE FROM staying; DELETE FROM par WHERE id = 2",
    );
    let error = ready(&live, &chosen, Trust::Own).await.err().unwrap();
    assert!(error.contains("fk constraint chi fk"), "{error}");

    // And where the archive does not say, nothing is taken away without a word.
    let silent = Archive { objects: Vec::new(), ..only(whole, &["chi"]) };
    let error = ready(&live, &silent, Trust::Own).await.err().unwrap();
    for named in
        ["policy own of table chi", "row security of table chi", "trigger same of table chi"]
    {
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_table_that_stays_is_not_dropped_for_what_has_its_name() {
    for made in [
        "VIEW stays AS SELECT 1",
        "SEQUENCE stays",
        "TYPE stays AS (a integer)",
        "INDEX stays ON parent (m)",
    ] {
        let copy = Postgres::with(&format!("{SMALL} CREATE {made}"));
        let archive = archive(&copy.url()).await;
        let live = Postgres::with(&format!(
            "{SMALL} CREATE TABLE stays (a integer); INSERT INTO stays VALUES (1)"
        ));
        let before = state(&live);
        let error = ready(&live, &archive, Trust::Own)
            .await
            .err()
            .unwrap_or_else(|| panic!("{made} was taken"));
        assert!(error.contains("table public.stays"), "{error}");
        assert_same(&state(&live), &before, made);
    }
}

#[tokio::test]
async fn a_schema_of_an_extension_that_cannot_be_moved_stays() {
    let live = Postgres::with(&format!(
        "{SMALL} CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; COMMENT ON SCHEMA ext IS 'of extensions';
         CREATE TABLE words (w ext.citext); INSERT INTO words VALUES ('A');
         UPDATE pg_extension SET extrelocatable = false WHERE extname = 'citext'"
    ));
    let (before, archive) = (state(&live), archive(&live.url()).await);
    live.run("UPDATE words SET w = 'b'");
    assert_eq!(open(&live.url()).live().await.unwrap().problems, Vec::<String>::new());
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "finished");
    // With something else in it, it would have to be replaced.
    live.run("CREATE FUNCTION ext.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
    let problems = open(&live.url()).live().await.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("citext in ext"), "{problems:?}");
}

#[tokio::test]
async fn an_event_trigger_that_forbids_drops_does_not_keep_the_old_state() {
    let (live, archive, ..) = small().await;
    // Its function lies where nothing is replaced.
    live.run(
        "CREATE SCHEMA guards; CREATE TABLE guards.noted (tag text);
         CREATE FUNCTION guards.no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
           IF EXISTS (SELECT 1 FROM pg_event_trigger_dropped_objects() WHERE object_type IN ('table', 'schema')) THEN
             RAISE EXCEPTION 'nothing is dropped here'; END IF; END $$;
         CREATE EVENT TRIGGER no_drops ON sql_drop EXECUTE FUNCTION guards.no(); ALTER EVENT TRIGGER no_drops ENABLE ALWAYS",
    );
    let spoiled = state(&live);
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
    assert_eq!(beside(&live), "");
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(beside(&live), "");
    assert_eq!(live.run("SELECT evtname, evtenabled FROM pg_event_trigger"), "no_drops|A\n");
}

#[tokio::test]
async fn a_journal_that_was_being_dropped_is_dropped() {
    let (live, archive, _, spoiled) = small().await;
    live.run(
        "CREATE SCHEMA portal_backup_t1; CREATE TABLE portal_backup_t1.schemas (number integer)",
    );
    open(&live.url()).staged(&attempt()).await.unwrap().finish().await.unwrap();
    assert_eq!(beside(&live), "");
    live.run("CREATE SCHEMA portal_backup_t1");
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
}

#[tokio::test]
async fn triggers_of_partitioned_tables_that_stay_are_made_again() {
    let function =
        "CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;";
    let copy = Postgres::with(&format!("{SMALL} {function}"));
    let archive = archive(&copy.url()).await;
    let live = Postgres::with(&format!(
        "{SMALL} {function} CREATE TABLE p (a integer CONSTRAINT fk REFERENCES parent) PARTITION BY LIST (a);
         CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (a); CREATE TABLE p_1_1 PARTITION OF p_1 FOR VALUES IN (1);
         CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2); INSERT INTO p VALUES (1), (2); COMMENT ON CONSTRAINT fk ON p IS 'it''s a key';
         CREATE TRIGGER notes BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION noting(); COMMENT ON TRIGGER notes ON p IS 'it''s a trigger';
         ALTER TABLE p_1_1 DISABLE TRIGGER notes; ALTER TABLE p_2 ENABLE ALWAYS TRIGGER notes;
         CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.q (a integer) PARTITION BY LIST (a);
         CREATE TABLE elsewhere.q_1 PARTITION OF elsewhere.q FOR VALUES IN (1);
         CREATE TRIGGER notes BEFORE INSERT ON elsewhere.q FOR EACH ROW EXECUTE FUNCTION noting();
         ALTER TABLE elsewhere.q DISABLE TRIGGER notes"
    ));
    let before = state(&live);
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    assert_same(&state(&live), &before, "swapped");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &before, "rolled back");
}

#[tokio::test]
async fn rows_below_the_hash_of_an_enum_come_back() {
    let live = Postgres::with(
        "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
         CREATE TABLE h (l integer, m mood, ms mood[], PRIMARY KEY (l, m)) PARTITION BY LIST (l);
         CREATE TABLE h_1 PARTITION OF h FOR VALUES IN (1) PARTITION BY HASH (m);
         CREATE TABLE h_2 PARTITION OF h FOR VALUES IN (2) PARTITION BY HASH (m);
         CREATE TABLE h_1_0 PARTITION OF h_1 FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE h_1_1 PARTITION OF h_1 FOR VALUES WITH (MODULUS 3, REMAINDER 1);
         CREATE TABLE h_1_2 PARTITION OF h_1 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         CREATE TABLE h_2_0 PARTITION OF h_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         INSERT INTO h SELECT l, m, ARRAY[m] FROM generate_series(1, 2) l, unnest(enum_range(NULL::mood)) m;
         CREATE TABLE t (x integer) PARTITION BY HASH (x); CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         INSERT INTO t VALUES (1)",
    );
    let rows = "SELECT * FROM h ORDER BY l, m; SELECT * FROM t";
    let before = live.run(rows);
    let archive = archive(&live.url()).await;
    let by_hand = Postgres::with(&whole(&live.url()).await);
    assert_eq!(by_hand.run(rows), before, "by psql");
    // So that the types have other numbers in each.
    let fresh = Postgres::with("CREATE TYPE other AS ENUM ('x'); DROP TYPE other");
    let staging = open(&fresh.url()).stage(&attempt()).await.unwrap();
    staging.objects(archive.objects.clone(), Trust::Own).await.unwrap();
    for member in &archive.tables {
        staging.scheme(&member.table, &member.scheme, Trust::Own).await.unwrap();
    }
    for member in archive.tables.iter().filter(|member| member.rows > 0) {
        let data = crate::postgres_restore::pieces(&member.data, 1000);
        let loaded = staging.data(&member.table, data, Trust::Own, &|_| ()).await.unwrap();
        assert_eq!(loaded, member.rows, "{}", member.table);
        let is_spread = staging.is_spread(&member.table).await;
        assert_eq!(is_spread, member.table.starts_with('h'), "{}", member.table);
        assert_eq!(staging.digest(&member.table).await.unwrap().is_none(), is_spread);
    }
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(fresh.run(rows), before, "restored");
    let counts = open(&fresh.url()).count(&["h_1_0".to_owned(), "t_0".to_owned()]).await.unwrap();
    assert_eq!(counts, [None, Some(1)]);
}

/// One reads another that is filled after it, one reads what is not here.
#[tokio::test]
async fn a_view_that_cannot_be_filled_does_not_end_the_restore() {
    let live = Postgres::with(
        "CREATE TABLE t (a integer); INSERT INTO t VALUES (1);
         CREATE FUNCTION outside() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
         CREATE MATERIALIZED VIEW good AS SELECT a FROM t; CREATE MATERIALIZED VIEW later AS SELECT a FROM t;
         CREATE FUNCTION of_later() RETURNS SETOF integer LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT a FROM public.later; END $$;
         CREATE MATERIALIZED VIEW earlier AS SELECT * FROM of_later(); CREATE MATERIALIZED VIEW bad AS SELECT outside() AS a;
         -- Only now, because PostgreSQL 17 fills a view with a search_path of its own.
         CREATE OR REPLACE FUNCTION outside() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT a FROM t); END $$;",
    );
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("materialised view public.bad") && warnings[0].contains("\"t\""),
        "{warnings:?}"
    );
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let filled = "SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY 1; SELECT * FROM earlier";
    assert_eq!(fresh.run(filled), "earlier\ngood\nlater\n1\n");
}
