//! PostgreSQL databases that are put back: what comes back, what stays, what is refused, and what a kill leaves.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use portal_backup::source::database::{Adjustment, ObjectText, Staging, Statements, Trust};
use portal_backup::source::restore::{AttemptId, Staged};
use sha2::{Digest, Sha256};

use crate::postgres::{EVERY_KIND, Postgres, assert_same};
use crate::support::{data, open};

/// What an archive has of a database.
#[derive(Clone, Default)]
pub struct Archive {
    pub objects: Vec<ObjectText>,
    pub tables: Vec<Member>,
}

#[derive(Clone)]
pub struct Member {
    pub table: String,
    pub scheme: String,
    pub rows: u64,
    pub data: Vec<u8>,
}

pub async fn archive(url: &str) -> Archive {
    let snapshot = open(url).snapshot(2).await.unwrap();
    let mut tables = Vec::new();
    for table in snapshot.tables() {
        let scheme = snapshot.scheme(table).await.unwrap();
        let (rows, data) = data(snapshot.as_ref(), &table.name).await;
        tables.push(Member { table: table.name.clone(), scheme, rows, data });
    }
    Archive { objects: snapshot.objects().await.unwrap(), tables }
}

impl Archive {
    fn without(mut self, tables: &[&str]) -> Self {
        self.tables.retain(|member| !tables.contains(&member.table.as_str()));
        self
    }

    pub fn object(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.objects.iter_mut().find(|object| object.name == name).unwrap().sql
    }

    pub fn member(&mut self, table: &str) -> &mut Member {
        self.tables.iter_mut().find(|member| member.table == table).unwrap()
    }
}

pub fn pieces(text: &[u8], size: usize) -> Statements {
    let pieces: Vec<_> = text.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

pub fn attempt() -> AttemptId {
    AttemptId::new("t1").unwrap()
}

/// Loads everything; checks counts and digests.
pub async fn load(staging: &dyn Staging, archive: &Archive, trust: Trust) -> Result<(), String> {
    let text = |error: portal_backup::source::database::DatabaseError| error.to_string();
    staging.objects(archive.objects.clone(), trust).await.map_err(text)?;
    for member in &archive.tables {
        staging.scheme(&member.table, &member.scheme, trust).await.map_err(text)?;
    }
    for (index, member) in archive.tables.iter().enumerate().filter(|(_, member)| member.rows > 0) {
        let told = AtomicU64::new(0);
        let tell = |bytes| {
            told.fetch_add(bytes, Ordering::SeqCst);
        };
        // Pieces of all sizes, so that every end lies across two of them once.
        let pieces = pieces(&member.data, [1000, 7, 100_000][index % 3]);
        let rows = staging.data(&member.table, pieces, trust, &tell).await.map_err(text)?;
        assert_eq!(rows, member.rows, "{}", member.table);
        assert_eq!(told.into_inner(), member.data.len() as u64, "{}", member.table);
        let digest = staging.digest(&member.table).await.map_err(text)?;
        assert_eq!(digest, Some(Sha256::digest(&member.data).into()), "{}", member.table);
    }
    Ok(())
}

pub async fn ready(
    live: &Postgres,
    archive: &Archive,
    trust: Trust,
) -> Result<(Box<dyn Staged>, Vec<String>), String> {
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), archive, trust).await?;
    staging.ready().await.map_err(|error| error.to_string())
}

