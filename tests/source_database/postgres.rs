//! Dumps of real PostgreSQL databases: what `psql` loads from a dump equals what was dumped, and shows one moment.

use std::sync::atomic::{AtomicBool, Ordering};

use portal_backup::source::database::{DatabaseError, Engine, Snapshot};

use crate::support::{Refuse, client, data, open, try_open, unique};

/// One of everything that a database can hold.
pub const EVERY_KIND: &str = include_str!("postgres_every_kind.sql");

/// What belongs to the database, and to no schema.
const OF_DATABASE: &str = "
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE PUBLICATION news FOR TABLE parent WHERE (id > 0), crm.child;
CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost');
CREATE USER MAPPING FOR pb_test_reader SERVER far OPTIONS (user 'x'); CREATE FOREIGN TABLE far_table (a integer) SERVER far;
ALTER DATABASE current_database_name SET work_mem = '5MB'; COMMENT ON DATABASE current_database_name IS 'a note';";

/// A PostgreSQL database that goes when the test ends.
pub struct Postgres(pub String);

impl Postgres {
    pub fn new() -> Self {
        Self::of("template0")
    }

    /// A copy of another, which nobody may be connected to.
    pub fn of(template: &str) -> Self {
        let name = unique("pb_test");
        psql("postgres", ROLE);
        psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self(name)
    }

    pub fn with(sql: &str) -> Self {
        let database = Self::new();
        database.run(sql);
        database
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:5432/{}", self.0)
    }

    pub fn run(&self, sql: &str) -> String {
        psql(&self.0, sql)
    }

    /// The server's version, 150020 for 15.20.
    pub fn number(&self) -> u32 {
        self.run("SHOW server_version_num").trim().parse().unwrap()
    }

    /// Everything, as the server's own tool says it.
    pub fn dump(&self) -> String {
        let url = self.url();
        let text = client("pg_dump", &["--blobs", &url], b"");
        let text = String::from_utf8(text).unwrap();
        // These two are of the moment.
        text.lines()
            .filter(|line| !line.contains("restrict "))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0));
    }
}

const ROLE: &str = "DO $$ BEGIN CREATE ROLE pb_test_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

pub fn psql(database: &str, sql: &str) -> String {
    let url = format!("postgres://postgres@127.0.0.1:5432/{database}");
    let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &url];
    String::from_utf8(client("psql", &arguments, sql.as_bytes())).unwrap()
}

/// Compares two texts, and shows only where they differ.
#[track_caller]
pub fn assert_same(left: &str, right: &str, when: &str) {
    let lines = |one: &str, other: &str| -> Vec<String> {
        let other: std::collections::HashSet<_> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.take(40).map(|line| line.chars().take(300).collect()).collect()
    };
    assert!(left == right, "{when}: {:#?} is not {:#?}", lines(left, right), lines(right, left));
}

/// The members of a dump as somebody with no more than `psql` loads them: what is before the tables, the tables in the
/// order that they say, all rows, what is after.
pub async fn whole(url: &str) -> String {
    let snapshot = open(url).snapshot(3).await.unwrap();
    let objects = snapshot.objects().await.unwrap();
    let object = |name: &str| {
        let object = objects.iter().find(|object| object.name == name).unwrap();
        String::from_utf8(object.sql.clone()).unwrap()
    };
    let mut schemes = Vec::new();
    for table in snapshot.tables() {
        let scheme = snapshot.scheme(table).await.unwrap();
        let place = scheme
            .strip_prefix("-- Position: ")
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap());
        schemes.push((place.unwrap_or(u64::MAX), scheme));
    }
    schemes.sort();
    let mut all = object("pre-data");
    all.extend(schemes.into_iter().map(|(_, scheme)| scheme));
    for table in snapshot.tables() {
        all += &String::from_utf8(data(snapshot.as_ref(), &table.name).await.1).unwrap();
    }
    all + &object("post-data")
}

