//! The swap of a restore: what goes first, and what happens when the new state is not well.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::roundtrip::docspace::{config, fingerprint};
use crate::support::docspace::{DocSpace, OTHER_OWNER};
use crate::support::portal::tree;
use crate::support::service::Service;

const LOGO: &str = "Studio/00/00/01/logo/logo.png";

/// A connection that reads a table in a transaction, until it is dropped.
struct Reader(Child);

impl Reader {
    fn of(database: &str, table: &str) -> Self {
        let mut client = Command::new("mariadb")
            .args(["-h127.0.0.1", "-uroot", "-N", "--unbuffered", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let statements = format!("begin;\nselect count(*) from {table};\n");
        client.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
        let mut counted = String::new();
        BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut counted).unwrap();
        assert!(counted.trim().parse::<u64>().is_ok(), "{counted}");
        Self(client)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn indexes_are_swapped_before_databases_and_those_before_files() {
    let docspace = DocSpace::create().await;
    let index = tempfile::tempdir().unwrap();
    let marker = index.path().join("index.bin");
    std::fs::write(&marker, "archived").unwrap();
    let config = format!(
        "{}[[portal.index]]\nname = \"search\"\nurl = \"file://{}\"\n",
        config(&docspace)
            .replace(&docspace.url, &format!("{}?lock-wait-timeout=600", docspace.url)),
        index.path().display()
    );
    let mut service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    docspace.execute(&["update core_user set firstname = 'live'"]).await;
    std::fs::write(&marker, "live").unwrap();
    std::fs::write(docspace.root().join(LOGO), "live").unwrap();
    let old = (fingerprint(&docspace.database), tree(docspace.root()), tree(index.path()));

    let reader = Reader::of(&docspace.database, "core_user");
    let body = json!({"backupId": archive["id"], "dump": true});
    let answer = service.post("/api/2.0/backup/startrestore", &body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    // The swap of the database waits for the reader.
    let waiting = format!(
        "select count(*) from information_schema.processlist \
         where state = 'Waiting for table metadata lock' and info like '%`{}`%'",
        docspace.database
    );
    let deadline = Instant::now() + Duration::from_secs(300);
    while docspace.number(&waiting).await == 0 {
        assert!(Instant::now() < deadline, "it does not wait: {}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(std::fs::read(&marker).unwrap(), b"archived");
    assert_eq!(std::fs::read(docspace.root().join(LOGO)).unwrap(), b"live");

    service.kill();
    drop(reader);
    service.restart().await;
    let done = service.finish_restore().await;
    assert!(done["error"].as_str().unwrap().contains("put back as it was"), "{done}");
    let now = (fingerprint(&docspace.database), tree(docspace.root()), tree(index.path()));
    assert!(now == old, "{done}");

    service.restore(&body).await;
    assert_eq!(std::fs::read(&marker).unwrap(), b"archived");
    assert_ne!(std::fs::read(docspace.root().join(LOGO)).unwrap(), b"live");
    let live = "select count(*) from core_user where firstname = 'live'";
    assert_eq!(docspace.number(live).await, 0);
}

#[tokio::test]
async fn a_portal_that_is_not_well_after_the_swap_goes_back_by_itself() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let owner = OTHER_OWNER.0;
    docspace.execute(&[format!("update core_user set tenant = 1 where id = '{owner}'")]).await;
    let archive = service.backup("Local", json!([])).await;
    docspace.execute(&[format!("update core_user set tenant = 2 where id = '{owner}'")]).await;
    std::fs::write(docspace.root().join(LOGO), "live").unwrap();
    let old = (fingerprint(&docspace.database), tree(docspace.root()));

    let body = json!({"backupId": archive["id"], "dump": true});
    let answer = service.post("/api/2.0/backup/startrestore", &body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let done = service.finish_restore().await;
    assert_eq!(done["error"], "after the swap the owner of tenant 2 does not exist", "{done}");
    let now = (fingerprint(&docspace.database), tree(docspace.root()));
    assert!(now == old, "{done}");
    assert_eq!(
        docspace.number("select count(*) from information_schema.schemata where schema_name like concat(database(), '%')").await,
        1,
        "something is left on the server"
    );
    assert_eq!(docspace.number("select count(*) from tenants_tenants where status = 4").await, 0);
    assert!(!docspace.root().join(".portal-backup").exists());
}