/// Restores an archive of ours to the end; what there is to say.
pub async fn restored(live: &Postgres, archive: &Archive) -> Vec<String> {
    let (staged, warnings) = ready(live, archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    warnings
}

/// Everything that is not the attempt's own.
pub fn state(live: &Postgres) -> String {
    let url = live.url();
    let text = crate::support::client("pg_dump", &["--blobs", "-N", "portal_backup_*", &url], b"");
    let text = String::from_utf8(text).unwrap();
    // (Casts and transforms have no schema, and the old type still has one until the end.)
    let moment = |line: &str| {
        line.is_empty()
            || line == "--"
            || line.contains("restrict ")
            || line.contains("CAST (portal_backup_")
            || line.contains("TRANSFORM FOR portal_backup_")
    };
    text.lines().filter(|line| !moment(line)).map(|line| format!("{line}\n")).collect()
}

pub fn beside(live: &Postgres) -> String {
    live.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'portal%' ORDER BY 1")
}

const SPOILED: &str = "UPDATE everything SET m = 'sad', c = 'later'; DELETE FROM y_parts WHERE id % 2 = 0; DROP TABLE emptied;
    ALTER TABLE parent ADD COLUMN later text; INSERT INTO parent VALUES (99, 'sad'); ALTER TYPE mood ADD VALUE 'new';
    SELECT nextval('numbers') FROM generate_series(1, 50); DROP TABLE crm.part_2024_1; DROP VIEW crm.seen_again;
    CREATE TABLE y_parts_2025 PARTITION OF y_parts FOR VALUES FROM ('2035-01-01') TO ('2036-01-01');
    SELECT lo_unlink(70001), lo_put(70002, 5, 'later'), lo_from_bytea(80000, 'newer'); COMMENT ON LARGE OBJECT 70002 IS 'x';
    GRANT SELECT ON LARGE OBJECT 70002 TO PUBLIC; GRANT CREATE ON SCHEMA crm TO pb_test_reader; COMMENT ON SCHEMA crm IS 'spoiled';
    CREATE OR REPLACE FUNCTION add_one(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 2'";

/// A column that a parent got later is its heirs' last one, until they are made anew.
#[tokio::test]
async fn columns_that_came_to_parents_later_are_no_difference() {
    let live = Postgres::with(
        "CREATE TABLE a (x integer, y text); CREATE TABLE b (x integer, z text);
         CREATE TABLE heir (own integer) INHERITS (a, b); CREATE TABLE of_heir (last text) INHERITS (heir);
         ALTER TABLE b ADD COLUMN later integer DEFAULT 7; ALTER TABLE a ADD COLUMN \"more, of it\" text, ADD plus integer GENERATED ALWAYS AS (x + 1) STORED;
         INSERT INTO heir (x, y, z, own, later) VALUES (1, 'y', 'z', 2, 3); INSERT INTO of_heir (x, last, later, \"more, of it\") VALUES (4, 'l', 5, 'm')",
    );
    let rows = "SELECT x, y, z, own, later, \"more, of it\", plus FROM heir ORDER BY x; SELECT last FROM of_heir";
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    // This compares digests.
    restored(&fresh, &archive).await;
    assert_eq!(fresh.run(rows), live.run(rows));
    let again = self::archive(&fresh.url()).await;
    for (member, again) in archive.tables.iter().zip(&again.tables) {
        assert!(member.data == again.data, "{}", member.table);
    }
}

#[tokio::test]
async fn every_kind_comes_back_and_goes_again() {
    let live = Postgres::with(EVERY_KIND);
    let before = state(&live);
    let archive = archive(&live.url()).await;
    live.run(SPOILED);
    let spoiled = state(&live);
    assert_ne!(before, spoiled);

    let (staged, warnings) = ready(&live, &archive, Trust::Own).await.unwrap();
    assert_eq!(
        warnings,
        [
            "not in the archive, so gone after the restore (1): partition public.y_parts_2025",
            "kept as they are in the database, which has one of each: cast (integer AS inet)"
        ]
    );
    assert_same(&state(&live), &spoiled, "staged");
    staged.swap().await.unwrap();
    staged.swap().await.unwrap();
    // The object that the archive does not know stays.
    live.run("SELECT lo_unlink(80000)");
    assert_same(&state(&live), &before, "swapped");
    live.run("SELECT lo_from_bytea(80000, 'newer')");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");
    assert_eq!(beside(&live), "");
    staged.roll_back().await.unwrap();

    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    staged.finish().await.unwrap();
    live.run("SELECT lo_unlink(80000)");
    assert_same(&state(&live), &before, "finished");
    assert_eq!(beside(&live), "");
    // What lives by names works with the new tables.
    let answers = live.run("SELECT count(*) FROM parents(); SELECT atomic(1); CALL doing(); INSERT INTO ident (v) VALUES ('n') RETURNING v; SELECT count(*) FROM crm.seen_again");
    assert_eq!(answers, "2\n3\nnoted n\n2\n");
}

#[tokio::test]
async fn nothing_becomes_something() {
    let live = Postgres::with(EVERY_KIND);
    let before = state(&live);
    let archive = archive(&live.url()).await;
    let fresh = Postgres::new();
    let empty = state(&fresh);
    let (staged, warnings) = ready(&fresh, &archive, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    assert_same(&state(&fresh), &before, "swapped");
    staged.roll_back().await.unwrap();
    assert_same(&state(&fresh), &empty, "rolled back");
    assert_eq!(beside(&fresh), "");
}

pub const SMALL: &str = "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE parent (id serial PRIMARY KEY, m mood); INSERT INTO parent (m) VALUES ('a'), ('b');
    CREATE TABLE child (id integer PRIMARY KEY, p integer REFERENCES parent); INSERT INTO child VALUES (1, 2);";

/// Such a database, its archive, and what it was and is.
pub async fn small() -> (Postgres, Archive, String, String) {
    let live = Postgres::with(SMALL);
    let (before, archive) = (state(&live), archive(&live.url()).await);
    live.run("UPDATE parent SET m = 'b'; DELETE FROM child");
    let spoiled = state(&live);
    (live, archive, before, spoiled)
}

#[tokio::test]
async fn a_kill_at_any_point_leaves_one_or_the_other() {
    let (live, archive, before, spoiled) = small().await;
    let database = open(&live.url());
    let other = || async { open(&live.url()).staged(&attempt()).await.unwrap() };

    // While it is loaded.
    let staging = database.stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &archive, Trust::Own).await.unwrap();
    drop(staging);
    other().await.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "killed while it was loaded");
    assert_eq!(beside(&live), "");

    // Before the swap, by a process that lives on: it cannot swap what another has rolled back.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    other().await.roll_back().await.unwrap();
    let error = staged.swap().await.unwrap_err().to_string();
    assert!(error.contains("nothing was changed"), "{error}");
    assert_same(&state(&live), &spoiled, "rolled back by another");

    // Nothing was staged: nothing to do.
    other().await.swap().await.unwrap();
    other().await.finish().await.unwrap();

    // After the swap: back, and on.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    drop(staged);
    other().await.swap().await.unwrap();
    assert_same(&state(&live), &before, "swapped");
    other().await.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back after the swap");

    // While a rollback drops what was new.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    live.run("BEGIN; ALTER SCHEMA public RENAME TO portal_backup_t1_new_0; ALTER SCHEMA portal_backup_t1_0 RENAME TO public;
        UPDATE portal_backup_t1.state SET state = 'rolled back'; COMMIT; DROP TABLE portal_backup_t1_new_0.child");
    let error = other().await.finish().await.unwrap_err().to_string();
    assert!(error.contains("not dropped"), "{error}");
    other().await.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "killed while it dropped what was new");
    assert_eq!(beside(&live), "");

    // While it drops what was old: there is no way back, and a new attempt may come at once.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    live.run("UPDATE portal_backup_t1.state SET state = 'finishing'; DROP TABLE portal_backup_t1_0.child");
    let error = other().await.roll_back().await.unwrap_err().to_string();
    assert!(error.contains("was finished"), "{error}");
    assert_same(&state(&live), &before, "killed while it dropped what was old");
    assert_eq!(beside(&live), "");

    // The connection breaks before the swap.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    live.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())");
    let error = staged.swap().await.unwrap_err().to_string();
    assert!(error.contains("nothing was changed"), "{error}");
    assert_same(&state(&live), &before, "without its connection");

    // A later attempt of the name drops what an earlier one left.
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    let (again, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    again.roll_back().await.unwrap();
    assert_eq!(beside(&live), "");
}

#[tokio::test]
async fn tables_that_the_archive_does_not_have_stay() {
    let (live, archive, ..) = small().await;
    live.run(
        "CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := 'noted'; RETURN NEW; END $$;
         CREATE TABLE stays (id serial PRIMARY KEY, p integer CONSTRAINT fk REFERENCES parent, v text);
         INSERT INTO stays (p) VALUES (1); CREATE TABLE parted (a integer) PARTITION BY LIST (a);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1);
         CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t (p integer); ALTER TABLE elsewhere.t ADD CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent NOT VALID;",
    );
    // The archive has the function.
    let with_function = {
        let copy = Postgres::with(SMALL);
        copy.run("CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := 'archived'; RETURN NEW; END $$");
        crate::postgres_restore::archive(&copy.url()).await
    };
    live.run("CREATE TRIGGER notes BEFORE INSERT ON stays FOR EACH ROW EXECUTE FUNCTION noting()");
    let spoiled = state(&live);
    let (staged, warnings) = ready(&live, &with_function, Trust::Own).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    let rows = live.run(
        "INSERT INTO stays (p) VALUES (2) RETURNING id, v; SELECT count(*) FROM parted; SELECT m FROM parent ORDER BY id;
         SELECT confrelid::regclass FROM pg_constraint WHERE conname = 'fk' ORDER BY conrelid::regclass::text",
    );
    assert_eq!(rows, "2|archived\n1\na\nb\nparent\nparent\n");
    live.run("DELETE FROM stays WHERE id = 2; SELECT setval('stays_id_seq', 1)");
    staged.roll_back().await.unwrap();
    assert_same(&state(&live), &spoiled, "rolled back");

    // A row that the restored tables do not go with.
    live.run("INSERT INTO parent VALUES (77, 'a'); INSERT INTO stays (p) VALUES (77)");
    let spoiled = state(&live);
    let error = ready(&live, &archive, Trust::Own).await.err().unwrap();
    assert!(error.contains("fk of table public.stays"), "{error}");
    assert_same(&state(&live), &spoiled, "refused");
    // A column whose type would go.
    live.run("DELETE FROM stays WHERE p = 77; ALTER TABLE stays ADD COLUMN m mood");
    let error = ready(&live, &with_function, Trust::Own).await.err().unwrap();
    assert!(error.contains("column m of table public.stays needs type public.mood"), "{error}");
    assert_eq!(beside(&live), "");
}

#[tokio::test]
async fn only_tables_do_not_take_the_rest_along() {
    let (live, archive, ..) = small().await;
    let tables = Archive { objects: Vec::new(), ..archive }.without(&["parent"]);
    let error = ready(&live, &tables, Trust::Own).await.err().unwrap();
    assert!(error.contains("type public.mood"), "{error}");
}

#[tokio::test]
async fn adjustments_change_what_was_loaded() {
    let (live, archive, ..) = small().await;
    live.run("INSERT INTO parent VALUES (50, 'a'); UPDATE parent SET m = 'a'");
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &archive, Trust::Own).await.unwrap();
    let text = str::to_owned;
    for adjustment in [
        Adjustment::KeepNewer { table: text("parent"), key: text("id"), of: None },
        Adjustment::Replace {
            table: text("parent"),
            column: text("m"),
            from: text("b"),
            to: text("a"),
        },
        Adjustment::Delete {
            table: text("parent"),
            column: text("id"),
            values: vec![text("1"), text("9'")],
        },
        Adjustment::Empty { table: text("child") },
        Adjustment::Empty { table: text("not_there") },
    ] {
        staging.adjust(&adjustment).await.unwrap();
    }
    let (staged, _) = staging.ready().await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(
        live.run("SELECT id, m FROM parent ORDER BY 1; SELECT count(*) FROM child"),
        "2|a\n50|a\n0\n"
    );
}

