//! Indexes in backups and restores of the portal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::lucene::{self, Writer};
use crate::support::portal::{PlainPortal, members, tree};
use crate::support::service::{Service, names};

/// A portal with an index in a folder of its filesystem.
fn config(portal: &PlainPortal) -> String {
    format!(
        "{}[[portal.index]]\nname = \"search\"\nurl = \"file://{}\"\n",
        portal.config(),
        index(portal).display()
    )
}

fn index(portal: &PlainPortal) -> PathBuf {
    portal.files().join("App_Data/LocalIndex")
}

fn local_path(archive: &Value) -> PathBuf {
    url::Url::parse(archive["url"].as_str().unwrap()).unwrap().to_file_path().unwrap()
}

fn below(members: &BTreeMap<String, Vec<u8>>, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let found = members.iter().filter_map(|(name, content)| {
        Some((name.strip_prefix(prefix)?.to_owned(), content.clone()))
    });
    found.collect()
}

async fn dry_run(service: &Service, body: Value) -> Value {
    let mut body = body;
    body["dryRun"] = json!(true);
    let plan: Value = service.post("/v1/restores", &body).await.json().await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    plan
}

#[tokio::test]
async fn an_index_is_backed_up_while_it_is_written_and_comes_back() {
    let portal = PlainPortal::new(2000);
    let folder = index(&portal).join("20260301021500");
    let writing = Writer::new(&folder).run();
    let service = Service::start(&config(&portal)).await;
    let archive = service.backup("Local", json!([])).await;
    let job = service.json(&format!("/v1/jobs/{}", archive["id"].as_str().unwrap())).await;
    assert_eq!(job["warnings"], json!([]), "{job}");
    let all = members(&local_path(&archive));
    let copied = below(&all, "extra/index/search/20260301021500/");
    lucene::check(&copied);
    let twice = |name: &String| name.starts_with("storage/") && name.contains("LocalIndex");
    assert!(!all.keys().any(twice), "it is carried once");
    let manifest = all.get("manifest.json").map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(manifest.unwrap().contains(r#""indexes":["search"]"#));
    drop(writing);
    assert!(!index(&portal).join(".portal-backup").exists());

    let later = tree(&index(&portal));
    let body = json!({"archiveId": archive["id"], "dump": true});
    let plan = dry_run(&service, body.clone()).await;
    assert_eq!(plan["indexes"][0]["action"], "replace", "{plan}");
    assert_eq!(plan["indexes"][0]["files"], copied.len(), "{plan}");
    assert!(plan["warnings"].to_string().contains("must be stopped"), "{plan}");
    assert_eq!(tree(&index(&portal)), later, "a plan changes nothing");

    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(tree(&folder), copied);
    assert_eq!(names(&index(&portal)), ["20260301021500"]);

    // Alone, by naming any part of it, or its name: always whole.
    for alone in [
        json!({"archiveId": archive["id"], "only": ["extra/index/search/20260301021500/write.lock", "extra/index/search"]}),
        json!({"archiveId": archive["id"], "into": "search"}),
    ] {
        std::fs::remove_dir_all(&folder).unwrap();
        let mut other = Writer::new(&folder);
        (0..20).for_each(|_| other.step());
        std::fs::write(portal.files().join("plain.txt"), "stays").unwrap();
        let job: Value = service.post("/v1/restores", &alone).await.json().await.unwrap();
        let ended = ended(&service, &job).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert_eq!(tree(&folder), copied, "{alone}");
        assert_eq!(std::fs::read(portal.files().join("plain.txt")).unwrap(), b"stays");
    }
}

async fn ended(service: &Service, job: &Value) -> Value {
    let id = job["id"].as_str().unwrap_or_else(|| panic!("{job}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let job = service.json(&format!("/v1/jobs/{id}")).await;
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
        assert!(Instant::now() < deadline, "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The seed: "Just start the site with an empty index folder and the index will be rebuilt automatically."
#[tokio::test]
async fn without_an_index_in_the_archive_the_live_one_is_emptied() {
    let portal = PlainPortal::new(200);
    let without = Service::start(&portal.config()).await;
    let archive = without.backup("Local", json!([])).await;
    let path = local_path(&archive);
    drop(Writer::new(&index(&portal)));

    let service = Service::start(&config(&portal)).await;
    let place = service.backups().join("other.tar.gz");
    std::fs::create_dir_all(service.backups()).unwrap();
    std::fs::copy(&path, &place).unwrap();
    let body = json!({"url": format!("file://{}", place.display()), "dump": true});
    let plan = dry_run(&service, body.clone()).await;
    assert_eq!(plan["indexes"][0]["action"], "rebuild", "{plan}");
    let told = "the archive has no index search: its folder is emptied";
    assert!(plan["warnings"].to_string().contains(told), "{plan}");
    assert!(!tree(&index(&portal)).is_empty());
    let job: Value = service.post("/v1/restores", &body).await.json().await.unwrap();
    let job = ended(&service, &job).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(job["warnings"].to_string().contains(told), "{job}");
    assert_eq!(names(&index(&portal)), Vec::<String>::new());
    assert!(index(&portal).is_dir());
}

#[tokio::test]
async fn an_index_that_cannot_be_captured_is_named_and_left_out() {
    let portal = PlainPortal::new(200);
    let service = Service::start(&config(&portal)).await;
    let archive = service.backup("Local", json!([])).await;
    let job = service.json(&format!("/v1/jobs/{}", archive["id"].as_str().unwrap())).await;
    let warning = job["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("index search was left out") && warning.contains("does not exist"),
        "{job}"
    );
}

#[tokio::test]
async fn configurations_that_cannot_work_are_said() {
    let portal = PlainPortal::new(1);
    for (index, why) in [
        ("url = \"s3://bucket/index\"", "a folder of this machine"),
        (&format!("url = \"file://{}\"", portal.files().display()) as &str, "is itself"),
        ("url = \"file:///tmp/x\"\noptions = { region = \"x\" }", "no option"),
    ] {
        let service = Service::prepare_without_key(&format!(
            "{}[[portal.index]]\nname = \"search\"\n{index}\n",
            portal.config()
        ));
        let output = service.cli(&["config", "check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    drop(Writer::new(&index(&portal)));
    let service = Service::prepare(&config(&portal));
    let said = service.cli(&["config", "check"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("ok      index search"), "{said}");
}

/// The local storage lies in the index's folder: its archives are no part of it, and a restore leaves them alone.
#[tokio::test]
async fn a_storage_in_an_index_is_left_out() {
    let portal = PlainPortal::new(100);
    let root = portal.dir.path().join("index");
    drop(Writer::new(&root.join("0")));
    let config = format!(
        "[storage.local]\nroot = \"{0}/backups\"\n{1}[[portal.index]]\nname = \"search\"\nurl = \"file://{0}\"\n",
        root.display(),
        portal.config()
    );
    let service = Service::start(&config).await;
    service.backup("Local", json!([])).await;
    let archive = service.backup("Local", json!([])).await;
    let members = members(&local_path(&archive));
    let carried = below(&members, "extra/index/search/");
    assert!(carried.keys().all(|name| name.starts_with("0/")), "{:?}", carried.keys());
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(names(&root.join("backups")).len(), 2);
    assert_eq!(names(&root), ["0", "backups"]);
}

#[tokio::test]
async fn a_killed_backup_leaves_no_capture() {
    let portal = PlainPortal::new(200_000);
    let folder = index(&portal);
    let mut writer = Writer::new(&folder);
    writer.add_segment(60 << 20);
    writer.commit();
    let mut service = Service::start(&config(&portal)).await;
    service.start_backup("Local", json!([])).await;
    let place = folder.join(".portal-backup");
    let deadline = Instant::now() + Duration::from_secs(30);
    while names(&place).is_empty() {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    service.kill();
    assert_eq!(names(&place).len(), 1, "the kill came in time");
    service.restart().await;
    assert_eq!(service.finish().await["error"], "");
    wait_gone(&place).await;
    let archive = service.json("/v1/archives?limit=1").await["items"][0].clone();
    lucene::check(&below(&members(&local_path(&archive)), "extra/index/search/"));
}

async fn wait_gone(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while path.exists() {
        assert!(Instant::now() < deadline, "{:?}", names(path));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
