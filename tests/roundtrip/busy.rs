//! Restores in a portal that others use meanwhile: their locks, its own API, a second restore.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use super::docspace::config;
use crate::support::docspace::DocSpace;
use crate::support::files::{Behaviour, DocSpaceFiles, FOLDER};
use crate::support::portal::PlainPortal;
use crate::support::service::Service;

#[tokio::test]
async fn locks_held_by_others_end_a_restore_in_words() {
    let docspace = DocSpace::create().await;
    let mut config = config(&docspace);
    config = config.replace(&docspace.url, &format!("{}?lock-wait-timeout=1", docspace.url));
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let opts = mysql_async::Opts::from_url(&docspace.url).unwrap();
    let mut other = mysql_async::Conn::new(opts).await.unwrap();
    for locked in ["tenants_tenants read", "backup_backup write", "core_user write"] {
        other.query_drop(format!("lock tables {locked}")).await.unwrap();
        // It ends although nobody gives way.
        let restored = service.cli(&["restore", id, "--yes"]);
        let said = String::from_utf8_lossy(&restored.stderr).into_owned();
        assert_eq!(restored.status.code(), Some(1), "{locked}: {said}");
        assert!(said.contains("in use by another connection"), "{locked}: {said}");
        other.query_drop("unlock tables").await.unwrap();
        assert_eq!(
            docspace.number("select count(*) from tenants_tenants where status = 4").await,
            0
        );
        let schemas = "select count(*) from information_schema.schemata where schema_name like concat(database(), '\\_pb%')";
        assert_eq!(docspace.number(schemas).await, 0, "{locked}");
    }
    service.restore(&json!({"backupId": id, "dump": true})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_in_the_portals_documents_is_read_while_the_portal_is_open() {
    let docspace = DocSpace::create().await;
    let closed_by = Some(&*docspace.database.clone().leak());
    let files = DocSpaceFiles::start(Behaviour { closed_by, ..Behaviour::default() }).await;
    let reached = files.config().replace("[portal.docspace]\n", "");
    let service = Service::start(&format!("{}{reached}", config(&docspace))).await;
    let archive = service.backup("0", json!([{ "key": "folderId", "value": FOLDER }])).await;
    docspace.execute(&["update core_user set firstname = 'changed'"]).await;
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let changed = "select count(*) from core_user where firstname = 'changed'";
    assert_eq!(docspace.number(changed).await, 0);
    assert_eq!(docspace.number("select count(*) from tenants_tenants where status = 4").await, 0);
}

#[tokio::test]
async fn a_restore_asks_first_and_says_when_another_runs() {
    let portal = PlainPortal::new(200_000);
    let service = Service::start(&portal.config()).await;
    let first = service.backup("Local", json!([])).await;
    let second = service.backup("Local", json!([])).await;
    let id = |archive: &Value| archive["id"].as_str().unwrap().to_owned();
    let (status, said) = service.on_terminal(&["restore", &id(&first)], "n\n");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("[y/N]") && said.contains("not begun"), "{said}");
    assert_eq!(service.json("/v1/jobs?kind=restore").await["items"], json!([]));

    let running = service.post("/v1/restores", &json!({"archiveId": first["id"]})).await;
    assert!(running.status().is_success());
    let other = service.cli(&["restore", &id(&second), "--yes"]);
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains("another restore is under way"), "{said}");
    assert_eq!(service.finish_restore().await["error"], "");
    let (status, said) = service.on_terminal(&["restore", &id(&second)], "y\n");
    assert!(status.success() && said.contains("as the archive says"), "{said}");
}