#[tokio::test]
async fn every_kind_comes_back_through_psql_as_it_was_at_one_moment() {
    let live = Postgres::with(EVERY_KIND);
    live.run(&OF_DATABASE.replace("current_database_name", &live.0));
    let as_it_was = Postgres::of(&live.0).dump();
    let snapshot = open(&live.url()).snapshot(3).await.unwrap();
    assert_eq!(snapshot.server().engine, Engine::Postgres);
    assert_eq!(snapshot.readers(), 3);
    // A writer changes rows of every table, makes others, and uses up sequences: nothing of it may be seen.
    live.run(
        "UPDATE everything SET m = 'sad', c = 'later'; DELETE FROM y_parts WHERE id % 2 = 0; INSERT INTO parent VALUES (99);
         SELECT nextval('numbers') FROM generate_series(1, 50); INSERT INTO ident (v) VALUES ('later');
         ALTER TABLE unlogged ADD COLUMN later integer DEFAULT 7; CREATE TABLE later (a integer);
         SELECT lo_unlink(70001), lo_put(70002, 5, 'later'); REFRESH MATERIALIZED VIEW mat;",
    );
    let objects = snapshot.objects().await.unwrap();
    let object = |name: &str| {
        let object = objects.iter().find(|object| object.name == name).unwrap();
        String::from_utf8(object.sql.clone()).unwrap()
    };
    let mut schemes = Vec::new();
    let mut rows = String::new();
    for table in snapshot.tables() {
        let scheme = snapshot.scheme(table).await.unwrap();
        if table.name != "pg_catalog.pg_largeobject" {
            let position: u64 = scheme
                .strip_prefix("-- Position: ")
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            schemes.push((position, scheme));
        } else {
            // (Its objects are read from the snapshot's own connections.)
            schemes.push((u64::MAX, scheme));
        }
        let (count, data) = data(snapshot.as_ref(), &table.name).await;
        let data = String::from_utf8(data).unwrap();
        assert_eq!(count == 0, data.is_empty(), "{}", table.name);
        rows += &data;
    }
    let names: Vec<_> = snapshot.tables().iter().map(|table| table.name.clone()).collect();
    for wanted in [
        "everything",
        "crm.child",
        "\"dotted.name\"",
        "crm.part_2024_0",
        "pg_catalog.pg_largeobject",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is not in {names:?}");
    }
    assert!(names.is_sorted());
    schemes.sort();
    let schemes: String = schemes.into_iter().map(|(_, scheme)| scheme).collect();
    let fresh = Postgres::with(&(object("pre-data") + &schemes + &rows + &object("post-data")));
    assert_same(&fresh.dump(), &as_it_was, "loaded by psql");
    let warnings = snapshot.warnings().join("\n");
    for wanted in ["far_table", "work_mem=5MB", "a note"] {
        assert!(warnings.contains(wanted), "{warnings}");
    }
}

/// Simple tables need nothing but their own members, in the order of their names.
#[tokio::test]
async fn simple_tables_load_from_their_own_members() {
    let live = Postgres::with(
        "CREATE TABLE b (id serial PRIMARY KEY, v text NOT NULL); INSERT INTO b (v) VALUES ('x'), ('y'); CREATE INDEX ON b (v);
         CREATE TABLE a (id integer GENERATED ALWAYS AS IDENTITY, b integer); INSERT INTO a (b) VALUES (1);",
    );
    let as_it_was = live.dump();
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    let loaded = crate::support::dump(snapshot.as_ref()).await;
    let fresh = Postgres::with(&String::from_utf8(loaded).unwrap());
    assert_same(&fresh.dump(), &as_it_was, "loaded by psql");
}

#[test]
fn all_connections_show_one_moment_while_a_writer_writes() {
    let live = Postgres::with(
        "CREATE TABLE left_side (id serial, v integer); CREATE TABLE right_side (id serial, v integer);
         INSERT INTO left_side (v) SELECT 1000 FROM generate_series(1, 200); INSERT INTO right_side (v) SELECT 0 FROM generate_series(1, 200);",
    );
    /// Also when the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let stop = AtomicBool::new(false);
    let sums = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let step = "BEGIN; UPDATE left_side SET v = v - 1; UPDATE right_side SET v = v + 1;
                INSERT INTO left_side (v) VALUES (3); INSERT INTO right_side (v) VALUES (-3); COMMIT;";
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                live.run(&step.repeat(5));
                rounds += 1;
            }
            rounds
        });
        let stopping = Stop(&stop);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut sums = Vec::new();
        for _ in 0..3 {
            let loaded = Postgres::with(&runtime.block_on(whole(&live.url())));
            sums.push(loaded.run(
                "SELECT (SELECT sum(v) FROM left_side) + (SELECT sum(v) FROM right_side),
                 (SELECT count(*) FROM left_side) - (SELECT count(*) FROM right_side),
                 nextval('left_side_id_seq') > (SELECT max(id) FROM left_side)",
            ));
        }
        drop(stopping);
        assert!(writer.join().unwrap() > 0);
        sums
    });
    assert_eq!(sums, ["200000|0|t\n"; 3]);
}

