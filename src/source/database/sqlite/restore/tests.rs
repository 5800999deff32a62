//! Swaps that end at any point, as if the process had been killed there.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::swap::{Point, Swap};
use crate::source::database::sqlite::Sqlite;
use crate::source::database::{Database, DatabaseError, ObjectText, Staging, Trust};
use crate::source::restore::AttemptId;

const LIVE: &str = "
    PRAGMA user_version=3;
    CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1,'live'),(2,'live');
    CREATE TABLE kept (v); INSERT INTO kept VALUES ('kept');
    CREATE TABLE portal_backup_jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, state); INSERT INTO portal_backup_jobs VALUES (7,'queued');
    CREATE INDEX portal_backup_jobs_state ON portal_backup_jobs(state);
    CREATE VIEW seen AS SELECT v FROM t; CREATE TRIGGER fires AFTER INSERT ON t BEGIN INSERT INTO kept VALUES (new.v); END;";

struct Portal {
    dir: tempfile::TempDir,
    database: Sqlite,
    attempt: AttemptId,
}

impl Portal {
    fn new(mode: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portal.db");
        if let Some(mode) = mode {
            let db = Connection::open(&path).unwrap();
            db.pragma_update(None, "journal_mode", mode).unwrap();
            db.execute_batch(LIVE).unwrap();
        }
        let url = format!("sqlite://{}", path.display());
        let database = Sqlite::new("portal", &url, dir.path()).unwrap();
        Self { dir, database, attempt: AttemptId::new("a1").unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("portal.db")
    }

    fn swap(&self) -> Swap {
        Swap::new(self.database.source.clone(), &self.attempt)
    }

    async fn stage(&self) {
        let staging = self.database.stage(&self.attempt).await.unwrap();
        load(staging.as_ref()).await;
        assert_eq!(staging.ready().await.unwrap().1, Vec::<String>::new());
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
        names.sort();
        names
    }
}

const ARCHIVED: [(&str, &str, &str); 2] = [
    ("view", "archived", "CREATE VIEW archived AS SELECT id FROM t"),
    ("trigger", "fires", "CREATE TRIGGER fires AFTER UPDATE ON t BEGIN DELETE FROM t; END"),
];

async fn load(staging: &dyn Staging) {
    let object = |(kind, name, sql): (&str, &str, &str)| ObjectText {
        kind: kind.to_owned(),
        name: name.to_owned(),
        sql: format!("DROP {} IF EXISTS \"{name}\";\n{sql}\n;\n", kind.to_uppercase()).into(),
    };
    staging.objects(ARCHIVED.map(object).to_vec(), Trust::Own).await.unwrap();
    let scheme = "PRAGMA user_version=0;\nDROP TABLE IF EXISTS \"t\";\nCREATE TABLE t (id INTEGER PRIMARY KEY, v)\n;\n";
    staging.scheme("t", scheme, Trust::Foreign).await.unwrap();
    let rows = futures::stream::iter([Ok(
        "REPLACE INTO \"t\" (\"id\",\"v\") VALUES (9,'restored');".into(),
    )]);
    let rows = staging.data("t", Box::pin(rows), Trust::Foreign, &|_| {}).await.unwrap();
    assert_eq!(rows, 1);
}

/// Everything that can be asked of a database, own tables aside.
fn picture(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut all = Vec::new();
    for query in [
        "SELECT type || name || sql FROM sqlite_schema WHERE name NOT LIKE 'portal_backup_%' AND sql IS NOT NULL ORDER BY 1",
        "SELECT id || v FROM t ORDER BY 1",
        "SELECT v FROM kept ORDER BY 1",
        "SELECT v FROM seen ORDER BY 1",
        "SELECT 'version ' || user_version FROM pragma_user_version",
        "SELECT journal_mode FROM pragma_journal_mode",
        "SELECT integrity_check FROM pragma_integrity_check",
    ] {
        let mut rows = db.prepare(query).unwrap();
        all.extend(rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
    }
    all
}

fn restored(live: &[String]) -> Vec<String> {
    let mut all: Vec<String> = live
        .iter()
        .filter(|line| *line != "2live" && *line != "live")
        .map(|line| match line.as_str() {
            "1live" => "9restored".to_owned(),
            "version 3" => "version 0".to_owned(),
            line if line.starts_with("triggerfires") => format!("triggerfires{}", ARCHIVED[1].2),
            other => other.to_owned(),
        })
        .collect();
    let seen = all.iter().position(|line| line.starts_with("viewseen")).unwrap();
    all.insert(seen, format!("viewarchived{}", ARCHIVED[0].2));
    let view = all.iter().position(|line| line == "kept").unwrap() + 1;
    all.insert(view, "restored".to_owned());
    all
}

fn jobs(path: &Path) -> String {
    let db = Connection::open(path).unwrap();
    let query = "SELECT (SELECT group_concat(id || state) FROM portal_backup_jobs) || seq FROM sqlite_sequence";
    db.query_row(query, [], |row| row.get(0)).unwrap()
}

fn write_job(path: &Path, state: &str) {
    let db = Connection::open(path).unwrap();
    db.execute("INSERT INTO portal_backup_jobs (state) VALUES (?)", [state]).unwrap();
}

fn killed() -> DatabaseError {
    DatabaseError::Query { name: String::new(), what: "killed".into(), message: String::new() }
}

const SWAP: [Point; 4] = [Point::Locked, Point::Carried, Point::Kept, Point::Replaced];
const MODES: [&str; 4] = ["wal", "delete", "truncate", "persist"];

#[tokio::test]
async fn a_killed_swap_is_rolled_back_or_done_again() {
    for mode in MODES {
        for point in SWAP {
            for forward in [true, false] {
                let case = format!("{mode} {point:?} {forward}");
                let portal = Portal::new(Some(mode));
                portal.stage().await;
                write_job(&portal.path(), "running");
                let before = picture(&portal.path());
                let end = |now| if now == point { Err(killed()) } else { Ok(()) };
                assert!(portal.swap().swap(&end).is_err(), "{case}");
                write_job(&portal.path(), "late");
                let between = picture(&portal.path());
                let done = point == Point::Replaced;
                assert_eq!(
                    between,
                    if done { restored(&before) } else { before.clone() },
                    "{case}"
                );
                if forward {
                    portal.swap().swap(&|_| Ok(())).unwrap();
                    assert_eq!(picture(&portal.path()), restored(&before), "{case}");
                    assert_eq!(jobs(&portal.path()), "7queued,8running,9late9", "{case}");
                    portal.swap().swap(&|_| Ok(())).unwrap();
                    portal.swap().finish(&|_| Ok(())).unwrap();
                    assert_eq!(picture(&portal.path()), restored(&before), "{case}");
                } else {
                    portal.swap().roll_back(&|_| Ok(())).unwrap();
                    assert_eq!(picture(&portal.path()), before, "{case}");
                }
                assert_eq!(jobs(&portal.path()), "7queued,8running,9late9", "{case}");
                assert_eq!(portal.files(), ["portal.db"], "{case}");
                let db = Connection::open(portal.path()).unwrap();
                assert!(!db.table_exists(None, super::mark::TABLE).unwrap(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_killed_roll_back_is_done_again() {
    for mode in MODES {
        for point in [Point::Locked, Point::Carried, Point::Replaced] {
            let case = format!("{mode} {point:?}");
            let portal = Portal::new(Some(mode));
            let before = picture(&portal.path());
            portal.stage().await;
            portal.swap().swap(&|_| Ok(())).unwrap();
            write_job(&portal.path(), "failed");
            let end = |now| if now == point { Err(killed()) } else { Ok(()) };
            assert!(portal.swap().roll_back(&end).is_err(), "{case}");
            write_job(&portal.path(), "later");
            portal.swap().roll_back(&|_| Ok(())).unwrap();
            portal.swap().roll_back(&|_| Ok(())).unwrap();
            assert_eq!(picture(&portal.path()), before, "{case}");
            assert_eq!(jobs(&portal.path()), "7queued,8failed,9later9", "{case}");
            assert_eq!(portal.files(), ["portal.db"], "{case}");
        }
    }
}

#[tokio::test]
async fn a_killed_finish_is_done_again() {
    let portal = Portal::new(Some("wal"));
    let before = picture(&portal.path());
    portal.stage().await;
    portal.swap().swap(&|_| Ok(())).unwrap();
    assert_eq!(portal.files(), [".portal.db.portal-backup-a1-old", "portal.db"]);
    assert!(portal.swap().finish(&|_| Err(killed())).is_err());
    portal.swap().finish(&|_| Ok(())).unwrap();
    portal.swap().roll_back(&|_| Ok(())).unwrap();
    assert_eq!(picture(&portal.path()), restored(&before));
    assert_eq!(portal.files(), ["portal.db"]);
}

#[tokio::test]
async fn a_file_that_was_not_there_is_made_and_removed() {
    for point in [None].into_iter().chain(SWAP.map(Some)) {
        let portal = Portal::new(None);
        assert_eq!(portal.database.live().await.unwrap().tables.len(), 0);
        portal.stage().await;
        assert_eq!(portal.files(), [".portal.db.portal-backup-a1"]);
        let end = |now| if Some(now) == point { Err(killed()) } else { Ok(()) };
        assert_eq!(portal.swap().swap(&end).is_err(), point.is_some());
        portal.swap().roll_back(&|_| Ok(())).unwrap();
        assert_eq!(portal.files(), [""; 0], "{point:?}");
    }
    let portal = Portal::new(None);
    portal.stage().await;
    portal.swap().swap(&|_| Ok(())).unwrap();
    portal.swap().finish(&|_| Ok(())).unwrap();
    assert_eq!(portal.files(), ["portal.db"]);
    let db = Connection::open(portal.path()).unwrap();
    assert_eq!(
        db.query_row("SELECT v FROM t", [], |row| row.get::<_, String>(0)).unwrap(),
        "restored"
    );
}

#[tokio::test]
async fn a_file_that_appeared_meanwhile_is_kept() {
    let portal = Portal::new(None);
    portal.stage().await;
    Connection::open(portal.path()).unwrap().execute_batch(LIVE).unwrap();
    let before = picture(&portal.path());
    portal.swap().swap(&|_| Ok(())).unwrap();
    assert_eq!(picture(&portal.path()), restored(&before));
    portal.swap().roll_back(&|_| Ok(())).unwrap();
    assert_eq!(picture(&portal.path()), before);
}

#[tokio::test]
async fn nothing_happens_where_nothing_was_staged() {
    let portal = Portal::new(Some("delete"));
    let before = std::fs::read(portal.path()).unwrap();
    portal.swap().swap(&|_| Ok(())).unwrap();
    portal.swap().finish(&|_| Ok(())).unwrap();
    portal.swap().roll_back(&|_| Ok(())).unwrap();
    assert_eq!(std::fs::read(portal.path()).unwrap(), before);

    // What was not staged to the end is never swapped in.
    let staging = portal.database.stage(&portal.attempt).await.unwrap();
    load(staging.as_ref()).await;
    drop(staging);
    assert!(portal.swap().swap(&|_| Ok(())).is_err());
    portal.swap().roll_back(&|_| Ok(())).unwrap();
    assert_eq!(std::fs::read(portal.path()).unwrap(), before);
    assert_eq!(portal.files(), ["portal.db"]);
}

#[tokio::test]
async fn a_second_restore_waits_for_the_first_to_be_finished() {
    let portal = Portal::new(Some("wal"));
    portal.stage().await;
    portal.swap().swap(&|_| Ok(())).unwrap();
    let second = Portal { attempt: AttemptId::new("a2").unwrap(), ..portal };
    second.stage().await;
    let error = second.swap().swap(&|_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("a1"), "{error}");
}
