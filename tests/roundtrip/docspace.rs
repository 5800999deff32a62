//! DocSpace's own layout: its tables, its storage tree, its keys, through its API.

use std::io::Write;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::local_path;
use crate::support::docspace::{
    ADMIN_KEY, DocSpace, FILES_KEY, MACHINE_KEY, MEMBER_KEY, OTHER_KEY, READ_KEY, expected_members,
};
use crate::support::portal::members;
use crate::support::service::Service;

pub fn config(docspace: &DocSpace) -> String {
    format!(
        "[portal]\nlayout = \"docspace\"\n[[portal.database]]\nname = \"docspace\"\nurl = \"{}\"\n[[portal.filesystem]]\nname = \"data\"\nurl = \"file://{}\"\n[portal.docspace]\nmachine_key = \"{MACHINE_KEY}\"\nmirror = false\n",
        docspace.url,
        docspace.root().display()
    )
}

/// Every table of a database with its definition and checksum.
pub fn fingerprint(database: &str) -> String {
    let run = |sql: &str| {
        let output = Command::new("mariadb")
            .args(["-h127.0.0.1", "-uroot", "-N", "-r", "-e", sql, database])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let tables = run("show full tables where table_type = 'BASE TABLE'");
    let mut all = String::new();
    for table in tables.lines().map(|line| line.split('\t').next().unwrap()) {
        all += &run(&format!("show create table `{table}`; checksum table `{table}` extended"));
    }
    all.replace(database, "DATABASE")
}

#[tokio::test]
async fn a_dump_holds_the_installation_and_loads_with_the_servers_own_client() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "insert into core_settings (tenant, id, value, last_modified) values (1, 'bytes', 0x00ff270d0a5c, '2026-01-01 00:00:00')",
            "create table odd (id int unsigned auto_increment primary key, big bigint unsigned, f float, d double, at datetime(6), t timestamp(3) null, txt text, bin blob, e enum('a','b'), g double generated always as (d * 2) stored) charset utf8mb4",
            "insert into odd (id, big, f, d, at, t, txt, bin, e) values (4000000000, 18446744073709551615, 16777215, 0.1, '2026-01-01 00:00:00.123456', '2026-01-01 00:00:00.123', concat('😀', char(0), '\\r\\n;\\\\'), 0x00ff, 'b'), (5, 0, 1e-38, 1e300, null, null, '', '', null)",
            "insert into odd (id, txt) values (77, null)",
            "update odd set id = 0 where id = 77",
            "create view looking as select 1 as one",
        ])
        .await;
    let service = Service::start(&config(&docspace)).await;
    let archive = service.backup("Local", json!([])).await;
    let members = members(&local_path(&archive));
    assert!(members.keys().any(|name| name.ends_with("/view/looking.sql")), "{:?}", members.keys());

    assert_eq!(members["dump"], b"True");
    let stored: Vec<_> = members
        .iter()
        .filter(|(name, _)| name.starts_with("storage/") || name.starts_with("extra/"))
        .filter(|(name, _)| *name != "storage/restore_info" && !name.starts_with("extra/objects/"))
        .map(|(name, content)| (name.clone(), content.clone()))
        .collect();
    assert_eq!(stored, expected_members());
    let info = String::from_utf8(members["storage/restore_info"].clone()).unwrap();
    assert!(
        info.starts_with("<storage_restore>") && info.contains("<module>files</module>"),
        "{info}"
    );

    // Load what the archive holds, in a database of its own.
    let copy = format!("{}_copy", docspace.database);
    docspace.execute(&[format!("create database `{copy}` character set utf8mb3")]).await;
    let mut client = Command::new("mariadb")
        .args(["-h127.0.0.1", "-uroot", &copy])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"set foreign_key_checks = 0;\n").unwrap();
    for part in ["scheme", "data"] {
        for (name, sql) in members.range(format!("databases/{part}/")..format!("databases/{part}0"))
        {
            input.write_all(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
            input.write_all(b"\n").unwrap();
        }
    }
    drop(input);
    let loaded = client.wait().unwrap().success();
    let same = loaded.then(|| (fingerprint(&docspace.database), fingerprint(&copy)));
    docspace.execute(&[format!("drop database `{copy}`")]).await;
    let (before, after) = same.expect("the server's client loads the archive");
    let different: Vec<_> =
        before.lines().zip(after.lines()).filter(|(a, b)| a != b).take(5).collect();
    assert!(before == after, "{different:#?}");
    assert!(before.lines().count() > 160);

    let manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    assert_eq!(manifest["layout"], "docspace");
    assert!(manifest["lastMigration"].is_string());
    assert!(!String::from_utf8_lossy(&members["manifest.json"]).contains(MACHINE_KEY));
}

#[tokio::test]
async fn docspaces_own_keys_decide() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let start = |key: String, body: Value| {
        service
            .http
            .request(Method::POST, format!("{}/api/2.0/backup/startbackup", service.base))
            .header("Authorization", key)
            .json(&body)
            .send()
    };
    let dump = json!({"storageType": "Local", "dump": true});
    for key in [READ_KEY, FILES_KEY, MEMBER_KEY] {
        let answer = start(key.text(), dump.clone()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{}", key.text());
    }
    // A key of another tenant is none here.
    let answer = start(OTHER_KEY.text(), dump.clone()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer =
        start(ADMIN_KEY.text(), json!({"storageType": "Local", "dump": false})).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let answer = start(format!("Bearer {}", ADMIN_KEY.text()), dump).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["response"]["tenantId"], 1);
    assert_eq!(service.finish().await["error"], "");
}
