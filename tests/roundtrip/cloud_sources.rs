//! Portals whose files lie in a bucket: backed up and restored.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

use crate::support::azure::Container;
use crate::support::gcs::GcsServer;
use crate::support::portal::{PlainPortal, members, noise, tree};
use crate::support::s3::S3Server;
use crate::support::service::Service;

type Files = BTreeMap<String, Vec<u8>>;

fn files() -> Files {
    let mut files: Files = (0..300)
        .map(|number| (format!("many/{number:03}"), format!("file {number}").into_bytes()))
        .collect();
    files.insert("ö ü/100 % & #1.txt".to_owned(), b"odd".to_vec());
    files.insert("large.bin".to_owned(), noise(9 << 20));
    files
}

/// Backs a portal up whose files are `files()`, spoils them, and restores.
async fn round(
    url: &str,
    options: Vec<(String, String)>,
    spoil: impl AsyncFnOnce(),
    now: impl AsyncFnOnce() -> Files,
) {
    let portal = PlainPortal::new(10);
    // Literal strings: a Google account's key has quotes and line ends of its own.
    let options: Vec<_> = options.iter().map(|(k, v)| format!("{k} = '{v}'")).collect();
    let local = format!("url = \"file://{}\"", portal.files().display());
    let bucket = format!("url = \"{url}\"\noptions = {{ {} }}", options.join(", "));
    let config = portal.config().replace(&local, &bucket);
    assert!(config.contains(url));
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let carried = members(&service.backups().join(archive["name"].as_str().unwrap()));
    for (path, content) in files() {
        assert!(carried[&format!("storage/{path}")] == content, "{path}");
    }
    spoil().await;
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let now = now().await;
    assert_eq!(now.keys().collect::<Vec<_>>(), files().keys().collect::<Vec<_>>());
    assert!(now == files());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_s3() {
    let server = S3Server::start().await;
    let folder = server.bucket_dir().join("portal");
    for (path, content) in files() {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let spoil = async || {
        std::fs::remove_file(folder.join("large.bin")).unwrap();
        std::fs::write(folder.join("many/000"), "spoiled").unwrap();
        std::fs::write(folder.join("later"), "x").unwrap();
    };
    round("s3://archives/portal", server.options(), spoil, async || tree(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_google_cloud_storage() {
    let server = GcsServer::start().await;
    for (path, content) in files() {
        server.put(&format!("portal/{path}"), content);
    }
    let spoil = async || {
        server.remove("portal/large.bin");
        server.put("portal/many/000", "spoiled");
        server.put("portal/later", "x");
    };
    let now = async || {
        let keys = server.all().into_iter();
        let content = |key: &str| server.content(key).unwrap().to_vec();
        keys.map(|key| (key.trim_start_matches("portal/").to_owned(), content(&key))).collect()
    };
    round("gs://archives/portal", server.options(), spoil, now).await;
}

/// A proof lies in a folder, and no folder can have such files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_no_folder_takes_are_proved() {
    let server = GcsServer::start().await;
    let long = "x".repeat(1000);
    for name in ["a", "a/b", &long] {
        server.put(&format!("portal/{name}"), format!("content of {name}"));
    }
    let portal = PlainPortal::new(10);
    let options: Vec<_> = server.options().iter().map(|(k, v)| format!("{k} = '{v}'")).collect();
    let local = format!("url = \"file://{}\"", portal.files().display());
    let bucket = format!("url = \"gs://archives/portal\"\noptions = {{ {} }}", options.join(", "));
    let service = Service::start(&portal.config().replace(&local, &bucket)).await;
    let archive = service.backup("Local", json!([])).await;
    let verify = format!("/v1/archives/{}/verify", archive["id"].as_str().unwrap());
    let job: serde_json::Value =
        service.post(&verify, &json!({"restore": true})).await.json().await.unwrap();
    loop {
        let job = service.json(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
        match job["state"].as_str().unwrap() {
            "queued" | "running" => tokio::time::sleep(Duration::from_millis(50)).await,
            "succeeded" => break,
            _ => panic!("{job}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_azure() {
    let container = Container::start().await;
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(&container.name);
    for (name, value) in container.options() {
        builder = builder.with_config(name.parse().unwrap(), value);
    }
    let store = builder.build().unwrap();
    let put = async |path: &str, content: Vec<u8>| {
        let path = object_store::path::Path::parse(format!("portal/{path}")).unwrap();
        store.put(&path, content.into()).await.unwrap();
    };
    for (path, content) in files() {
        put(&path, content).await;
    }
    let spoil = async || {
        store.delete(&"portal/large.bin".into()).await.unwrap();
        put("many/000", b"spoiled".to_vec()).await;
        put("later", b"x".to_vec()).await;
    };
    let now = async || {
        let mut now = Files::new();
        let all: Vec<_> = store.list(None).try_collect().await.unwrap();
        for object in all {
            let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            let path = object.location.to_string();
            now.insert(path.trim_start_matches("portal/").to_owned(), content.to_vec());
        }
        now
    };
    let url = format!("az://{}/portal", container.name);
    round(&url, container.options(), spoil, now).await;
}
