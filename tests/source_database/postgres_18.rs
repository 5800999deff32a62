//! What PostgreSQL 16, 17 and 18 added, one of each, backed up and put back.

use portal_backup::source::database::{ObjectText, Trust};

use crate::postgres::{Postgres, assert_same, psql, whole};
use crate::postgres_restore::{archive, attempt, load, restored, state};
use crate::support::{open, unique};

const ADDED: &str = include_str!("postgres_18.sql");

const SPOILED: &str = "
    DROP PUBLICATION pub_filter; DROP PUBLICATION pub_all; DROP PUBLICATION pub_schema; DROP TABLE nn CASCADE;
    DROP TABLE bookings; TRUNCATE rooms; ALTER TABLE id_part DETACH PARTITION id_part_a; DROP TABLE ne; DROP VIEW app.v;
    ALTER TABLE coll DROP COLUMN d; UPDATE gen SET a = 100 WHERE a = 1; ALTER TYPE app.colour ADD VALUE 'newer';
    ALTER TABLE stor ALTER a SET COMPRESSION pglz; DROP POLICY p1 ON rls; DROP STATISTICS st2; DROP FUNCTION app.atomic;
    ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE MAINTAIN ON TABLES FROM pb_test_reader; DELETE FROM mr;
    REVOKE MAINTAIN ON gen FROM pb_test_reader; ALTER TABLE misc DROP COLUMN js; SELECT lo_unlink(80002)";

/// A database of a server that has all of it.
fn with(sql: &str) -> Option<Postgres> {
    let database = Postgres::new();
    if database.number() < 180_000 {
        eprintln!("skipped: the server is older than PostgreSQL 18");
        return None;
    }
    database.run(sql);
    Some(database)
}

#[tokio::test]
async fn what_later_versions_added_comes_back() {
    let Some(live) = with(ADDED) else { return };
    let before = state(&live);
    let archive = archive(&live.url()).await;
    let by_hand = whole(&live.url()).await;
    live.run(SPOILED);
    // (Publications go and come without a restore: they belong to the database, and stay as they are.)
    let publications: Vec<&str> =
        ADDED.lines().filter(|line| line.starts_with("CREATE PUBLICATION")).collect();
    let warnings = restored(&live, &archive).await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("kept as they are in the database"), "{warnings:?}");
    assert!(!publications.is_empty() && !warnings[0].contains("publication"), "{warnings:?}");
    assert_same(&state(&live), &before, "in place");

    let fresh = Postgres::new();
    assert_eq!(restored(&fresh, &archive).await, [""; 0]);
    assert_same(&state(&fresh), &before, "in an empty one");
    let fresh = Postgres::new();
    fresh.run(&by_hand);
    assert_same(&state(&fresh), &before, "by hand");
}

/// Its names are quoted, and it comes after rows that break it.
#[tokio::test]
async fn a_constraint_of_an_odd_name_on_an_inherited_column_comes_back() {
    let Some(live) = with(
        "CREATE TABLE p (a integer, b integer); INSERT INTO p VALUES (NULL, 1); ALTER TABLE p ADD CONSTRAINT \"late; one\" NOT NULL a NOT VALID;
         CREATE TABLE \"Heir\" (CONSTRAINT \"it's $$ -- \"\"so\"\"; 'yes\" NOT NULL b) INHERITS (p); INSERT INTO \"Heir\" VALUES (1, 2);
         CREATE TABLE z_other (CONSTRAINT \"Upper\" NOT NULL b) INHERITS (p)",
    ) else {
        return;
    };
    let names = "SELECT conrelid::regclass::text, conname, convalidated FROM pg_constraint WHERE contype = 'n' AND conrelid <> 0 ORDER BY 1, 2";
    let fresh = Postgres::new();
    restored(&fresh, &archive(&live.url()).await).await;
    assert_eq!(fresh.run(names), live.run(names));
    let fresh = Postgres::new();
    fresh.run(&whole(&live.url()).await);
    assert_eq!(fresh.run(names), live.run(names));
    // Some tables alone have it too.
    let mut tables = archive(&live.url()).await;
    tables.objects.retain(|object| object.name == ObjectText::AFTER_TABLES);
    live.run("ALTER TABLE p DROP CONSTRAINT \"late; one\"");
    restored(&live, &tables).await;
    assert_eq!(fresh.run(names), live.run(names));
}

/// Since PostgreSQL 16 whoever makes a role is a member of it, and may give it nothing.
#[tokio::test]
async fn a_role_that_nothing_can_be_given_to_ends_no_restore() {
    let (user, owner) = (unique("pb_test_user"), unique("pb_test_owner"));
    // Before the database, so that it goes after it.
    let _roles = Roles(vec![user.clone(), owner.clone()]);
    let live = Postgres::new();
    live.run(&format!(
        "CREATE ROLE {user} LOGIN CREATEROLE PASSWORD 'portal-backup-tests'; ALTER DATABASE {} OWNER TO {user};
         SET ROLE {user}; CREATE ROLE {owner}; CREATE SCHEMA s; RESET ROLE;
         CREATE TABLE s.t (a integer); INSERT INTO s.t VALUES (1); GRANT SELECT ON s.t TO {user}; ALTER TABLE s.t OWNER TO {owner}",
        live.0
    ));
    let url = live.url().replace("postgres@", &format!("{user}:portal-backup-tests@"));
    let archive = archive(&url).await;
    let staging = open(&url).stage(&attempt()).await.unwrap();
    load(staging.as_ref(), &archive, Trust::Own).await.unwrap();
    let (staged, warnings) = staging.ready().await.unwrap();
    assert!(warnings[0].contains("that things could be given to"), "{warnings:?}");
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    let owned = "SELECT tableowner, a FROM s.t, pg_tables WHERE tablename = 't'";
    assert_eq!(live.run(owned), format!("{user}|1\n"));
}

/// Roles that go when the test ends, after what belongs to them.
struct Roles(Vec<String>);

impl Drop for Roles {
    fn drop(&mut self) {
        for role in self.0.iter().rev() {
            psql("postgres", &format!("DROP ROLE IF EXISTS {role}"));
        }
    }
}