#[tokio::test]
async fn a_table_that_was_emptied_or_rewritten_under_the_snapshot_is_noticed() {
    let live = Postgres::with(
        "CREATE TABLE t (a integer); INSERT INTO t VALUES (1); CREATE TABLE r (a integer); INSERT INTO r VALUES (1);
         CREATE TABLE g (a integer); CREATE TABLE c (a integer, b integer); CREATE TABLE fine (a integer); INSERT INTO fine VALUES (1);",
    );
    let snapshot = open(&live.url()).snapshot(2).await.unwrap();
    // No lock is held: none of these has to wait.
    live.run("SET lock_timeout = '5s'; TRUNCATE t; ALTER TABLE r ALTER a TYPE text; DROP TABLE g; ALTER TABLE c DROP b;");
    assert_changed(snapshot.as_ref(), &["t", "r", "g", "c"]).await;
    // The connections still serve.
    for _ in 0..3 {
        assert_eq!(data(snapshot.as_ref(), "fine").await.0, 1);
    }
    live.run("SET lock_timeout = '5s'; ALTER TABLE fine ADD b integer");
}

/// None of these tables is read: each is another by now.
async fn assert_changed(snapshot: &dyn Snapshot, names: &[&str]) {
    for name in names {
        let table = snapshot.tables().iter().find(|table| table.name == *name).unwrap();
        let mut sink = crate::support::Collect::default();
        let result = snapshot.data(table, &mut sink).await;
        assert!(
            matches!(result, Err(DatabaseError::DefinitionChanged { .. })),
            "{name}: {result:?}"
        );
    }
}

/// What has the name now is not what the snapshot has: it would be read as empty, or as another's.
#[tokio::test]
async fn names_that_mean_others_by_now_are_noticed() {
    let live = Postgres::with(
        "CREATE TABLE solo (a integer); INSERT INTO solo VALUES (1); CREATE TABLE one (a integer); INSERT INTO one VALUES (1);
         CREATE TABLE two (a integer); INSERT INTO two VALUES (2); CREATE TABLE moved (v text, w text); INSERT INTO moved VALUES ('v', 'w');
         CREATE SCHEMA s; CREATE TABLE s.t (a integer); INSERT INTO s.t VALUES (1); CREATE SCHEMA s_new; CREATE TABLE s_new.t (a integer);
         CREATE TABLE fine (id serial, gone integer, kept text); ALTER TABLE fine DROP gone; INSERT INTO fine (kept) VALUES ('x');",
    );
    let snapshot = open(&live.url()).snapshot(2).await.unwrap();
    live.run(
        "CREATE TABLE solo_new (a integer); ALTER TABLE solo RENAME TO solo_old; ALTER TABLE solo_new RENAME TO solo;
         ALTER TABLE one RENAME TO x; ALTER TABLE two RENAME TO one; ALTER TABLE x RENAME TO two;
         ALTER TABLE moved ADD COLUMN v_new text; ALTER TABLE moved RENAME v TO v_old; ALTER TABLE moved RENAME v_new TO v;
         ALTER SCHEMA s RENAME TO s_old; ALTER SCHEMA s_new RENAME TO s; ALTER TABLE fine ADD later integer;",
    );
    assert_changed(snapshot.as_ref(), &["solo", "one", "two", "moved", "s.t"]).await;
    assert_eq!(data(snapshot.as_ref(), "fine").await.0, 1);
}

/// Not even that of a sequence, once the definitions are read.
#[tokio::test]
async fn nobody_waits_for_a_backup_to_end() {
    let live = Postgres::with("CREATE TABLE t (id serial); CREATE SEQUENCE numbers");
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    snapshot.objects().await.unwrap();
    live.run("SET lock_timeout = '5s'; DROP SEQUENCE numbers; DROP TABLE t");
}

