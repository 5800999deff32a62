//! What belongs to a database and to no schema, when its schemas are replaced; and archives of another server.

use portal_backup::source::database::Trust;

use crate::postgres::{Postgres, assert_same};
use crate::postgres_restore::{SMALL, archive, beside, ready, small, state};

/// The event trigger notes every change of a view in a table: while its schema is put aside, it could not.
const OF_DATABASE: &str = "
CREATE TABLE noted (tag text);
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.noted VALUES (tg_tag); END $$;
CREATE FUNCTION later() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'off'; END $$;
CREATE VIEW seen AS SELECT * FROM parent;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE VIEW', 'ALTER SCHEMA') EXECUTE FUNCTION on_ddl();
CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION later(); ALTER EVENT TRIGGER off DISABLE; COMMENT ON EVENT TRIGGER off IS 'it''s off';
CREATE PUBLICATION news FOR TABLE parent (id) WHERE (id > 0), child;
CREATE PUBLICATION whole FOR TABLES IN SCHEMA public;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pb_test_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;";

#[tokio::test]
async fn what_has_no_schema_stays_bound() {
    let live = Postgres::with(&format!("{SMALL}{OF_DATABASE}"));
    let (before, archive) = (state(&live), archive(&live.url()).await);
    live.run("UPDATE parent SET m = 'b'; DELETE FROM child");
    let spoiled = state(&live);
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    let said = |what: &str| warnings.iter().any(|warning| warning.contains(what));
    assert!(said("event trigger watch stays") && said("publication news stays"), "{warnings:?}");
    staged.swap().await.unwrap();
    assert_same(&state(&live), &before, "swapped");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "finished");
    assert_eq!(beside(&live), "");
    let rows = live.run("CREATE VIEW another AS SELECT 1; SELECT * FROM noted");
    assert_eq!(rows, "CREATE VIEW\n", "the event trigger runs");
}

#[tokio::test]
async fn what_the_archive_lacks_the_function_of_is_named() {
    for (made, named) in [
        (
            "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()",
            "event trigger e",
        ),
        (
            "CREATE FUNCTION f(integer) RETURNS inet LANGUAGE sql AS $$ SELECT '::1'::inet $$; CREATE CAST (integer AS inet) WITH FUNCTION f(integer)",
            "cast integer AS inet",
        ),
    ] {
        let (live, archive, ..) = small().await;
        live.run(made);
        let spoiled = state(&live);
        let error = ready(&live, &archive, Trust::Own).await.err().unwrap();
        assert!(error.contains(named), "{error}");
        assert_same(&state(&live), &spoiled, "refused");
    }
}

#[tokio::test]
async fn what_goes_is_named() {
    let (live, archive, ..) = small().await;
    live.run(
        "CREATE FUNCTION same(mood, mood) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
         CREATE COLLATION german (provider = icu, locale = 'de-DE'); CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);
         CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);",
    );
    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.roll_back().await.unwrap();
    let warnings = warnings.join("\n");
    for named in ["operator ===", "collation german", "configuration search", "dictionary words"] {
        assert!(warnings.contains(named), "{warnings}");
    }
}

/// Roles and tablespaces belong to a server, and another one need not have them.
#[tokio::test]
async fn an_archive_of_another_server_is_taken() {
    let live = Postgres::with(
        "CREATE TABLE t (a integer); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON t TO pb_test_reader USING (a > 0);
         CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR pb_test_reader SERVER far;",
    );
    let mut archive = archive(&live.url()).await;
    for name in ["pre-data", "post-data"] {
        let object = archive.object(name);
        let text = String::from_utf8(object.clone()).unwrap();
        *object = text.replace("pb_test_reader", "pb_no_such_role").into_bytes();
    }
    let scheme = &mut archive.member("t").scheme;
    *scheme = scheme.replace("CREATE TABLE", "SET default_tablespace = pb_nowhere;\nCREATE TABLE");
    let fresh = Postgres::new();
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let said = |what: &[&str]| {
        warnings.iter().any(|warning| what.iter().all(|what| warning.contains(what)))
    };
    assert!(said(&["policy", "pb_no_such_role"]), "{warnings:?}");
    assert!(said(&["user mapping", "pb_no_such_role"]), "{warnings:?}");
    assert!(said(&["table t", "usual tablespace"]), "{warnings:?}");
    assert_eq!(fresh.run("SELECT relrowsecurity FROM pg_class WHERE relname = 't'"), "t\n");

    // Left out, this one would let others see more.
    let post = archive.object("post-data");
    let text = String::from_utf8(post.clone()).unwrap();
    *post = text.replace("public.t TO", "public.t AS RESTRICTIVE TO").into_bytes();
    let error = ready(&Postgres::new(), &archive, Trust::Own).await.err().unwrap();
    assert!(error.contains("pb_no_such_role"), "{error}");
}

/// What the guard refuses would work on this server.
#[tokio::test]
async fn a_hostile_archive_reaches_nothing_that_is_not_restored() {
    let (live, good, ..) = small().await;
    live.run("CREATE SCHEMA other; CREATE SEQUENCE other.numbers");
    let spoiled = state(&live);
    for sql in [
        "GRANT SELECT ON TABLE pg_catalog.pg_authid TO PUBLIC;",
        "GRANT SELECT ON TABLE pg_authid TO PUBLIC;",
        "GRANT ALL ON SCHEMA other TO PUBLIC;",
        "SELECT pg_catalog.setval('\"other\".\"numbers\"', 70);",
        "ALTER TABLE public.parent ALTER COLUMN id SET DEFAULT nextval('other.numbers'::regclass);",
        "CREATE STATISTICS public.s ON pg_catalog.lo_export(1, '/x'), id FROM public.parent;",
        "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default;",
        "COMMENT ON DATABASE postgres IS 'x';",
    ] {
        let mut archive = good.clone();
        let item =
            format!("\n--\n-- Name: x; Type: ACL; Schema: public; Owner: postgres\n--\n\n{sql}\n");
        archive.object("post-data").extend(item.into_bytes());
        let error = ready(&live, &archive, Trust::Foreign).await.err().unwrap();
        assert!(error.contains("is refused"), "{sql}: {error}");
        assert_same(&state(&live), &spoiled, sql);
    }
}
