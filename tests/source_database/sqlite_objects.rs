//! One of every kind of thing in SQLite, there and back: through the `sqlite3` program and through a restore.

use std::path::{Path, PathBuf};

use portal_backup::source::database::{Database, ObjectText, Trust};
use portal_backup::source::restore::AttemptId;
use rusqlite::Connection;

use crate::sqlite::AWKWARD;
use crate::support::{client, data, open};

const KINDS: &str = "
CREATE VIRTUAL TABLE \"full text\" USING fts5(title, body, prefix='2 3', tokenize='porter unicode61');
INSERT INTO \"full text\" VALUES ('first', 'running dogs'), ('second', 'it''s a cat');
CREATE TABLE pages (id INTEGER PRIMARY KEY, t TEXT); INSERT INTO pages VALUES (7,'outside content'),(8,'more');
CREATE VIRTUAL TABLE outside USING fts5(t, content='pages', content_rowid='id'); INSERT INTO outside(rowid, t) SELECT id, t FROM pages;
CREATE VIRTUAL TABLE bare USING fts5(t, content=''); INSERT INTO bare(rowid, t) VALUES (3,'nothing kept');
CREATE VIRTUAL TABLE older USING fts4(t); INSERT INTO older VALUES ('the fourth');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 0.5, 2.5), (2, 3, 4);
CREATE VIEW top AS SELECT * FROM a_view WHERE id > 0 -- a comment at the end
;
CREATE VIEW \"odd; view\" AS SELECT ';' AS \"semi;colon\", 'line
end' AS line;
CREATE TRIGGER instead INSTEAD OF INSERT ON top BEGIN INSERT INTO gaps VALUES (new.id, 'CASE; END;'); END;
CREATE TRIGGER many AFTER UPDATE OF v ON gaps WHEN new.v <> old.v BEGIN
  INSERT INTO duplicates VALUES (CASE WHEN new.id THEN 1 ELSE 2 END, ';
'); DELETE FROM emptied; END;
CREATE TRIGGER page_added AFTER INSERT ON pages BEGIN INSERT INTO outside(rowid, t) VALUES (new.id, new.t); END;
CREATE INDEX by_expression ON gaps(lower(v), -id) WHERE id > 0;
";

struct Portal {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Portal {
    fn new(mode: &str, sql: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portal.db");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", mode).unwrap();
        db.execute_batch(sql).unwrap();
        Self { _dir: dir, path }
    }

    fn database(&self) -> Box<dyn Database> {
        open(&format!("sqlite://{}", self.path.to_str().unwrap()))
    }

    fn run(&self, sql: &str) {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }
}

/// What `sqlite3` writes about a file, in no order: tables are made in the order of their names.
fn picture(path: &Path) -> Vec<String> {
    let commands =
        b".dump\nPRAGMA user_version;\nPRAGMA application_id;\nPRAGMA integrity_check;\n";
    let text = client("sqlite3", &["-bail", path.to_str().unwrap()], commands);
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The same without the line's end that `sqlite3` keeps before the `;` of a member: it may end a comment there.
fn in_one_line(picture: Vec<String>) -> Vec<String> {
    let lines = picture.iter().map(|line| line.trim_end_matches(';').to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

type Members = Vec<(String, String, Vec<u8>)>;

async fn archive(portal: &Portal) -> (Members, Vec<ObjectText>) {
    let snapshot = portal.database().snapshot(2).await.unwrap();
    assert_eq!(snapshot.warnings(), Vec::<String>::new());
    let mut members = Vec::new();
    for table in snapshot.tables() {
        let scheme = snapshot.scheme(table).await.unwrap();
        members.push((table.name.clone(), scheme, data(snapshot.as_ref(), &table.name).await.1));
    }
    (members, snapshot.objects().await.unwrap())
}

#[tokio::test]
async fn every_kind_comes_back() {
    for mode in ["wal", "delete"] {
        let portal = Portal::new(mode, &format!("{AWKWARD}{KINDS}"));
        let before = picture(&portal.path);
        let (members, objects) = archive(&portal).await;
        let names: Vec<&str> = members.iter().map(|(name, ..)| name.as_str()).collect();
        for shadow in
            ["full text_data", "outside_idx", "bare_docsize", "older_segdir", "boxes_node"]
        {
            assert_eq!(names.iter().filter(|name| **name == shadow).count(), 1, "{shadow}");
        }

        let loaded = portal.path.with_file_name("loaded.db");
        let mut text = Vec::new();
        members.iter().for_each(|(_, scheme, _)| text.extend(scheme.bytes()));
        members.iter().for_each(|(.., rows)| text.extend(rows));
        objects.iter().for_each(|object| text.extend(&object.sql));
        client("sqlite3", &["-bail", loaded.to_str().unwrap()], &text);
        let (left, right) = (in_one_line(picture(&loaded)), in_one_line(before.clone()));
        assert_eq!(left, right, "{mode}: loaded by sqlite3");

        portal.run(
            "DROP VIEW a_view; CREATE VIEW a_view AS SELECT 5 AS id; DROP TRIGGER many; DROP TABLE older; DELETE FROM boxes;
             DROP TABLE \"full text\"; CREATE VIRTUAL TABLE \"full text\" USING fts5(other, columnsize=0); CREATE VIEW own AS SELECT * FROM a_view;
             INSERT INTO pages VALUES (9,'later'); CREATE TRIGGER own_one AFTER DELETE ON gaps BEGIN SELECT 1; END; DROP VIEW \"odd; view\";",
        );
        let spoiled = picture(&portal.path);
        for last in [false, true] {
            let attempt = AttemptId::new("o1").unwrap();
            let staging = portal.database().stage(&attempt).await.unwrap();
            staging.objects(objects.clone(), Trust::Own).await.unwrap();
            for (table, scheme, rows) in &members {
                staging.scheme(table, scheme, Trust::Own).await.unwrap();
                let pieces = Box::pin(futures::stream::iter([Ok(rows.clone().into())]));
                staging.data(table, pieces, Trust::Own, &|_| {}).await.unwrap();
            }
            let (staged, warnings) = staging.ready().await.unwrap();
            assert_eq!(warnings, Vec::<String>::new());
            assert_eq!(picture(&portal.path), spoiled, "{mode}: staged");
            staged.swap().await.unwrap();
            if last {
                staged.finish().await.unwrap();
            } else {
                staged.roll_back().await.unwrap();
                assert_eq!(picture(&portal.path), spoiled, "{mode}: rolled back");
            }
        }
        // What the archive does not know is still there, and all works.
        portal.run("DROP VIEW own; DROP TRIGGER own_one;");
        assert_eq!(picture(&portal.path), before, "{mode}: restored");
        let db = Connection::open(&portal.path).unwrap();
        for (query, answer) in [
            ("SELECT title FROM \"full text\" WHERE \"full text\" MATCH 'run'", "first"),
            ("SELECT rowid || t FROM outside WHERE outside MATCH 'content'", "7outside content"),
            ("SELECT 'found ' || rowid FROM bare WHERE bare MATCH 'nothing'", "found 3"),
            ("SELECT t FROM older WHERE t MATCH 'fourth'", "the fourth"),
            ("SELECT 'box ' || id FROM boxes WHERE x0 > 2", "box 2"),
        ] {
            assert_eq!(
                db.query_row(query, [], |row| row.get::<_, String>(0)).unwrap(),
                answer,
                "{query}"
            );
        }
        db.execute_batch(
            "INSERT INTO \"full text\"(\"full text\") VALUES ('integrity-check'); INSERT INTO outside(outside) VALUES ('integrity-check');
             INSERT INTO pages(t) VALUES ('fresh'); INSERT INTO top(id) VALUES (77);",
        )
        .unwrap();
    }
}

#[tokio::test]
async fn contents_of_virtual_tables_come_back_without_trust_too() {
    let portal = Portal::new("wal", &format!("{AWKWARD}{KINDS}"));
    let before = picture(&portal.path);
    let (members, objects) = archive(&portal).await;
    portal.run("DELETE FROM \"full text\"; DELETE FROM pages;");
    let staging = portal.database().stage(&AttemptId::new("o1").unwrap()).await.unwrap();
    staging.objects(objects, Trust::Foreign).await.unwrap();
    for (table, scheme, rows) in &members {
        staging.scheme(table, scheme, Trust::Foreign).await.unwrap();
        let pieces = Box::pin(futures::stream::iter([Ok(rows.clone().into())]));
        staging.data(table, pieces, Trust::Foreign, &|_| {}).await.unwrap();
    }
    let (staged, warnings) = staging.ready().await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(picture(&portal.path), before);
}
