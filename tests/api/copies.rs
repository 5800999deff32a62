//! `[[storage.copy]]`: further storages for every archive.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::portal::{PlainPortal, noise, tree};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::S3Server;
use crate::support::service::{Service, names};

/// `[[storage.copy]]` in a bucket of the server, reached by another endpoint if one is given.
fn in_bucket(s3: &S3Server, endpoint: Option<&str>) -> String {
    format!(
        "[[storage.copy]]\nname = \"cloud\"\nurl = \"s3://{}/copies\"\n{}\n",
        s3.bucket,
        s3.configured(endpoint, &[("max_retries", "0")])
    )
}

const ON_DISK: &str = "[[storage.copy]]\nname = \"disk\"\nurl = \"file://{dir}/second\"\n";

/// The copies of the newest archive, once this is so.
async fn until(service: &Service, what: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let archives = service.json("/v1/archives?limit=1").await;
        let copies = archives["items"][0]["copies"].as_array().unwrap().clone();
        if what(&copies) {
            return copies;
        }
        assert!(Instant::now() < deadline, "{copies:?} {}", service.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn all_are(state: &str) -> impl Fn(&[Value]) -> bool {
    move |copies| copies.iter().all(|copy| copy["state"] == state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_copied_restored_from_a_copy_and_deleted_with_all() {
    let portal = PlainPortal::new(1000);
    let s3 = S3Server::start().await;
    let config = format!("{ON_DISK}{}{}", in_bucket(&s3, None), portal.config());
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let copies = until(&service, all_are("stored")).await;
    assert_eq!(copies.len(), 2);
    let name = archive["name"].as_str().unwrap();
    let original = std::fs::read(service.backups().join(name)).unwrap();
    let second = service.dir.path().join("second");
    let bucket = s3.bucket_dir().join("copies");
    for folder in [&second, &bucket] {
        assert_eq!(names(folder), [name]);
        assert!(std::fs::read(folder.join(name)).unwrap() == original);
    }
    for copy in &copies {
        assert!(copy["url"].as_str().unwrap().ends_with(name), "{copy}");
        assert!(copy["verifiedOn"].is_string() && copy["error"].is_null(), "{copy}");
    }
    let jobs = service.json("/v1/jobs?kind=copy").await;
    assert_eq!(jobs["total"], 2, "{jobs}");
    assert!(jobs["items"].as_array().unwrap().iter().all(|job| job["state"] == "succeeded"));
    let list = String::from_utf8(service.cli(&["list"]).stdout).unwrap();
    assert!(
        list.contains("copy disk: verified") && list.contains("copy cloud: verified"),
        "{list}"
    );

    // Each by its own address.
    for copy in &copies {
        let request = json!({"url": copy["url"], "dump": true, "dryRun": true});
        let plan = service.post("/v1/restores", &request).await;
        let (status, text) = (plan.status(), plan.text().await.unwrap());
        assert!(status.is_success() && text.contains("\"problems\":[]"), "{status} {text}");
    }

    // The first object is gone, and so is the first copy.
    let files = tree(&portal.files());
    std::fs::remove_file(service.backups().join(name)).unwrap();
    std::fs::remove_file(second.join(name)).unwrap();
    std::fs::write(portal.files().join("plain.txt"), "spoiled").unwrap();
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert!(tree(&portal.files()) == files);
    let jobs = service.json("/v1/jobs?kind=restore").await;
    let warnings = jobs["items"][0]["warnings"].to_string();
    assert!(warnings.contains("copy cloud at s3://archives/copies/"), "{warnings}");

    // What has vanished is noted by the next prune job.
    let pruned = service.post("/v1/retention/apply", &json!({})).await;
    assert!(pruned.status().is_success(), "{}", pruned.text().await.unwrap());
    let gone = |copies: &[Value]| {
        copies.iter().any(|copy| copy["name"] == "disk" && copy["state"] == "missing")
    };
    until(&service, gone).await;

    let path = format!("/v1/archives/{}", archive["id"].as_str().unwrap());
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(names(&bucket), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_is_tried_again() {
    let portal = PlainPortal::new(10);
    let s3 = S3Server::start().await;
    s3.refuse(|_| Some((403, "AccessDenied", "Not yet.")));
    let service = Service::start(&format!("{}{}", in_bucket(&s3, None), portal.config())).await;
    service.backup("Local", json!([])).await;
    let copies = until(&service, all_are("failed")).await;
    assert!(copies[0]["error"].as_str().unwrap().contains("denied"), "{copies:?}");
    assert!(copies[0]["nextTry"].is_string(), "{copies:?}");
    s3.refuse(|_| None);
    let copies = until(&service, all_are("stored")).await;
    assert!(copies[0]["error"].is_null() && copies[0]["nextTry"].is_null(), "{copies:?}");
    assert_eq!(s3.open_uploads(), Vec::<String>::new());
}

/// A service whose copies take seconds, with a backup made.
async fn slow() -> (PlainPortal, S3Server, Proxy, Service) {
    let portal = PlainPortal::new(10);
    std::fs::write(portal.files().join("large.bin"), noise(40 << 20)).unwrap();
    let s3 = S3Server::start().await;
    let faults = Faults { delay: Duration::from_millis(20), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let config = format!("{}{}", in_bucket(&s3, Some(&proxy.endpoint)), portal.config());
    let service = Service::start(&config).await;
    service.backup("Local", json!([])).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.passed() < 12 << 20 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (portal, s3, proxy, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storages_that_hang_hold_back_nothing_else() {
    let portal = PlainPortal::new(10);
    let s3 = S3Server::start().await;
    // Nothing ever passes.
    let faults = Faults { delay: Duration::from_secs(3600), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let hangs = |name: &str| {
        let target = in_bucket(&s3, Some(&proxy.endpoint));
        let target = target.replace("/copies\"", &format!("/{name}\""));
        target.replace("name = \"cloud\"", &format!("name = \"{name}\""))
    };
    let config = format!("{}{}{}{ON_DISK}{}", hangs("a"), hangs("b"), hangs("c"), portal.config());
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let is_stored =
        |copies: &[Value]| copies.iter().any(|c| c["name"] == "disk" && c["state"] == "stored");
    let copies = until(&service, is_stored).await;
    assert!(copies.iter().filter(|c| c["name"] != "disk").all(|c| c["state"] == "waiting"));
    let verify = format!("/v1/archives/{}/verify", archive["id"].as_str().unwrap());
    service.post(&verify, &json!({})).await;
    let deadline = Instant::now() + Duration::from_secs(90);
    while service.json("/v1/jobs?kind=verify&state=succeeded").await["total"] != 1 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_copy_is_made_all_the_same() {
    let (_portal, s3, proxy, mut service) = slow().await;
    service.kill();
    assert!(!s3.open_uploads().is_empty());
    proxy.heal();
    service.restart().await;
    until(&service, all_are("stored")).await;
    assert_eq!(names(&s3.bucket_dir().join("copies")).len(), 1);
    assert_eq!(s3.open_uploads(), Vec::<String>::new());
    assert_eq!(service.json("/v1/jobs?kind=copy").await["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_copy_leaves_nothing_and_is_not_made_again() {
    let (_portal, s3, proxy, service) = slow().await;
    let jobs = service.json("/v1/jobs?kind=copy&state=running").await;
    let id = jobs["items"][0]["id"].as_str().unwrap();
    // While it is read, its archive stays.
    let archives = service.json("/v1/archives?limit=1").await;
    let path = format!("/v1/archives/{}", archives["items"][0]["id"].as_str().unwrap());
    let refused = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let path = format!("/v1/jobs/{id}");
    let cancelled = service.request(Method::DELETE, &path).send().await.unwrap();
    assert!(cancelled.status().is_success());
    proxy.heal();
    until(&service, all_are("cancelled")).await;
    assert_eq!(s3.open_uploads(), Vec::<String>::new());
    assert_eq!(names(&s3.bucket_dir().join("copies")), Vec::<String>::new());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(service.json("/v1/jobs?kind=copy").await["total"], 1);
}

#[tokio::test]
async fn a_command_makes_copies_without_a_service() {
    let portal = PlainPortal::new(10);
    let service = Service::prepare(&format!("{ON_DISK}{}", portal.config()));
    let output = service.cli(&["backup"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("verified copy disk"), "{said}");
    assert_eq!(names(&service.dir.path().join("second")), names(&service.backups()));
}

/// Waits until this is so.
async fn becomes(service: &Service, mut what: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !what().await {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_a_service_makes_each_copy_once() {
    let portal = PlainPortal::new(10);
    std::fs::write(portal.files().join("large.bin"), noise(40 << 20)).unwrap();
    let s3 = S3Server::start().await;
    let faults = Faults { delay: Duration::from_millis(150), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let bucket = in_bucket(&s3, Some(&proxy.endpoint));
    let service = Service::start(&format!("{ON_DISK}{bucket}{}", portal.config())).await;
    let mut command = service.spawn(&["backup"]);
    // The command is at the first of them, which is slow; the service makes the other.
    becomes(&service, async || {
        let archives = service.json("/v1/archives?limit=1").await;
        let copies = archives["items"][0]["copies"].as_array().cloned().unwrap_or_default();
        copies.iter().any(|copy| copy["name"] == "disk" && copy["state"] == "stored")
    })
    .await;
    assert!(names(&s3.bucket_dir().join("copies")).is_empty());
    proxy.heal();
    let ended = tokio::task::spawn_blocking(move || command.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    until(&service, all_are("stored")).await;
    assert_eq!(names(&service.dir.path().join("second")), names(&service.backups()));
    assert_eq!(names(&s3.bucket_dir().join("copies")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_ends_after_its_archive_was_deleted_leaves_nothing() {
    let (_portal, s3, proxy, service) = slow().await;
    // As a deletion does that began before the copy.
    let db = rusqlite::Connection::open(service.dir.path().join("catalog.db")).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    db.execute("delete from portal_backup_copies", []).unwrap();
    proxy.heal();
    becomes(&service, async || service.json("/v1/jobs?kind=copy&state=failed").await["total"] == 1)
        .await;
    let jobs = service.json("/v1/jobs?kind=copy").await;
    assert!(jobs["items"][0]["error"].as_str().unwrap().contains("was deleted"), "{jobs}");
    assert_eq!(s3.open_uploads(), Vec::<String>::new());
    assert_eq!(names(&s3.bucket_dir().join("copies")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_serves_for_an_archive_that_is_cut_gone_or_no_longer_configured() {
    let portal = PlainPortal::new(1000);
    let mut service = Service::start(&format!("{ON_DISK}{}", portal.config())).await;
    let archive = service.backup("Local", json!([])).await;
    until(&service, all_are("stored")).await;
    let (id, name) = (archive["id"].as_str().unwrap(), archive["name"].as_str().unwrap());
    let content = std::fs::read(service.backups().join(name)).unwrap();
    let path = format!("/v1/archives/{id}/content");
    let download = async |service: &Service| service.get(&path).await.bytes().await.unwrap();

    std::fs::write(service.backups().join(name), &content[..content.len() / 2]).unwrap();
    assert!(download(&service).await == content);
    std::fs::remove_file(service.backups().join(name)).unwrap();
    assert!(download(&service).await == content);
    // Once it is known to be gone, DocSpace's page lists it all the same.
    becomes(&service, async || {
        let history = service.json("/api/2.0/backup/getbackuphistory?dump=true").await;
        assert_eq!(history["response"][0]["id"], id, "{history}");
        service.log().contains("an archive is gone from its storage")
    })
    .await;

    service.kill();
    service.reconfigure(|text| text.replace("/backups\"", "/elsewhere\""));
    service.restart().await;
    let files = tree(&portal.files());
    std::fs::write(portal.files().join("plain.txt"), "spoiled").unwrap();
    service.restore(&json!({"backupId": id, "dump": true})).await;
    assert!(tree(&portal.files()) == files);
    let verified = service.cli(&["verify", id]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let entries = service.json(&format!("/v1/archives/{id}/entries?limit=1")).await;
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_out_of_reach_counts_for_nothing_and_goes_later() {
    let portal = PlainPortal::new(10);
    let mut service = Service::start(&format!("{ON_DISK}{}", portal.config())).await;
    let archive = service.backup("Local", json!([])).await;
    until(&service, all_are("stored")).await;
    let second = service.dir.path().join("second");
    service.kill();
    service.reconfigure(|text| text.replace("/second\"", "/third\""));
    service.restart().await;
    until(&service, all_are("unreachable")).await;
    let path = format!("/v1/archives/{}", archive["id"].as_str().unwrap());
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(names(&second).len(), 1);

    service.kill();
    service.reconfigure(|text| text.replace("/third\"", "/second\""));
    service.restart().await;
    becomes(&service, async || names(&second).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_imported_stays_when_the_first_is_deleted() {
    let portal = PlainPortal::new(10);
    let copy = ON_DISK.replace("/second", "/backups/second");
    let service = Service::start(&format!("{copy}{}", portal.config())).await;
    let archive = service.backup("Local", json!([])).await;
    until(&service, all_are("stored")).await;
    let imported = service.cli(&["import", "local", "--json"]);
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    let other = imported["added"][0]["id"].as_str().unwrap();
    let path = format!("/v1/archives/{}", archive["id"].as_str().unwrap());
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let verified = service.cli(&["verify", other]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Amazon lets its owner hide a locked archive, so nobody may try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_knows_which_archives_are_locked() {
    let portal = PlainPortal::new(10);
    let s3 = S3Server::start().await;
    let bucket = in_bucket(&s3, None)
        .replace("[[storage.copy]]\nname = \"cloud\"", "[storage.custom_cloud]");
    let config =
        format!("{}{}", bucket.replace(" }", ", object_lock_days = \"3\" }"), portal.config());
    let service = Service::start(&config).await;
    service.backup("CustomCloud", json!([])).await;
    let mut other = Service::prepare(&config);
    let imported = other.cli(&["import", "custom-cloud", "--json"]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    other.restart().await;
    let path = format!("/v1/archives/{}", imported["added"][0]["id"].as_str().unwrap());
    let refused = other.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("locked"));
}
