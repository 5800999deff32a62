//! Backup, status, restore under a new name, and the contents compared.

use std::process::Command;

use serde_json::{Value, json};

use super::raven::{Raven, rows};
use crate::support::portal::{members, tree};
use crate::support::service::names;

const DATABASE: &str = "/databases/Northwind";
const FILES: &str = "/fs/NorthwindFS";

#[tokio::test]
async fn a_database_comes_back_under_a_new_name_and_stays() {
    let mut raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", r"c:\bk").await;
    // A7: "The Document file is written last", "indented JSON", "`Settings["Raven/StorageTypeName"]` added"
    assert_eq!(names(&raven.at("bk")), ["Database.Document", "RavenDB.Voron.Backup"]);
    // A5, the texts in their order
    let status = raven.status(DATABASE).await.json();
    let said: Vec<_> = status["Messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["Message"].as_str().unwrap())
        .filter(|text| !text.starts_with("Overall progress ") || text.contains("100%"))
        .collect();
    assert_eq!(
        said,
        [
            r"Started backup process. Backing up data to directory = 'c:\bk'",
            "Backing up indexes..",
            "Finished indexes backup. Executing data backup..",
            "Overall progress 100% done",
            "Voron backup db finished"
        ]
    );
    let text = std::fs::read_to_string(raven.at("bk/Database.Document")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(text.contains("\n  "), "{text}");
    assert_eq!(document["Id"], "Northwind");
    assert!(document["Settings"]["Raven/StorageTypeName"].is_string());
    // The archive has the database and not the files, and anybody's tools read it.
    let archive = members(&raven.at("bk/RavenDB.Voron.Backup"));
    assert!(archive.contains_key("databases/data/note"));
    assert!(!archive.keys().any(|name| name.starts_with("storage/")), "{:?}", archive.keys());

    // Beside the configured one, compacted; journals cannot be moved.
    let body = json!({"DatabaseName": "Copy", "BackupLocation": "bk", "JournalsLocation": "j"});
    let done = raven.restore("/admin/restore?defrag=true", body).await;
    assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
    let status = raven.get("/docs/Raven/Restore/Status").await.json();
    assert_eq!(status["State"], "Completed");
    let told = status["Messages"].as_array().unwrap();
    assert_eq!(told.last().unwrap(), "The new database was created");
    assert!(told.iter().any(|m| m.as_str().unwrap().contains("JournalsLocation j was ignored")));
    assert!(told.iter().any(|m| m == "Defragmentation has finished"), "{status}");
    assert_eq!(raven.get("/docs/Raven/Restore/InProgress").await.status, 404);
    let copy = raven.portal.dir.path().join("Copy.db");
    assert_eq!(rows(&copy), rows(&raven.portal.database()));

    // Served like a configured one, also after a restart, and backed up in turn.
    raven.service.terminate();
    raven.service.restart().await;
    assert_eq!(raven.get("/databases").await.json(), json!(["Copy", "Northwind"]));
    assert_eq!(raven.get("/docs/Raven/Restore/Status").await.json(), status);
    assert_eq!(raven.status("/databases/copy").await.status, 404);
    raven.good_backup("/databases/copy", "", "bk2").await;
    let body =
        json!({"DatabaseName": "Third", "BackupLocation": "bk2", "DatabaseLocation": "/dbs"});
    assert_eq!(raven.restore("/admin/restore", body).await["Faulted"], false);
    assert_eq!(rows(&raven.at("dbs/Third.db")), rows(&copy));
    // "Settings get `Raven/DataDir`"
    let document = raven.get("/docs/Raven/Databases/Third").await.json();
    assert_eq!(document["Id"], "Raven/Databases/Third");
    assert_eq!(document["Settings"]["Raven/DataDir"], "/dbs");
    // The name is in the document of the second backup: RavenDB's form of it is understood.
    let exists = raven.post("/admin/restore", &json!({"BackupLocation": "bk2"})).await;
    assert!(
        exists.status == 400 && exists.text.contains("existing database, delete the database Copy")
    );
}

#[tokio::test]
async fn a_file_system_comes_back_under_a_new_name() {
    let raven = Raven::start("").await;
    raven.good_backup(FILES, "", "bk").await;
    // A7: "`Filesystem.Document` (`Settings["Raven/FileSystem/Storage"]`, lower-case `voron`)"
    assert_eq!(names(&raven.at("bk")), ["Filesystem.Document", "RavenDB.Voron.Backup"]);
    let document = std::fs::read(raven.at("bk/Filesystem.Document")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["Settings"]["Raven/FileSystem/Storage"], "voron");
    let body = json!({"filesystemname": "Copy", "RestoreLocation": "bk"});
    let done = raven.restore("/admin/fs/restore", body).await;
    assert_eq!(done["Faulted"], false, "{done}");
    assert_eq!(tree(&raven.portal.dir.path().join("Copy")), tree(&raven.portal.files()));
    let status = raven.get("/docs/Raven/FileSystem/Restore/Status/Copy").await.json();
    assert_eq!(status["State"], "Completed");
    let last = status["Messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, "The new filesystem was created");
    raven.good_backup("/fs/Copy", "", "bk2").await;
    let config = raven.get("/fs/copy/config").await.json();
    assert_eq!(config, json!(["Raven/Backup/Status"]));
    assert_eq!(raven.get("/fs/Copy/config?start=1").await.json(), json!([]));
}

/// What a failed or refused restore would leave.
#[tokio::test]
async fn a_restore_that_fails_leaves_nothing() {
    let raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", "bk").await;
    let archive = raven.at("bk/RavenDB.Voron.Backup");
    let mut bytes = std::fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&archive, bytes).unwrap();
    let body =
        json!({"DatabaseName": "Copy", "BackupLocation": "bk", "DatabaseLocation": "dbs/Copy"});
    let done = raven.restore("/admin/restore", body.clone()).await;
    assert_eq!(done["Faulted"], true, "{done}");
    assert!(!raven.at("dbs/Copy").exists());
    assert_eq!(raven.get("/databases").await.json(), json!(["Northwind"]));
    // The name is free again.
    assert_eq!(raven.post("/admin/restore", &body).await.status, 200);
}

/// The archive of one source must not be taken for one of the portal.
#[tokio::test]
async fn the_portal_is_not_restored_from_one_source() {
    let raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", "bk").await;
    let archives = raven.service.json("/v1/archives").await;
    let archive = &archives["items"][0];
    assert_eq!(archive["name"], "RavenDB.Voron.Backup");
    let body = json!({"archiveId": archive["id"], "dryRun": true});
    let plan = raven.service.post("/v1/restores", &body).await.json::<Value>().await.unwrap();
    let problems = plan["problems"].to_string();
    assert!(problems.contains("of one database or filesystem"), "{plan}");
    // And DocSpace's clients do not see it.
    let history = raven.service.json("/api/2.0/backup/getbackuphistory").await;
    assert_eq!(history["response"], json!([]));
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mariadb(sql: &str) -> String {
    run("mariadb", &["-h", "127.0.0.1", "-P", "3306", "-u", "root", "-N", "-e", sql])
}

fn psql(database: &str, sql: &str) -> String {
    run("psql", &["-h", "127.0.0.1", "-U", "postgres", "-At", "-d", database, "-c", sql])
}

/// Drops databases in the end.
struct Dropping(Vec<String>, fn(&str));

impl Drop for Dropping {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| self.1(name));
    }
}

async fn server(url: &str) -> Raven {
    let config = format!("[[portal.database]]\nname = \"Server\"\nurl = \"{url}\"\n");
    Raven::start(&config).await
}

#[tokio::test]
async fn a_mariadb_database_comes_back_in_a_schema_of_its_own() {
    let live = format!("pb_raven_{}", std::process::id());
    let copy = format!("{live}_copy");
    let _dropping = Dropping(vec![live.clone(), copy.clone()], |name| {
        mariadb(&format!("drop database if exists {name}"));
    });
    mariadb(&format!(
        "drop database if exists {copy}; create or replace database {live} character set utf8mb4; use {live}; \
         create table t (id int primary key auto_increment, body varchar(60), b blob); \
         insert into t (body, b) select concat('row ', seq), unhex(left(sha2(seq, 224), 32)) from seq_1_to_500"
    ));
    let rows =
        |schema: &str| mariadb(&format!("select id, body, hex(b) from {schema}.t order by id"));
    let raven = server(&format!("mysql://root@127.0.0.1:3306/{live}")).await;
    raven.good_backup("/databases/server", "", "bk").await;
    let body = json!({"DatabaseName": copy, "BackupLocation": "bk", "Defrag": true});
    let done = raven.restore("/admin/restore", body.clone()).await;
    assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
    assert_eq!(rows(&copy), rows(&live));
    let status = raven.get("/docs/Raven/Restore/Status").await.text;
    assert!(status.contains("Defragmentation has finished"), "{status}");
    raven.good_backup(&format!("/databases/{copy}"), "", "bk2").await;

    // A schema that holds something stays what it is.
    let body = json!({"DatabaseName": "other", "BackupLocation": "bk", "DatabaseLocation": format!("x/{live}")});
    let done = raven.restore("/admin/restore", body).await;
    assert_eq!(
        done["State"]["Error"],
        "Database location directory is not empty. Point to non-existing or empty directory."
    );
    assert_eq!(rows(&live).lines().count(), 500);
}

#[tokio::test]
async fn a_postgres_database_comes_back_in_a_database_of_its_own() {
    let live = format!("pb_raven_{}", std::process::id());
    let copy = format!("{live}_copy");
    let _dropping = Dropping(vec![live.clone(), copy.clone()], |name| {
        psql("postgres", &format!("drop database if exists {name} with (force)"));
    });
    psql("postgres", &format!("create database {live}"));
    psql(
        &live,
        "create table t as select i as id, md5(i::text) as body from generate_series(1, 500) i",
    );
    let rows = |database: &str| psql(database, "select id, body from t order by id");
    let raven = server(&format!("postgres://postgres@127.0.0.1:5432/{live}")).await;
    raven.good_backup("/databases/SERVER", "", "bk").await;
    let body = json!({"DatabaseName": copy, "BackupLocation": "bk", "Defrag": true});
    let done = raven.restore("/admin/restore", body).await;
    assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
    assert_eq!(rows(&copy), rows(&live));
    let status = raven.get("/docs/Raven/Restore/Status").await.text;
    assert!(status.contains("Defragmentation has finished"), "{status}");
}
