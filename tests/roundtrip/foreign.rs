//! Archives as DocSpace's own service writes them, with what its format allows and ours does not.

use std::path::Path;

use serde_json::{Value, json};

use super::docspace::config;
use crate::support::docspace::{DocSpace, LAST_MIGRATION};
use crate::support::portal::noise;
use crate::support::service::Service;

/// One gzip member with GNU headers. Names are written as they are; long ones in an entry of their own.
pub fn write(path: &Path, members: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(Vec::new());
    let entry = |name: &[u8], content: &[u8], kind| {
        let mut header = tar::Header::new_gnu();
        let name = &name[..name.len().min(100)];
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(kind);
        header.set_cksum();
        header
    };
    for (name, content) in members {
        let name = name.as_bytes();
        if name.len() > 100 {
            let long = [name, b"\0"].concat();
            let header = entry(b"././@LongLink", &long, tar::EntryType::GNULongName);
            tar.append(&header, long.as_slice()).unwrap();
        }
        tar.append(&entry(name, content, tar::EntryType::Regular), *content).unwrap();
    }
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &tar.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap();
}

pub fn listed(files: &[(i64, &str, &str)]) -> Vec<u8> {
    let files = files.iter().map(|(tenant, module, path)| {
        format!(
            "<file>\n  <domain></domain>\n  <module>{module}</module>\n  <path>{path}</path>\n  \
             <tenant>{tenant}</tenant>\n</file>"
        )
    });
    format!("<storage_restore>{}</storage_restore>", files.collect::<String>()).into_bytes()
}

fn request(name: &str) -> Value {
    json!({
        "backupId": "", "storageType": "Local", "dump": true,
        "storageParams": [{"key": "filePath", "value": name}],
    })
}

pub const TABLE: (&str, &[u8]) = (
    "/databases/scheme/odd",
    b"DROP TABLE IF EXISTS `odd`;\nCREATE TABLE `odd` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB;",
);

#[tokio::test]
async fn files_of_one_name_go_to_their_tenants() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let (large, small) = (noise(3 << 20), noise(70_000));
    let deep = format!("{}/{}.png", "d".repeat(90), "n".repeat(120));
    let long = format!("storage/logo/{deep}");
    let list = listed(&[(1, "logo", "logo.png"), (2, "logo", "logo.png"), (2, "logo", &deep)]);
    write(
        &service.backups().join("docspace.tar.gz"),
        &[
            ("dump", b"True"),
            TABLE,
            ("storage/logo/logo.png", &large),
            ("storage/logo/logo.png", &small),
            (&long, b"deep"),
            ("storage/restore_info", &list),
        ],
    );
    service.restore(&request("docspace.tar.gz")).await;
    let logo = |tenant: i64| docspace.root().join(format!("Studio/00/00/0{tenant}/logo/logo.png"));
    assert!(std::fs::read(logo(1)).unwrap() == large);
    assert!(std::fs::read(logo(2)).unwrap() == small);
    let deep = docspace.root().join("Studio/00/00/02/logo").join(deep);
    assert_eq!(std::fs::read(deep).unwrap(), b"deep");

    // One list entry, and two members: the last is what lies there.
    let list = listed(&[(1, "logo", "logo.png")]);
    write(
        &service.backups().join("twice.tar.gz"),
        &[
            ("dump", b"True"),
            TABLE,
            ("storage/logo/logo.png", &large),
            ("storage/logo/logo.png", &small),
            ("storage/restore_info", &list),
        ],
    );
    service.restore(&request("twice.tar.gz")).await;
    assert!(std::fs::read(logo(1)).unwrap() == small);
}

#[tokio::test]
async fn files_that_belong_to_nobody_are_refused() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let logo = docspace.root().join("Studio/00/00/01/logo/logo.png");
    let before = std::fs::read(&logo).unwrap();
    for (name, list) in [("empty", listed(&[])), ("other", listed(&[(1, "logo", "else.png")]))] {
        let name = format!("{name}.tar.gz");
        write(
            &service.backups().join(&name),
            &[
                ("dump", b"True"),
                TABLE,
                ("storage/logo/logo.png", b"new"),
                ("storage/restore_info", &list),
            ],
        );
        let started = service.post("/api/2.0/backup/startrestore", &request(&name)).await;
        assert!(started.status().is_success());
        let done = service.finish_restore().await;
        assert!(done["error"].as_str().unwrap().contains("whose they are"), "{name}: {done}");
        assert_eq!(std::fs::read(&logo).unwrap(), before);
    }
}

