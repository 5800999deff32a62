//! Backups into DocSpace's documents and consumers, and what its socket service is told, from request to
//! restore.

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::docspace::{self, ADMIN_KEY, DocSpace, OTHER_KEY};
use crate::support::files::{Behaviour, DocSpaceFiles, FOLDER};
use crate::support::portal::{PlainPortal, tree};
use crate::support::s3::S3Server;
use crate::support::service::{Service, names};
use crate::support::web::{Reply, Web};

fn changed(portal: &PlainPortal) {
    std::fs::write(portal.files().join("plain.txt"), "changed").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_into_a_folder_of_the_portal_and_back() {
    let portal = PlainPortal::new(5000);
    let before = tree(&portal.files());
    let docspace = DocSpaceFiles::start(Behaviour::default()).await;
    let service = Service::start(&format!("{}{}", portal.config(), docspace.config())).await;
    // As the web client sends it.
    let folder = json!([{ "key": "folderId", "value": FOLDER }]);
    let archive = service.backup("0", folder.clone()).await;
    assert_eq!(archive["storageType"], "Documents");
    let (id, stored) =
        docspace.state().files.first_key_value().map(|(i, s)| (i.clone(), s.clone())).unwrap();
    assert_eq!(archive["url"], format!("{}/api/2.0/files/file/{id}", docspace.url()));
    assert_eq!(archive["size"], stored.content.len());
    assert_eq!(archive["name"], stored.title.as_str());
    assert_eq!(docspace.sessions(), 0);

    let link = service.progress().await["link"].as_str().unwrap().to_owned();
    let download = reqwest::get(&link).await.unwrap();
    assert_eq!(download.status(), StatusCode::OK, "{link}");
    assert!(download.bytes().await.unwrap() == stored.content);
    let output = service.cli(&["verify", archive["id"].as_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // "storage_path = file id", which restore gets as `filePath`.
    changed(&portal);
    let by_file = json!({ "backupId": "", "storageType": "0", "dump": true,
        "storageParams": [{ "key": "filePath", "value": id }] });
    service.restore(&by_file).await;
    assert_eq!(tree(&portal.files()), before);
    changed(&portal);
    service
        .restore(&json!({ "backupId": archive["id"], "dump": true,
        "storageParams": [{ "key": "fileId", "value": "unused" }] }))
        .await;
    assert_eq!(tree(&portal.files()), before);

    let path = format!("/api/2.0/backup/deletebackup/{}", archive["id"].as_str().unwrap());
    let answer = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(docspace.state().files.is_empty());
    assert!(names(&service.backups()).is_empty());
}

/// Without a key of the operator's: whoever put an archive there gets it back, with what they show DocSpace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_reach_what_they_put_into_documents() {
    let docspace = DocSpace::create().await;
    let files = DocSpaceFiles::start(Behaviour::default()).await;
    files.state().key = ADMIN_KEY.text();
    let config = format!(
        "[portal]\nlayout = \"docspace\"\n[[portal.database]]\nname = \"docspace\"\nurl = \"{}\"\n[[portal.filesystem]]\nname = \"data\"\nurl = \"file://{}\"\n[portal.docspace]\nmachine_key = \"{}\"\nurl = \"{}\"\n",
        docspace.url,
        docspace.root().display(),
        docspace::MACHINE_KEY,
        files.url()
    );
    let service = Service::start(&config).await;
    let as_admin = |method: Method, path: &str| {
        let request = service.http.request(method, format!("{}{path}", service.base));
        request.header("Authorization", format!("Bearer {}", ADMIN_KEY.text()))
    };
    let start = "/api/2.0/backup/startbackup";
    let folder = json!({ "key": "folderId", "value": FOLDER });
    let brought = json!({ "key": "PortalToken", "value": "sk-of-somebody" });
    let body = json!({ "storageType": 0, "dump": true, "storageParams": [folder, brought] });
    let refused = as_admin(Method::POST, start).json(&body).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("allow_request_credentials"));

    let body = json!({ "storageType": 0, "dump": true, "storageParams": [folder] });
    let started = as_admin(Method::POST, start).json(&body).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::OK);
    let done = service.finish().await;
    assert_eq!(done["error"], "", "{done}");
    let stored = files.state().files.first_key_value().unwrap().1.content.clone();
    let id = done["taskId"].as_str().unwrap().to_owned();
    let content = format!("/v1/archives/{id}/content");
    let read = as_admin(Method::GET, &content).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    assert!(read.bytes().await.unwrap() == stored);
    // The key of the service says nothing to DocSpace.
    assert!(!service.get(&content).await.status().is_success());
    let link = done["link"].as_str().unwrap();
    let with_login =
        service.http.get(link).header("Cookie", format!("asc_auth_key={}", ADMIN_KEY.text()));
    assert!(with_login.send().await.unwrap().bytes().await.unwrap() == stored);

    let file = docspace.root().join("Studio/00/00/01/logo/logo.png");
    let before = std::fs::read(&file).unwrap();
    let (own, path) = (json!([]), files.state().files.first_key_value().unwrap().0.clone());
    let by_path = json!([{ "key": "filePath", "value": path }]);
    for (backup, params) in [(id.as_str(), own), ("", by_path)] {
        std::fs::write(&file, "changed").unwrap();
        let body =
            json!({ "backupId": backup, "storageType": 0, "dump": true, "storageParams": params });
        let restore = as_admin(Method::POST, "/api/2.0/backup/startrestore");
        let started = restore.json(&body).send().await.unwrap();
        let status = started.status();
        assert_eq!(status, StatusCode::OK, "{}", started.text().await.unwrap());
        let done = service.finish_restore().await;
        assert_eq!(done["error"], "", "{done}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
    let delete = format!("/api/2.0/backup/deletebackup/{id}");
    let deleted = as_admin(Method::DELETE, &delete).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    assert!(files.state().files.is_empty());
}

/// facts §1: "Standalone: `Origin` header host (strict match) first": one address of DocSpace's serves all its tenants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_other_tenants_reach_their_own_documents() {
    let docspace = DocSpace::create().await;
    let files = DocSpaceFiles::start(Behaviour::default()).await;
    {
        let mut state = files.state();
        (state.key, state.origin) = (OTHER_KEY.text(), "http://second.localhost");
    }
    let config =
        format!("{}url = \"{}\"\n", super::docspace_tables::config(&docspace), files.url());
    let service = Service::start(&config).await;
    let as_other = |method: Method, path: &str| {
        let request = service.http.request(method, format!("{}{path}", service.base));
        let request = request.header("Authorization", format!("Bearer {}", OTHER_KEY.text()));
        request.header("Host", "second.localhost:8092")
    };
    let body = json!({ "storageType": "0", "dump": true,
        "storageParams": [{ "key": "folderId", "value": FOLDER }] });
    let started =
        as_other(Method::POST, "/api/2.0/backup/startbackup").json(&body).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::OK, "{}", started.text().await.unwrap());
    let done = service.finish().await;
    assert_eq!(done["error"], "", "{done}");
    assert_eq!(files.state().files.len(), 1);
    let id = done["taskId"].as_str().unwrap();
    let content = as_other(Method::GET, &format!("/v1/archives/{id}/content"));
    assert_eq!(content.send().await.unwrap().status(), StatusCode::OK);
    let delete = as_other(Method::DELETE, &format!("/api/2.0/backup/deletebackup/{id}"));
    assert_eq!(delete.send().await.unwrap().status(), StatusCode::OK);
    assert!(files.state().files.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_in_the_wrong_order_are_noticed() {
    let portal = PlainPortal::new(10);
    let behaviour = Behaviour { wrong_order: true, ..Behaviour::default() };
    let docspace = DocSpaceFiles::start(behaviour).await;
    let service = Service::start(&format!("{}{}", portal.config(), docspace.config())).await;
    service.start_backup("Documents", json!([{ "key": "folderId", "value": FOLDER }])).await;
    let done = service.finish().await;
    assert_eq!(done["status"], 4, "{done}");
    assert!(done["error"].as_str().unwrap().contains("other bytes"), "{done}");
    assert!(docspace.state().files.is_empty() && docspace.sessions() == 0);
    assert_eq!(service.json("/v1/archives").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_to_a_consumers_bucket_and_back() {
    let portal = PlainPortal::new(500);
    let before = tree(&portal.files());
    let s3 = S3Server::start().await;
    let second = s3.bucket_dir().parent().unwrap().join("second");
    std::fs::create_dir(&second).unwrap();
    let config = format!(
        "{}[consumers.s3]\nacesskey = \"{}\"\nsecretaccesskey = \"{}\"\nserviceurl = \"{}\"\n",
        portal.config(),
        s3.access_key,
        s3.secret_key,
        s3.endpoint
    );
    let service = Service::start(&config).await;
    let params = json!([{ "key": "module", "value": "s3" }, { "key": "bucket", "value": "second" },
        { "key": "region", "value": "us-east-1" }]);
    let archive = service.backup("5", params).await;
    let name = archive["name"].as_str().unwrap();
    assert_eq!(archive["url"], format!("s3://second/backup/{name}"));
    assert!(names(&second.join("backup")).contains(&name.to_owned()));
    let link = service.progress().await["link"].as_str().unwrap().to_owned();
    assert!(link.contains("X-Amz-Expires=86400"), "{link}");
    changed(&portal);
    service
        .restore(&json!({ "backupId": "", "storageType": 5, "dump": true, "storageParams": [
            { "key": "module", "value": "s3" }, { "key": "bucket", "value": "second" },
            { "key": "filePath", "value": name }] }))
        .await;
    assert_eq!(tree(&portal.files()), before);
    let body = json!({ "storageType": 5, "dump": true, "storageParams": [
        { "key": "module", "value": "s3" }, { "key": "bucket", "value": "second" },
        { "key": "serviceurl", "value": "http://169.254.169.254" }] });
    let answer = service.post("/api/2.0/backup/startbackup", &body).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

const MACHINE_KEY: &str = "1123askdasjklasbnd";

/// Checks the signature as the socket service does, then keeps the message.
async fn hub(heard: Arc<Mutex<Vec<(String, Value)>>>, status: u16) -> Web {
    Web::start(move |asked| {
        let header = asked.header("authorization").to_owned();
        let (time, tag) = header.strip_prefix("ASC socketio:").unwrap().split_once(':').unwrap();
        assert!(time.len() == 14 && time.bytes().all(|b| b.is_ascii_digit()), "{header}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, MACHINE_KEY.as_bytes());
        let tag = STANDARD.decode(tag).unwrap();
        hmac::verify(&key, format!("{time}\nsocketio").as_bytes(), &tag).unwrap();
        let body = serde_json::from_slice(&asked.body).unwrap();
        heard.lock().unwrap().push((format!("{} {}", asked.method, asked.path), body));
        Reply::new(status, "")
    })
    .await
}

fn with_hub(portal: &PlainPortal, url: &str) -> String {
    format!(
        "{}[portal.docspace]\nmachine_key = \"{MACHINE_KEY}\"\nsocket_url = \"{url}/\"\n",
        portal.config()
    )
}

/// "Server POSTs JSON to `{web:hub:internal}/controller/files/{backup-progress|end-backup|
/// restore-progress|end-restore}`: `{tenantId,dump,percentage}` or `{tenantId,dump,result:BackupProgress}`."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_service_is_told() {
    let portal = PlainPortal::new(5000);
    let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let hub = hub(heard.clone(), 200).await;
    let service = Service::start(&with_hub(&portal, &hub.url)).await;
    let archive = service.backup("Local", json!([])).await;
    let ended = |name: &str| {
        let heard = heard.lock().unwrap();
        heard.iter().any(|(path, _)| path == &format!("POST /controller/files/end-{name}"))
    };
    let wait = async |name: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !ended(name) {
            assert!(std::time::Instant::now() < deadline, "{:?}", heard.lock().unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        std::mem::take(&mut *heard.lock().unwrap())
    };
    let check = |messages: &[(String, Value)], name: &str, kind: i64| {
        let (last, told) = messages.split_last().unwrap();
        let mut before = -1;
        for (path, body) in told {
            assert_eq!(path, &format!("POST /controller/files/{name}-progress"));
            let percent = body["percentage"].as_i64().unwrap();
            assert!(percent > before, "told twice, or it fell: {messages:?}");
            before = percent;
            assert_eq!(body, &json!({ "tenantId": 1, "dump": true, "percentage": percent }));
        }
        assert!(!told.is_empty());
        let (path, body) = last;
        assert_eq!(path, &format!("POST /controller/files/end-{name}"));
        assert_eq!((&body["tenantId"], &body["dump"]), (&json!(1), &json!(true)));
        let result = &body["result"];
        assert_eq!((&result["isCompleted"], &result["progress"]), (&json!(true), &json!(100)));
        assert_eq!((&result["error"], &result["status"]), (&json!(""), &json!(2)));
        assert_eq!(result["backupProgressEnum"], kind);
        let link = if name == "backup" {
            format!("{}/v1/archives/{}/content", service.base, result["taskId"].as_str().unwrap())
        } else {
            String::new()
        };
        assert_eq!(result["link"], link, "without a token: everybody listens");
    };
    let messages = wait("backup").await;
    check(&messages, "backup", 0);
    assert_eq!(messages.last().unwrap().1["result"]["taskId"], archive["id"]);
    service.restore(&json!({ "backupId": archive["id"], "dump": true })).await;
    check(&wait("restore").await, "restore", 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_service_that_fails_fails_no_job() {
    let portal = PlainPortal::new(100);
    let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let hub = hub(heard.clone(), 500).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for url in [&hub.url, &silent] {
        let service = Service::start(&with_hub(&portal, url)).await;
        service.backup("Local", json!([])).await;
    }
    assert!(!heard.lock().unwrap().is_empty());
}

/// No worker runs it, so none could tell of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_that_was_cancelled_while_it_waited_is_told() {
    let portal = PlainPortal::new(10);
    let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let hub = hub(heard.clone(), 200).await;
    let mut service = Service::prepare(&with_hub(&portal, &hub.url));
    service.reconfigure(|text| text.replace("[server]\n", "[server]\nrole = \"api\"\n"));
    service.restart().await;
    let job = service.start_backup("Local", json!([])).await;
    let answer = service.post("/api/2.0/backup/cancelbackup", &json!({})).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["response"], true);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while heard.lock().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].0, "POST /controller/files/end-backup");
    let result = &heard[0].1["result"];
    assert_eq!((&result["taskId"], &result["status"]), (&job["taskId"], &json!(3)));
    assert_eq!(result["isCompleted"], true);
}