#[tokio::test]
async fn extensions_move_and_those_that_cannot_are_a_problem() {
    let live = Postgres::with(
        "CREATE EXTENSION citext; CREATE TABLE t (c citext PRIMARY KEY); INSERT INTO t VALUES ('A')",
    );
    let archive = archive(&live.url()).await;
    assert_eq!(open(&live.url()).live().await.unwrap().problems, Vec::<String>::new());
    let (staged, _) = ready(&live, &archive, Trust::Own).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(live.run("SELECT * FROM t WHERE c = 'a'; SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'citext'"), "A\npublic\n");
    live.run("CREATE EXTENSION xml2; CREATE EXTENSION tablefunc; UPDATE pg_extension SET extrelocatable = false WHERE extname = 'xml2'");
    let problems = open(&live.url()).live().await.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("xml2 in public"), "{problems:?}");
}

/// An archive that is not ours may shape tables, and nothing else.
#[tokio::test]
async fn hostile_archives_are_refused() {
    let (live, good, before, spoiled) = small().await;
    let mut cases: Vec<(&str, Archive, &str)> = Vec::new();
    let item = |sql: &str| {
        format!("\n--\n-- Name: x; Type: FUNCTION; Schema: public; Owner: postgres\n--\n\n{sql}\n")
    };
    for (sql, why) in [
        (
            "CREATE FUNCTION public.x() RETURNS integer LANGUAGE plpython3u AS 'import os';",
            "create function",
        ),
        ("COPY public.parent FROM PROGRAM 'touch /tmp/pb_hostile';", "copy public"),
        ("DO $$ BEGIN EXECUTE 'x'; END $$;", "refused"),
        ("\\! touch /tmp/pb_hostile", "psql"),
        ("ALTER TABLE pg_catalog.pg_authid OWNER TO postgres;", "not restored"),
    ] {
        for place in ["pre-data", "post-data"] {
            let mut archive = good.clone();
            archive.object(place).extend(item(sql).into_bytes());
            cases.push((sql, archive, why));
        }
    }
    for (from, to, why) in [
        (
            "m public.mood",
            "m public.mood, x text DEFAULT pg_read_file('/etc/passwd')",
            "pg_read_file",
        ),
        (
            "CREATE TABLE public.parent",
            "DROP TABLE public.child; CREATE TABLE public.parent",
            "drop table",
        ),
        (
            "ALTER TABLE public.parent OWNER TO postgres",
            "ALTER TABLE elsewhere.secret OWNER TO postgres",
            "elsewhere",
        ),
        ("-- Name: parent; Type: TABLE;", "-- Name: child; Type: TABLE;", "not that of the table"),
    ] {
        let mut archive = good.clone();
        let scheme = &mut archive.member("parent").scheme;
        assert!(scheme.contains(from), "{scheme}");
        *scheme = scheme.replace(from, to);
        cases.push((to, archive, why));
    }
    for (rows, why) in [
        (
            "SET client_encoding = 'UTF8';\nCOPY \"public\".\"child\" (\"id\", \"p\") FROM stdin;\n1\t2\n\\.\n",
            "not the COPY of its table",
        ),
        (
            "SET client_encoding = 'UTF8';\nCOPY \"public\".\"parent\" (\"id\") FROM PROGRAM 'id'; COPY x FROM stdin;\n\\.\n",
            "list of columns",
        ),
        (
            "SET client_encoding = 'UTF8';\nCOPY \"public\".\"parent\" (\"id\") FROM stdin;\n7\n\\.\nDROP TABLE child;\n",
            "follows its rows",
        ),
        (
            "SET client_encoding = 'UTF8';\nCOPY \"public\".\"parent\" (\"id\") FROM stdin;\n7\n",
            "do not end",
        ),
        (
            "SET client_encoding = 'UTF8';\nCOPY \"public\".\"parent\" (\"id\") FROM stdin;\nx\n\\.\n",
            "invalid input",
        ),
        ("DROP TABLE child;", "do not begin"),
        (
            "SET client_encoding = 'UTF8'; DROP TABLE child; SET x = '';\nCOPY \"public\".\"parent\" FROM stdin;\n\\.\n",
            "says no encoding",
        ),
    ] {
        let mut archive = good.clone();
        archive.member("parent").data = rows.as_bytes().to_vec();
        cases.push((rows, archive, why));
    }
    let mut large = good.clone();
    large.tables.push(Member {
        table: "pg_catalog.pg_largeobject".to_owned(),
        scheme: "SELECT pg_catalog.lo_create(5);\nSELECT lo_import('/etc/passwd');\n".to_owned(),
        rows: 1,
        data: b"SELECT pg_catalog.lo_put(5, 0, pg_catalog.decode('00', 'hex')); SELECT lo_export(5, '/tmp/x');\n".to_vec(),
    });
    cases.push(("large objects", large, "not that of large objects"));
    for (what, archive, why) in cases {
        let error = ready(&live, &archive, Trust::Foreign)
            .await
            .err()
            .unwrap_or_else(|| panic!("{what} was taken"));
        assert!(error.contains(why), "{what}: {error}");
        assert_same(&state(&live), &spoiled, what);
    }
    assert!(!std::path::Path::new("/tmp/pb_hostile").exists());
    // The good one is taken, from strangers too.
    let (staged, _) = ready(&live, &good, Trust::Foreign).await.unwrap();
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&state(&live), &before, "a good archive of somebody else's");
}
