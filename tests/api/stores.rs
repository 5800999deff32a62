//! Backups into DocSpace's documents and consumers, and what its socket service is told, from request to
//! restore.

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

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
        assert_eq!(result["link"], "", "everybody who listens would get the archive");
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
