//! Portals whose files lie in a bucket: backed up and restored.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};

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

/// A service whose portal has its files in a bucket.
async fn serving(url: &str, options: Vec<(String, String)>) -> (PlainPortal, Service) {
    let portal = PlainPortal::new(10);
    // Literal strings: a Google account's key has quotes and line ends of its own.
    let options: Vec<_> = options.iter().map(|(k, v)| format!("{k} = '{v}'")).collect();
    let local = format!("url = \"file://{}\"", portal.files().display());
    let bucket = format!("url = \"{url}\"\noptions = {{ {} }}", options.join(", "));
    let config = portal.config().replace(&local, &bucket);
    assert!(config.contains(url));
    let service = Service::start(&config).await;
    (portal, service)
}

/// The members of an archive, and the warnings of its job.
async fn told(service: &Service, archive: &Value) -> (Files, String) {
    let job = service.json("/v1/jobs?kind=backup&limit=1").await["items"][0].clone();
    let carried = members(&service.backups().join(archive["name"].as_str().unwrap()));
    (carried.into_iter().collect(), job["warnings"].to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys_come_back_as_they_were() {
    let server = GcsServer::start().await;
    let large = noise(9 << 20);
    // With `portal/` as long as keys get, some longer by their names than as they are.
    let long = "x".repeat(1017);
    let (broken, odd) = (format!("{}\n{}", "y".repeat(500), "z".repeat(516)), "\n".repeat(1017));
    let before = [
        ("plain", &b"plain"[..]),
        ("a//b", b"a//b"),
        ("/lead", b"lead"),
        ("line\nbreak 100%/\\", b"line"),
        ("tab\there//", b""),
        ("mark/", b"content"),
        (&long, b"long"),
        (&broken, b"broken"),
        (&odd, &large),
        ("large//\u{1}", &large),
    ];
    let key = |name: &str| format!("portal/{name}");
    for (name, content) in before {
        server.put(&key(name), content.to_vec());
    }
    server.put("portal/../up", "never");
    let (_portal, service) = serving("gs://archives/portal", server.options()).await;
    let archive = service.backup("Local", json!([])).await;
    let (carried, warnings) = told(&service, &archive).await;
    assert!(warnings.contains("portal/../up") && !warnings.contains("lead"), "{warnings}");
    for (member, content) in [
        ("plain", &b"plain"[..]),
        (".portal-backup-keys/a/%/b", b"a//b"),
        (".portal-backup-keys/%/lead", b"lead"),
        (".portal-backup-keys/line%0Abreak 100%25/%5C", b"line"),
        (".portal-backup-keys/tab%09here/%/%", b""),
        (".portal-backup-keys/mark/%", b"content"),
        (".portal-backup-keys/large/%/%01", &large),
    ] {
        assert!(carried[&format!("storage/{member}")] == content, "{member}");
    }
    // Changed, removed, and added.
    server.put("portal/a//b", "spoiled");
    server.remove("portal/large//\u{1}");
    server.remove("portal/mark/");
    server.put("portal/later//x", "later");
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let expected: Files =
        before.iter().map(|(name, content)| (key(name), content.to_vec())).collect();
    let mut now: Files = server
        .all()
        .into_iter()
        .map(|key| (key.clone(), server.content(&key).unwrap_or_default().to_vec()))
        .collect();
    assert_eq!(now.remove("portal/../up").as_deref(), Some(&b"never"[..]));
    assert_eq!(now.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(now == expected);
}

/// There and on Azure requests are signed with their addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys_come_back_to_s3() {
    let server = S3Server::start().await;
    let folder = server.bucket_dir().join("portal");
    std::fs::create_dir_all(folder.join("x")).unwrap();
    for name in ["x/line\nbreak", "tab\t%"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let (_portal, service) = serving("s3://archives/portal", server.options()).await;
    let archive = service.backup("Local", json!([])).await;
    let (carried, warnings) = told(&service, &archive).await;
    assert!(!warnings.contains("tab"), "{warnings}");
    assert_eq!(carried["storage/.portal-backup-keys/x/line%0Abreak"], b"x/line\nbreak");
    std::fs::write(folder.join("x/line\nbreak"), "spoiled").unwrap();
    std::fs::remove_file(folder.join("tab\t%")).unwrap();
    std::fs::write(folder.join("later\n"), "later").unwrap();
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    let now = tree(&folder);
    assert_eq!(now.keys().collect::<Vec<_>>(), ["tab\t%", "x/line\nbreak"]);
    assert!(now.iter().all(|(name, content)| name.as_bytes() == content));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys_and_tags_come_back_to_azure() {
    let container = Container::start().await;
    let tags = "team=a%20b&state=new";
    for name in ["a//b", "plain"] {
        container.put(&format!("portal/{name}"), name, tags).await;
    }
    let url = format!("az://{}/portal", container.name);
    let (_portal, service) = serving(&url, container.options()).await;
    let archive = service.backup("Local", json!([])).await;
    let (carried, _) = told(&service, &archive).await;
    assert_eq!(carried["storage/.portal-backup-keys/a/%/b"], b"a//b");
    for name in ["a//b", "plain"] {
        container.put(&format!("portal/{name}"), "spoiled", tags).await;
    }
    container.put("portal/later//x", "later", "").await;
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    for name in ["a//b", "plain"] {
        let key = format!("portal/{name}");
        assert_eq!(container.get(&key, &[]).await.as_deref(), Some(name));
        let tags = container.get(&key, &[("comp", "tags")]).await.unwrap();
        assert!(tags.contains("<Key>team</Key><Value>a b</Value>"), "{tags}");
        assert!(tags.contains("<Key>state</Key><Value>new</Value>"), "{tags}");
    }
    assert_eq!(container.get("portal/later//x", &[]).await, None);
}

/// Whoever made the archive chose its names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_keys_lead_nowhere_else() {
    let server = GcsServer::start().await;
    server.put("portal/plain", "plain");
    let (_portal, service) = serving("gs://archives/portal", server.options()).await;
    let archive = service.backup("Local", json!([])).await;
    for name in ["%2E%2E/%2E%2E/other", "a%2Fb", ".portal-backup/%/x", "a/%2e%2e"] {
        let from = service.backups().join(archive["name"].as_str().unwrap());
        let hostile = service.backups().join("hostile.tar.gz");
        let mut members = members(&from);
        members.remove("manifest.json");
        members.insert(format!("storage/.portal-backup-keys/{name}"), b"hostile".to_vec());
        let packed = flate2::write::GzEncoder::new(
            std::fs::File::create(&hostile).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(packed);
        for (path, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, &content[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        let output = service.cli(&["restore", hostile.to_str().unwrap(), "--yes"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}: {said}");
        assert_eq!(server.all(), ["portal/plain"], "{name}: {said}");
    }
}

/// Backs a portal up whose files are `files()`, spoils them, and restores.
async fn round(
    url: &str,
    options: Vec<(String, String)>,
    spoil: impl AsyncFnOnce(),
    now: impl AsyncFnOnce() -> Files,
) {
    let (_portal, service) = serving(url, options).await;
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
