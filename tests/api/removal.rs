//! What goes when an archive goes, and what stays.

use std::sync::Arc;

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use jiff::{SignedDuration, Timestamp};
use portal_backup::app::App;
use portal_backup::catalog::{ArchiveRecord, Scope};
use portal_backup::config::{self, Config};
use portal_backup::http::{HttpState, application};
use portal_backup::ops::backup::Mode;
use portal_backup::ops::schedules::{self, SetSchedule};
use portal_backup::storage::{StorageParams, StorageType};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::increments::front_door::{ended, increment};
use crate::support::catalogs::record;
use crate::support::clocked::{Clocked, nightly};
use crate::support::portal::PlainPortal;
use crate::support::s3::{Request, S3Server};
use crate::support::service::{Service, names};

fn own_bucket(s3: &S3Server) -> String {
    let options: Vec<_> = s3.options().iter().map(|(k, v)| format!("{k} = \"{v}\"")).collect();
    format!(
        "[storage.custom_cloud]\nurl = \"s3://{}/own\"\noptions = {{ {} }}\n",
        s3.bucket,
        options.join(", ")
    )
}

fn deletes(request: &Request) -> bool {
    request.method == "DELETE" || request.method == "POST" && request.uri.ends_with("delete")
}

const LOCKED: (u16, &str, &str) = (403, "AccessDenied", "It is locked.");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_stay_while_the_first_storage_refuses() {
    let portal = PlainPortal::new(10);
    let s3 = S3Server::start().await;
    let copy = "[[storage.copy]]\nname = \"disk\"\nurl = \"file://{dir}/second\"\n";
    let service = Service::start(&format!("{}{copy}{}", own_bucket(&s3), portal.config())).await;
    let archive = service.backup("CustomCloud", json!([])).await;
    let path = format!("/v1/archives/{}", archive["id"].as_str().unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while service.json(&path).await["copies"][0]["state"] != "stored" {
        assert!(std::time::Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let second = service.dir.path().join("second");
    s3.refuse(|request| deletes(request).then_some(LOCKED));
    let refused = service.request(Method::DELETE, &path).send().await.unwrap();
    assert!(!refused.status().is_success());
    assert_eq!(names(&second).len(), 1);
    assert_eq!(service.json(&path).await["copies"][0]["state"], "stored");
    s3.refuse(|_| None);
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!((names(&second).len(), names(&s3.bucket_dir().join("own")).len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_fails_in_the_middle_breaks_no_chain() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3Server::start().await;
    let config = format!("{}{}", own_bucket(&s3), portal.config());
    let clocked = Clocked::open(dir.path(), &config, "2026-06-01T12:00:00Z").await;
    let id = Uuid::new_v4();
    let nightly = |mode| SetSchedule {
        id: Some(id),
        storage_type: StorageType::CustomCloud,
        mode,
        ..nightly()
    };
    schedules::set(&clocked.app, nightly(Mode::Incremental)).await.unwrap();
    clocked.run("2026-06-02T03:00:00Z").await;
    clocked.run("2026-06-03T03:00:00Z").await;
    let folder = s3.bucket_dir().join("own");
    let chain = names(&folder);
    assert_eq!(chain.len(), 2, "an increment and what it needs");
    schedules::set(&clocked.app, nightly(Mode::Full)).await.unwrap();
    // The increment goes first, and does not.
    let mut refused = false;
    s3.refuse(move |request| {
        (deletes(request) && !std::mem::replace(&mut refused, true)).then_some(LOCKED)
    });
    clocked.run("2026-06-04T03:00:00Z").await;
    let left = names(&folder);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(chain.iter().all(|name| left.contains(name)), "{left:?}");
    clocked.run("2026-06-05T03:00:00Z").await;
    assert_eq!(names(&folder).len(), 1);
}

#[tokio::test]
async fn what_is_gone_holds_nothing() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let full = service.backup("Local", json!([])).await;
    let (child, _) = increment(&service).await;
    assert_eq!(child["parentId"], full["id"]);
    let path = format!("/v1/archives/{}", full["id"].as_str().unwrap());
    let refused = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    std::fs::remove_file(service.backups().join(child["name"].as_str().unwrap())).unwrap();
    // A prune job sees that it has vanished.
    let pruned = service.post("/v1/retention/apply", &json!({})).await;
    assert_eq!(ended(&service, pruned).await["state"], "succeeded");
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_consolidated_archive_is_copied() {
    let portal = PlainPortal::new(10);
    let copy = "[[storage.copy]]\nname = \"disk\"\nurl = \"file://{dir}/second\"\n";
    let service = Service::start(&format!("{copy}{}", portal.config())).await;
    service.backup("Local", json!([])).await;
    let (child, _) = increment(&service).await;
    let path = format!("/v1/archives/{}/consolidate", child["id"].as_str().unwrap());
    let job = ended(&service, service.post(&path, &json!({})).await).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let path = format!("/v1/archives/{}", job["archiveId"].as_str().unwrap());
    assert_eq!(service.json(&path).await["copies"][0]["name"], "disk");
}

/// An application without jobs, an archive's file, and a record of it.
struct Place {
    dir: tempfile::TempDir,
    app: Arc<App>,
    key: String,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let url = format!("sqlite://{}/catalog.db", dir.path().display());
        config.catalog.url = config::Secret::new(url);
        config.storage.local.root = dir.path().join("backups");
        std::fs::create_dir(dir.path().join("backups")).unwrap();
        std::fs::write(dir.path().join("backups/a.tar.gz"), "content").unwrap();
        let app = App::build(config).await.unwrap();
        let (_, key) = app.catalog.api_keys().create("test", Scope::Write).await.unwrap();
        Self { dir, app, key: key.expose().to_owned() }
    }

    async fn record(&self, days: i64, size: u64) -> Uuid {
        let storage = self.app.storages.resolve(StorageType::Local, &StorageParams::new());
        let record = ArchiveRecord {
            url: storage.unwrap().object_url("a.tar.gz").to_string(),
            size,
            created_on: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days),
            ..record("a.tar.gz")
        };
        assert!(self.app.catalog.archives().insert(&record).await.unwrap());
        record.id
    }

    async fn ask(&self, request: TestRequest) -> (u16, Vec<u8>) {
        let state = Data::new(HttpState::new(Arc::clone(&self.app)).unwrap());
        let service = init_service(application(state)).await;
        let request = request.insert_header(("Authorization", self.key.as_str())).to_request();
        let answer = call_service(&service, request).await;
        (answer.status().as_u16(), read_body(answer).await.to_vec())
    }

    fn files(&self) -> usize {
        names(&self.dir.path().join("backups")).len()
    }
}

/// The file of the older one was taken away by hand, and another was stored under its name.
#[actix_web::test]
async fn of_two_records_of_one_file_the_newer_has_it() {
    let place = Place::new().await;
    let (older, newer) = (place.record(1, 7).await, place.record(2, 7).await);
    for (id, left) in [(older, 1), (newer, 0)] {
        let (status, _) = place.ask(TestRequest::delete().uri(&format!("/v1/archives/{id}"))).await;
        assert_eq!((status, place.files()), (204, left));
    }
}

/// As of DocSpace's archives that were taken over while their storage was away.
#[actix_web::test]
async fn an_archive_of_unknown_size_is_given_whole() {
    let place = Place::new().await;
    let path = format!("/v1/archives/{}", place.record(1, 0).await);
    let content = place.ask(TestRequest::get().uri(&format!("{path}/content"))).await;
    assert_eq!(content, (200, b"content".to_vec()));
    let (_, shown) = place.ask(TestRequest::get().uri(&path)).await;
    assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap()["size"], 7);
}