/// `pg_dump` needs a connection too.
#[tokio::test]
async fn a_user_who_may_have_few_connections_is_backed_up() {
    let live = Postgres::with("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)");
    let role = unique("pb_test_few");
    for (allowed, readers) in [(2, 1), (3, 2), (4, 3), (9, 3)] {
        live.run(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN IN ROLE pg_read_all_data PASSWORD 'portal-backup-tests' CONNECTION LIMIT {allowed}"
        ));
        let url = format!("postgres://{role}:portal-backup-tests@127.0.0.1:5432/{}", live.0);
        let snapshot = open(&url).snapshot(3).await.unwrap();
        assert_eq!(snapshot.readers(), readers, "of {allowed}");
        snapshot.objects().await.unwrap();
        assert_eq!(data(snapshot.as_ref(), "t").await.0, 1);
    }
    live.run(&format!("ALTER ROLE {role} CONNECTION LIMIT 1"));
    let url = format!("postgres://{role}:portal-backup-tests@127.0.0.1:5432/{}", live.0);
    let opened = open(&url).snapshot(3).await;
    let error = match &opened {
        Ok(snapshot) => snapshot.objects().await.err().unwrap().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("too many connections"), "{error}");
    drop(opened);
    live.run(&format!("DROP ROLE {role}"));
}

#[tokio::test]
async fn a_consumer_that_fails_ends_the_statement() {
    let live = Postgres::with(
        "CREATE TABLE big AS SELECT repeat('x', 1000) AS v FROM generate_series(1, 100000)",
    );
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    let result = snapshot.data(&snapshot.tables()[0], &mut Refuse).await;
    assert!(matches!(result, Err(DatabaseError::SinkClosed(_))), "{result:?}");
    let again = snapshot.data(&snapshot.tables()[0], &mut Refuse).await;
    assert!(again.is_err_and(|error| error.to_string().contains("lost")));
    drop(snapshot);
    // Waits for nothing but its own lock: the server has ended what ran.
    live.run("SET lock_timeout = '20s'; DROP TABLE big");
}

/// Also while the server has not counted their pages.
#[tokio::test]
async fn rows_of_extensions_are_named() {
    let live = Postgres::with(
        "CREATE EXTENSION citext; CREATE TABLE settings (a integer); ALTER EXTENSION citext ADD TABLE settings;
         INSERT INTO settings VALUES (1); UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = ARRAY[''] WHERE extname = 'citext';",
    );
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    let warnings = snapshot.warnings().join("\n");
    assert!(warnings.contains("citext: public.settings"), "{warnings}");
}

#[tokio::test]
async fn a_long_row_is_handed_over_in_pieces() {
    struct Pieces(Vec<u8>, usize);
    #[async_trait::async_trait]
    impl portal_backup::source::database::DataSink for Pieces {
        async fn write(
            &mut self,
            piece: &[u8],
            ends: &[usize],
        ) -> Result<(), portal_backup::source::database::SinkClosed> {
            assert!(!piece.is_empty() && ends.iter().all(|end| *end <= piece.len()));
            self.0.extend_from_slice(piece);
            self.1 = self.1.max(piece.len());
            Ok(())
        }
    }
    let live = Postgres::with(
        "CREATE TABLE long (id integer, b bytea); INSERT INTO long SELECT g, decode(repeat('0a5c27', g * 300000), 'hex') FROM generate_series(1, 4) g;
         INSERT INTO long SELECT g, 'x' FROM generate_series(5, 30000) g;",
    );
    let snapshot = open(&live.url()).snapshot(1).await.unwrap();
    let mut pieces = Pieces(Vec::new(), 0);
    assert_eq!(snapshot.data(&snapshot.tables()[0], &mut pieces).await.unwrap(), 30_000);
    assert!(pieces.1 <= 256 << 10, "{}", pieces.1);
    let text = String::from_utf8(pieces.0).unwrap();
    let expected = live.run("COPY long TO STDOUT");
    let head =
        "SET client_encoding = 'UTF8';\nCOPY \"public\".\"long\" (\"id\", \"b\") FROM stdin;\n";
    assert!(text == format!("{head}{expected}\\.\n"), "the rows are not those of the table");
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let error = open("postgres://postgres:hunter2@127.0.0.1:5432/pb_no_such_database")
        .check()
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Connect { .. }), "{error}");
    assert!(
        error.to_string().contains("pb_no_such_database") && !error.to_string().contains("hunter2")
    );
    let error = try_open("postgres://postgres@127.0.0.1:5432").err().unwrap();
    assert!(matches!(error, DatabaseError::Configuration { .. }), "{error}");
    let live = Postgres::new();
    let server = open(&live.url()).check().await.unwrap();
    let version = live.run("SHOW server_version");
    assert_eq!((server.engine, server.version.as_str()), (Engine::Postgres, version.trim()));
}
