//! What belongs to a database and to no schema, when its schemas are replaced; and archives of another server.

use portal_backup::source::database::Trust;

use crate::postgres::{Postgres, assert_same};
use crate::postgres_restore::{SMALL, archive, beside, ready, small, state};
use crate::support::open;

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
    let said = |what: &str| warnings[0].contains(what);
    assert!(warnings.len() == 1 && said("kept as they are"), "{warnings:?}");
    assert!(said("event trigger watch") && said("publication news"), "{warnings:?}");
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
        (
            "CREATE FUNCTION f(internal) RETURNS internal LANGUAGE internal STRICT IMMUTABLE AS 'varchar_support';
             CREATE TRANSFORM FOR integer LANGUAGE plpgsql (FROM SQL WITH FUNCTION f(internal))",
            "transform integer LANGUAGE plpgsql",
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
    for named in [
        "operator public.===",
        "collation public.german",
        "configuration public.search",
        "dictionary public.words",
    ] {
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

/// What servers write of databases that have no code of their own.
const PLAIN: &str = r#"
CREATE SCHEMA crm; CREATE TYPE crm.mood AS ENUM ('a', 'b;--'); CREATE DOMAIN crm.mail AS text CHECK (VALUE ~ '^\S+@\d') NOT NULL;
CREATE TYPE crm.pair AS (x int, m crm.mood); CREATE TYPE crm.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE crm.parent (id bigint GENERATED BY DEFAULT AS IDENTITY, price numeric(10,2) DEFAULT 0.00 NOT NULL, f float8 DEFAULT -1.5e-7,
  m crm.mood DEFAULT 'a', ms crm.mood[] DEFAULT ARRAY['a'::crm.mood], e crm.mail, "time" timestamptz(3) DEFAULT (now() AT TIME ZONE 'utc'),
  s text COLLATE "C" DEFAULT E'a\\\'\n', up text GENERATED ALWAYS AS (upper(s) || '-'::text) STORED, p crm.pair, sp crm.span, zone crm.mood, of int, "select" int,
  bits bit(3) DEFAULT B'101', j jsonb DEFAULT '{"a": [1.5]}'::jsonb, i interval DEFAULT '1 day', PRIMARY KEY (id),
  CHECK (price > .5 AND (ms[1] = 'a' OR m IN ('a', 'b;--')) AND s NOT LIKE '%\%' AND id::int % 2 = 0 AND j ? 'a'));
CREATE TABLE crm.child (u serial UNIQUE, CHECK (length(s) < 10) NO INHERIT) INHERITS (crm.parent);
CREATE TABLE parts (id int, k int REFERENCES crm.parent ON DELETE CASCADE) PARTITION BY RANGE (id, abs(k));
CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (1, MINVALUE) TO (10, 5); CREATE TABLE part_x PARTITION OF parts DEFAULT;
CREATE INDEX by_k ON parts USING btree (k DESC NULLS LAST) INCLUDE (id) WHERE k > 2; CREATE UNIQUE INDEX lower_s ON crm.parent (lower(s) text_pattern_ops, (price / 2.5));
CREATE INDEX gin_j ON crm.parent USING gin (j jsonb_path_ops); CREATE STATISTICS crm.stats (dependencies) ON m, s FROM crm.parent;
ALTER TABLE crm.parent ADD CONSTRAINT late CHECK (f < 9) NOT VALID; ALTER TABLE crm.parent ADD CONSTRAINT apart EXCLUDE USING gist (sp WITH &&);
ALTER TABLE crm.parent CLUSTER ON parent_pkey; ALTER TABLE crm.parent REPLICA IDENTITY FULL; ALTER TABLE crm.parent ALTER s SET STATISTICS 50, ALTER s SET STORAGE EXTERNAL;
CREATE SEQUENCE loose INCREMENT BY -1 MAXVALUE 5 MINVALUE -9 CYCLE; CREATE UNLOGGED TABLE fast (a int DEFAULT nextval('loose')) WITH (fillfactor=70);
COMMENT ON COLUMN crm.parent.of IS 'it''s; --'; COMMENT ON CONSTRAINT late ON crm.parent IS E'\\'; COMMENT ON SCHEMA crm IS 'c'; COMMENT ON INDEX crm.lower_s IS 'i';
GRANT SELECT (id), UPDATE (s) ON crm.parent TO PUBLIC; GRANT USAGE ON SCHEMA crm TO PUBLIC; GRANT ALL ON SEQUENCE loose TO PUBLIC; REVOKE ALL ON fast FROM CURRENT_USER;
INSERT INTO crm.parent (id, price, e, zone) VALUES (2, 2, 'me@1', 'b;--'); INSERT INTO parts VALUES (1, 2), (20, NULL); INSERT INTO fast VALUES (DEFAULT);
"#;

#[tokio::test]
async fn a_plain_archive_of_somebody_else_comes_back() {
    let live = Postgres::with(PLAIN);
    let (before, archive) = (state(&live), archive(&live.url()).await);
    live.run("UPDATE crm.parent SET s = 'spoiled'; DELETE FROM parts");
    let schemes =
        archive.tables.iter().map(|member| (member.table.as_str(), member.scheme.as_str()));
    open(&live.url()).judge(&schemes.collect::<Vec<_>>(), &archive.objects).unwrap();
    let (staged, _) = ready(&live, &archive, Trust::Foreign).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "a plain archive of somebody else's");
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
        "CREATE TABLE public.x (a text);\n--\rCOPY public.x FROM PROGRAM 'id > /tmp/pb_hostile_guard';",
        "CREATE DOMAIN public.x$e AS text; CREATE TABLE public.x (a int, b text DEFAULT public.x$e'\\'); \
         COPY public.x (b) FROM PROGRAM 'id > /tmp/pb_hostile_guard';--');",
        "COMMENT ON TABLE public.parent IS E'a'\n'\\' '; COPY public.parent FROM PROGRAM 'id > /tmp/pb_hostile_guard';--';",
        "ALTER TABLE public.parent ADD x text DEFAULT (('/etc/passwd'::text).pg_read_file);",
        "CREATE INDEX i ON public.parent USING btree ((parent.row_to_json::text));",
        "ALTER SCHEMA public RENAME TO x;",
        "CREATE SCHEMA public CREATE VIEW public.v AS SELECT rolpassword FROM pg_catalog.pg_authid;",
        "ALTER TABLE public.parent SET SCHEMA other;",
        "CREATE TABLE public.x () INHERITS (pg_catalog.pg_authid);",
        "CREATE TYPE pg_catalog.pb_hostile AS ENUM ('a');",
    ] {
        let mut archive = good.clone();
        let item =
            format!("\n--\n-- Name: x; Type: ACL; Schema: public; Owner: postgres\n--\n\n{sql}\n");
        archive.object("post-data").extend(item.into_bytes());
        let planned = open(&live.url()).judge(&[], &archive.objects).unwrap_err().to_string();
        assert!(planned.contains("is refused"), "{sql}: {planned}");
        let error = ready(&live, &archive, Trust::Foreign).await.err().unwrap();
        assert!(error.contains("is refused"), "{sql}: {error}");
        assert_same(&state(&live), &spoiled, sql);
    }
    assert!(!std::path::Path::new("/tmp/pb_hostile_guard").exists());

    // An extension stays where it is, and none comes into a schema that is not restored.
    live.run("CREATE EXTENSION citext SCHEMA other");
    for (schema, why) in [("public", "move it first"), ("secret", "is refused")] {
        let mut archive = good.clone();
        let item = format!(
            "\n--\n-- Name: citext; Type: EXTENSION; Schema: -; Owner: -\n--\n\n\
             CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA {schema};\n"
        );
        archive.object("pre-data").extend(item.into_bytes());
        let error = ready(&live, &archive, Trust::Foreign).await.err().unwrap();
        assert!(error.contains(why), "{error}");
    }
}