#[tokio::test]
async fn tables_without_rows_stay_and_a_newer_schema_is_warned_of() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "create table res_odd (id int primary key, t varchar(9))",
            "insert into res_odd values (1, 'live')",
        ])
        .await;
    let service = Service::start(&config(&docspace)).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let newer = LAST_MIGRATION.replace("2026", "2027");
    let rows = format!(
        "REPLACE INTO `__EFMigrationsHistory` (`MigrationId`,`ProductVersion`) VALUES \n('{newer}','10.0.0');\n"
    );
    let path = service.backups().join("docspace.tar.gz");
    write(
        &path,
        &[
            ("dump", b"True"),
            ("/databases/scheme/res_odd", b"CREATE TABLE IF NOT EXISTS `res_odd` (`id` int NOT NULL, PRIMARY KEY (`id`));"),
            ("/databases/scheme/res_new", b"CREATE TABLE IF NOT EXISTS `res_new` (`id` int NOT NULL, PRIMARY KEY (`id`));"),
            ("/databases/scheme/__EFMigrationsHistory", b"DROP TABLE IF EXISTS `__EFMigrationsHistory`;\nCREATE TABLE `__EFMigrationsHistory` (`MigrationId` varchar(150) NOT NULL, `ProductVersion` varchar(32) NOT NULL, PRIMARY KEY (`MigrationId`));"),
            ("/databases/data/__EFMigrationsHistory", rows.as_bytes()),
        ],
    );
    let planned = service.cli(&["restore", path.to_str().unwrap(), "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!((&plan["problems"], &plan["verified"]), (&json!([]), &json!(true)), "{plan}");
    assert!(plan["warnings"].to_string().contains(&newer), "{plan}");
    assert!(plan["tablesKept"].as_array().unwrap().contains(&json!("res_odd")), "{plan}");
    service.restore(&request("docspace.tar.gz")).await;
    assert_eq!(docspace.number("select count(*) from res_odd where t = 'live'").await, 1);
    assert_eq!(docspace.number("select count(*) from res_new").await, 0, "it is there");
    let jobs = service.json("/v1/jobs?kind=restore").await;
    let warnings = jobs["items"][0]["warnings"].to_string();
    assert!(warnings.contains("restart them"), "{jobs}");
}

#[tokio::test]
async fn tables_of_this_service_are_no_part_of_a_restore_or_a_proof() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "create table portal_backup_jobs (id int primary key)",
            "insert into portal_backup_jobs values (7)",
        ])
        .await;
    let service = Service::start(&config(&docspace)).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let path = service.backups().join("own.tar.gz");
    write(
        &path,
        &[
            ("dump", b"True"),
            TABLE,
            ("/databases/scheme/portal_backup_jobs", b"DROP TABLE IF EXISTS `portal_backup_jobs`;\nCREATE TABLE `portal_backup_jobs` (`id` int NOT NULL, PRIMARY KEY (`id`));"),
            ("/databases/data/portal_backup_jobs", b"REPLACE INTO `portal_backup_jobs` (`id`) VALUES \n(1),\n(2);\n"),
        ],
    );
    let proved = service.cli(&["verify", "--restore", path.to_str().unwrap(), "--json"]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));
    service.restore(&request("own.tar.gz")).await;
    assert_eq!(docspace.number("select count(*) from odd").await, 0, "it is there");
    let live = "select group_concat(id) from portal_backup_jobs";
    assert_eq!(docspace.value(live).await.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_plan_says_that_a_hostile_definition_would_be_refused() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    std::fs::create_dir_all(service.backups()).unwrap();
    let path = service.backups().join("hostile.tar.gz");
    let hostile: &[u8] =
        b"CREATE TABLE `h` (`id` int) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd';";
    write(&path, &[("dump", b"True"), TABLE, ("/databases/scheme/h", hostile)]);
    let planned = service.cli(&["restore", path.to_str().unwrap(), "--dry-run", "--json"]);
    assert_eq!(planned.status.code(), Some(1));
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert!(plan["problems"][0].as_str().unwrap().contains("CONNECT"), "{plan}");
}
