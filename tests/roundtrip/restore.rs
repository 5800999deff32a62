//! What was backed up comes back, through the API: the plain layout and DocSpace's, our archives and DocSpace's own.

use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::docspace::{config, fingerprint};
use super::local_path;
use crate::support::docspace::{DocSpace, STORED};
use crate::support::portal::{PlainPortal, noise, tree};
use crate::support::service::Service;

/// What `sqlite3` prints of a database.
pub fn dump(database: &Path) -> String {
    let output = std::process::Command::new("sqlite3").arg(database).arg(".dump").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the portal another one: rows and files changed, gone and new.
pub fn change(portal: &PlainPortal) {
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.execute_batch(
        "delete from note where id % 3 = 0; update note set body = 'changed' where id % 2 = 0;
         drop table pair; create table later (id integer primary key, t text);
         insert into later values (1, 'stays');",
    )
    .unwrap();
    std::fs::write(portal.files().join("plain.txt"), "changed").unwrap();
    std::fs::write(portal.files().join("new.txt"), "new").unwrap();
    std::fs::remove_dir_all(portal.files().join("deep")).unwrap();
}

#[tokio::test]
async fn a_plain_portal_comes_back_as_it_was() {
    let portal = PlainPortal::new(5000);
    let service = Service::start(&portal.config()).await;
    let (rows, files) = (dump(&portal.database()), tree(&portal.files()));
    let archive = service.backup("Local", json!([])).await;
    change(&portal);
    let reader = rusqlite::Connection::open(portal.database()).unwrap();

    let plan = service
        .post("/v1/restores", &json!({"archiveId": archive["id"], "dump": true, "dryRun": true}))
        .await;
    assert_eq!(plan.status(), StatusCode::OK);
    let plan: Value = plan.json().await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    assert_eq!(plan["tablesKept"], json!(["later"]));
    assert_eq!(plan["filesystems"][0]["removed"], 1, "{plan}");
    assert_eq!(std::fs::read(portal.files().join("plain.txt")).unwrap(), b"changed");

    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let restored = dump(&portal.database());
    let later = "CREATE TABLE later (id integer primary key, t text);\nINSERT INTO later VALUES(1,'stays');\n";
    assert!(restored.contains(later), "{restored:.500}");
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(
        sorted(&restored.replace(later, "")) == sorted(&rows),
        "{restored:.2000}\n{rows:.2000}"
    );
    assert_eq!(tree(&portal.files()), files);
    assert!(!portal.files().join(".portal-backup").exists());
    let count: i64 = reader.query_row("select count(*) from note", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 5000, "who had the database open sees the restored rows");
    let left: Vec<_> = std::fs::read_dir(portal.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("portal-backup"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn one_file_and_one_table_come_back_alone() {
    let portal = PlainPortal::new(100);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    change(&portal);
    let only = json!(["storage/plain.txt", "databases/data/pair"]);
    let started = service
        .post("/v1/restores", &json!({"archiveId": archive["id"], "dump": true, "only": only}))
        .await;
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let done = service.finish_restore().await;
    assert_eq!(done["error"], "", "{done}");
    assert_eq!(
        std::fs::read(portal.files().join("plain.txt")).unwrap(),
        "text ".repeat(10_000).as_bytes()
    );
    assert!(portal.files().join("new.txt").exists() && !portal.files().join("deep").exists());
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    let of = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(of("select count(*) from pair"), 3);
    assert_eq!(of("select count(*) from note where body = 'changed'"), 67);
    assert_eq!(of("select count(*) from later"), 1);
}

#[tokio::test]
async fn a_docspace_comes_back_and_keeps_what_a_restore_must_keep() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "create table odd (id int unsigned auto_increment primary key, big bigint unsigned, f float, at datetime(6), txt text, bin blob, g double generated always as (big * 2) stored) charset utf8mb4",
            "insert into odd (id, big, f, at, txt, bin) values (4000000000, 7, 0.1, '2026-01-01 00:00:00.123456', concat('😀', char(0), '\\r\\n;\\\\'), 0x00ff), (5, 0, 1e-38, null, '', null)",
            // So that its counter stands beyond what is kept below.
            "insert into files_folder (id, parent_id, title, folder_type, create_by, create_on, modified_by, modified_on, tenant_id) values (60, 0, 'old', 0, '', '2026-01-01 00:00:00', '', '2026-01-01 00:00:00', 1)",
            "create table past (id int primary key, v int) with system versioning",
            "insert into past values (1, 1), (2, 1)",
            "update past set v = 2 where id = 1",
            "delete from past where id = 2",
            "insert into webstudio_settings (TenantID, ID, UserID, Data, last_modified) values (1, '822ca059-aa8f-4588-bee3-6cd2aa920cdb', '00000000-0000-0000-0000-000000000000', '{}', '2026-01-01 00:00:00')",
            "insert into webstudio_index (index_name, last_modified) values ('files_file', '2026-01-01 00:00:00')",
        ])
        .await;
    let service = Service::start(&config(&docspace)).await;
    let before = fingerprint(&docspace.database);
    let mut files = tree(docspace.root());
    let archive = service.backup("Local", json!([])).await;
    docspace
        .execute(&[
            "delete from odd",
            "update core_user set firstname = 'changed'",
            "drop table past",
            "create table unknown_to_the_archive (id int primary key, u varchar(38))",
            "insert into backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, created_on, hash, removed, paid) values ('99999999-0000-0000-0000-000000000009', 1, 0, 'made since', 3, '/x', '2026-11-01 00:00:00', '', 0, 0)",
        ])
        .await;
    // A backup made since, in the tenant's documents.
    docspace
        .execute(&[
            "insert into backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, created_on, hash, removed, paid) values ('99999999-0000-0000-0000-000000000010', 1, 0, 'later.tar.gz', 0, '900', '2026-11-01 00:00:00', '', 0, 0)",
            "insert into files_file (tenant_id, id, version, version_group, current_version, folder_id, title, content_length, create_by, create_on, modified_by, modified_on) values (1, 900, 1, 1, 1, 51, 'later.tar.gz', 5, '', '2026-11-01 00:00:00', '', '2026-11-01 00:00:00')",
            // In a folder of a room, both made since, beside another folder.
            "insert into files_folder (id, parent_id, title, folder_type, create_by, create_on, modified_by, modified_on, tenant_id) values (50, 0, 'room', 15, '', '2026-11-01 00:00:00', '', '2026-11-01 00:00:00', 1), (51, 50, 'backups', 0, '', '2026-11-01 00:00:00', '', '2026-11-01 00:00:00', 1), (52, 50, 'other', 0, '', '2026-11-01 00:00:00', '', '2026-11-01 00:00:00', 1)",
            "insert into files_folder_tree (parent_id, folder_id, level) values (50, 50, 0), (51, 51, 0), (50, 51, 1), (52, 52, 0), (50, 52, 1)",
            // Of a tenant that was made since, too, which does not stay.
            "insert into tenants_tenants (id, alias, creationdatetime, last_modified, name, status) values (3, 'third', '2026-11-01 00:00:00', '2026-11-01 00:00:00', 'Third', 0)",
            "insert into backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, created_on, hash, removed, paid) values ('99999999-0000-0000-0000-000000000011', 3, 0, 'third.tar.gz', 3, '/y', '2026-11-01 00:00:00', '', 0, 0)",
        ])
        .await;
    let later = "Products/Files/00/00/01/folder_1000/file_900/v1/content.gz";
    std::fs::create_dir_all(docspace.root().join(later).parent().unwrap()).unwrap();
    std::fs::write(docspace.root().join(later), "later").unwrap();
    files.insert(later.to_owned(), b"later".to_vec());
    std::fs::write(docspace.root().join(STORED[0].0), "changed").unwrap();
    std::fs::write(docspace.root().join("Studio/00/00/01/logo/later.png"), "later").unwrap();

    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let unknown = docspace.number("select count(*) from unknown_to_the_archive").await;
    assert_eq!(unknown, 0, "it is there");
    docspace.execute(&["drop table unknown_to_the_archive"]).await;
    let changed = |name: &str| {
        let tables = ["webstudio_settings", "webstudio_index", "backup_backup", "files_file"];
        tables.iter().chain(&["files_folder", "files_folder_tree"]).any(|table| {
            name.contains(&format!("`{table}`")) || name.contains(&format!("DATABASE.{table}\t"))
        })
    };
    let lines = |text: &str| {
        text.lines().filter(|line| !changed(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let after = lines(&fingerprint(&docspace.database));
    for (after, before) in after.iter().zip(lines(&before)) {
        assert_eq!(*after, before);
    }
    assert_eq!(after.len(), lines(&before).len());
    let count = |sql: &'static str| docspace.number(sql);
    assert_eq!(count("select count(*) from webstudio_index").await, 0);
    assert_eq!(count("select count(*) from webstudio_settings where ID like '822ca059%'").await, 0);
    assert_eq!(count("select count(*) from backup_backup where name = 'made since'").await, 1);
    assert_eq!(count("select count(*) from tenants_tenants where status = 4").await, 0);
    assert_eq!(
        count("select count(*) from information_schema.schemata where schema_name like concat(database(), '%')").await,
        1
    );
    let restored = tree(docspace.root());
    for stored in STORED {
        // What a backup leaves out within the modules is gone, as after DocSpace's own restore, but for backups.
        let carried = stored.2.is_some();
        let within = !stored.0.contains("/userphotos/")
            && !stored.0.contains("/backup/")
            && !stored.0.contains("partnerdata")
            && !stored.0.starts_with("Studio/00/00/03/");
        if within && !carried {
            let is_live_backup = stored.0.contains("/file_9/");
            assert_eq!(restored.contains_key(stored.0), is_live_backup, "{}", stored.0);
        }
        if carried {
            assert_eq!(restored[stored.0], files[stored.0], "{}", stored.0);
        }
    }
    assert!(!restored.contains_key("Studio/00/00/01/logo/later.png"));
    assert_eq!(
        count("select count(*) from files_file where id = 900 and title = 'later.tar.gz'").await,
        1
    );
    assert_eq!(count("select count(*) from past for system_time all").await, 3);
    assert_eq!(count("select v from past").await, 2);
    let shown = "select count(*) from files_folder_tree t join files_folder f on f.id = t.parent_id where folder_id in (50, 51)";
    assert_eq!(count(shown).await, 3);
    assert_eq!(count("select count(*) from files_folder where id = 52").await, 0);
    assert_eq!(count("select count(*) from backup_backup where tenant_id = 3").await, 0);
    for kept in [
        "Products/Files/00/00/01/folder_1000/file_9/v1/content.tar.gz",
        "Products/Files/00/00/01/folder_1000/file_900/v1/content.gz",
        "Studio/00/00/01/userphotos/me.png",
        "Studio/partnerdata/partner.txt",
        "Studio/00/00/01/backup/old.tar.gz",
    ] {
        assert_eq!(restored[kept], files[kept], "{kept}");
    }
}

/// Writes an archive as DocSpace's own service does: one gzip member, a leading `/` in names of tables.
fn write_as_docspace(path: &Path, gzip: bool) {
    let mut members: Vec<(String, Vec<u8>)> = vec![("dump".to_owned(), b"True".to_vec())];
    members.push((
        "/databases/scheme/odd".to_owned(),
        b"DROP TABLE IF EXISTS `odd`;\nCREATE TABLE `odd` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `t` text,\n  `n` int(11) DEFAULT NULL,\n  `g` int(11) GENERATED ALWAYS AS (`n` + 1) STORED,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;".to_vec(),
    ));
    // Older services wrote generated columns too.
    let mut rows = b"REPLACE INTO `odd` (`id`,`t`,`n`,`g`) VALUES \n".to_vec();
    for id in 1..=5000 {
        let end = if id == 5000 { ";" } else { "," };
        rows.extend(format!("({id},'a\\';\\\\ {id}',{id},{}){end}\n", id + 1).bytes());
    }
    members.push(("/databases/data/odd".to_owned(), rows));
    members.push(("storage\\logo\\deep\\own.png".to_owned(), noise(100_000)));
    members.push((
        "storage/restore_info".to_owned(),
        b"<storage_restore>\n<file>\n  <domain></domain>\n  <module>logo</module>\n  <path>deep\\own.png</path>\n  <tenant>1</tenant>\n</file>\n</storage_restore>".to_vec(),
    ));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, content.as_slice()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    if !gzip {
        return std::fs::write(path, tar).unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(
        std::fs::File::create(path).unwrap(),
        flate2::Compression::fast(),
    );
    std::io::Write::write_all(&mut encoder, &tar).unwrap();
    encoder.finish().unwrap();
}

#[tokio::test]
async fn an_archive_that_docspace_wrote_is_restored() {
    for gzip in [true, false] {
        let docspace = DocSpace::create().await;
        let service = Service::start(&config(&docspace)).await;
        std::fs::create_dir_all(service.backups()).unwrap();
        let name = if gzip { "docspace.tar.gz" } else { "docspace.tar" };
        write_as_docspace(&service.backups().join(name), gzip);
        service
            .restore(&json!({
                "backupId": "", "storageType": "Local", "dump": true,
                "storageParams": [{"key": "filePath", "value": name}],
            }))
            .await;
        assert_eq!(docspace.number("select count(*) from odd where g = id + 1").await, 5000);
        assert_eq!(
            docspace.number("select count(*) from odd where t = concat('a\\';\\\\ ', id)").await,
            5000
        );
        assert_eq!(
            std::fs::read(docspace.root().join("Studio/00/00/01/logo/deep/own.png")).unwrap(),
            noise(100_000)
        );
        assert!(!docspace.root().join("Studio/00/00/01/logo/logo.png").exists());
    }
}

#[tokio::test]
async fn what_is_damaged_foreign_or_hostile_is_refused_and_touches_nothing() {
    let portal = PlainPortal::new(500);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let (rows, files) = (dump(&portal.database()), tree(&portal.files()));
    let whole = std::fs::read(local_path(&archive)).unwrap();
    let refused = async |name: &str, content: &[u8], word: &str| {
        std::fs::write(service.backups().join(name), content).unwrap();
        let body = json!({
            "backupId": "", "storageType": "Local", "dump": true,
            "storageParams": [{"key": "filePath", "value": name}],
        });
        let answer = service.post("/api/2.0/backup/startrestore", &body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        let done = service.finish_restore().await;
        assert_eq!(done["status"], 4, "{name}: {done}");
        assert!(done["error"].as_str().unwrap().contains(word), "{name}: {done}");
        assert_eq!(dump(&portal.database()), rows, "{name}");
        assert_eq!(tree(&portal.files()), files, "{name}");
    };
    for (number, place) in [0.0, 0.13, 0.5, 0.77, 0.999].iter().enumerate() {
        let mut flipped = whole.clone();
        let at = ((whole.len() - 1) as f64 * place) as usize;
        flipped[at] ^= 0x10;
        let name = format!("flipped{number}.tar.gz");
        refused(&name, &flipped, "").await;
        let path = service.backups().join(&name);
        let planned = service.cli(&["restore", path.to_str().unwrap(), "--dry-run"]);
        assert_eq!(planned.status.code(), Some(1), "{name}");
        let said = String::from_utf8_lossy(&planned.stderr).into_owned();
        assert!(said.contains(&name) || said.contains("damaged"), "{name}: {said}");
    }
    refused("cut.tar.gz", &whole[..whole.len() / 2], "").await;
    refused("empty.tar.gz", b"", "").await;
    refused("text.tar.gz", b"this is no archive at all, whatever it is called", "").await;
    write_as_docspace(&service.backups().join("other.tar.gz"), true);
    let other = std::fs::read(service.backups().join("other.tar.gz")).unwrap();
    refused("docspace.tar.gz", &other, "layout").await;

    let wrong = service
        .post("/api/2.0/backup/startrestore", &json!({"backupId": archive["id"], "dump": false}))
        .await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let unknown = json!({"backupId": "99999999-9999-4999-8999-999999999999", "dump": true});
    let unknown = service.post("/api/2.0/backup/startrestore", &unknown).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_archive_is_proved_without_touching_the_portal() {
    let portal = PlainPortal::new(3000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    assert_eq!(archive["provedOn"], Value::Null);
    change(&portal);
    let (rows, files) = (dump(&portal.database()), tree(&portal.files()));
    let id = archive["id"].as_str().unwrap();
    let path = local_path(&archive);
    for name in [path.to_str().unwrap(), archive["url"].as_str().unwrap(), id] {
        let proof = service.cli(&["verify", "--restore", name]);
        assert!(proof.status.success(), "{name}: {}", String::from_utf8_lossy(&proof.stderr));
    }
    let proved = service.json(&format!("/v1/archives/{id}")).await;
    assert!(proved["provedOn"].is_string(), "{proved}");
    assert_eq!(dump(&portal.database()), rows);
    assert_eq!(tree(&portal.files()), files);
    assert_eq!(std::fs::read_dir(portal.dir.path()).unwrap().count(), 2 + wal_files(&portal));
}

#[tokio::test]
async fn every_second_archive_is_proved_when_asked_for() {
    let portal = PlainPortal::new(100);
    let config = format!("{}[backup]\nprove_every = 2\n", portal.config());
    let service = Service::start(&config).await;
    let first = service.backup("Local", json!([])).await;
    // Read by somebody, which is no proof of it, nor of the next.
    let verified = service.cli(&["verify", first["id"].as_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let second = service.backup("Local", json!([])).await;
    let id = second["id"].as_str().unwrap();
    let read = service.post(&format!("/v1/archives/{id}/verify"), &json!({})).await;
    assert!(read.status().is_success());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while service.json(&format!("/v1/archives/{id}")).await["provedOn"].is_null() {
        assert!(std::time::Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let archives = service.json("/v1/archives").await;
    let proved = archives["items"].as_array().unwrap().iter().filter(|a| a["provedOn"].is_string());
    assert_eq!(proved.count(), 1);
}

fn wal_files(portal: &PlainPortal) -> usize {
    ["portal.db-wal", "portal.db-shm"]
        .iter()
        .filter(|name| portal.dir.path().join(name).exists())
        .count()
}
