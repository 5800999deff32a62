use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::roundtrip::encrypted::{Key, decrypted};
use crate::support::portal::{PlainPortal, members, noise, tree};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::S3Server;
use crate::support::service::{Service, names};

async fn record(service: &Service) -> Value {
    service.json("/v1/archives?limit=1").await["items"][0].clone()
}

fn place(record: &Value) -> PathBuf {
    url::Url::parse(record["url"].as_str().unwrap()).unwrap().to_file_path().unwrap()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits until only this archive is left in its storage.
async fn alone(folder: impl Fn() -> Vec<String>, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while folder() != [name] {
        assert!(Instant::now() < deadline, "{:?} beside {name}", folder());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_and_what_was_clear_is_encrypted() {
    let (portal, old, new) = (PlainPortal::new(3000), Key::new(), Key::new());
    let mut service = Service::start(&portal.config()).await;
    service.backup("Local", json!([])).await;
    let clear = record(&service).await;
    assert!(service.cli(&["rekey", "--all"]).status.code() == Some(1), "for whom?");

    service.kill();
    service.reconfigure(|text| text + &old.recipients());
    service.restart().await;
    let output = service.cli(&["rekey", "--all", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let first = record(&service).await;
    assert_eq!((&first["id"], &first["createdOn"]), (&clear["id"], &clear["createdOn"]));
    assert!(first["name"].as_str().unwrap().ends_with(".tar.gz.age"), "{first}");
    assert_eq!(names(&service.backups()), [first["name"].as_str().unwrap()]);
    assert!(members(&decrypted(&place(&first), &old)).len() > 5);

    service.kill();
    service.reconfigure(|text| text.replace(&old.recipient, &new.recipient));
    service.restart().await;
    let id = first["id"].as_str().unwrap();
    let output = service.cli(&["rekey", id]);
    assert!(!output.status.success() && said(&output).contains("--identity"), "{}", said(&output));
    let output = service.cli(&["rekey", id, "--identity", &old.file()]);
    assert!(output.status.success(), "{}", said(&output));
    let second = record(&service).await;
    assert_ne!(second["name"], first["name"]);
    assert_eq!(names(&service.backups()), [second["name"].as_str().unwrap()]);
    let files = members(&decrypted(&place(&second), &new));
    for (name, content) in tree(&portal.files()) {
        assert!(files[&format!("storage/{name}")] == content, "{name}");
    }
    for (key, works) in [(&old, false), (&new, true)] {
        let output = service.cli(&["verify", id, "--identity", &key.file()]);
        assert_eq!(output.status.success(), works, "{}", said(&output));
    }

    // What is damaged is not made to look whole.
    let path = place(&second);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 40;
    bytes[last / 2] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = service.cli(&["rekey", id, "--identity", &new.file()]);
    assert!(!output.status.success() && said(&output).contains("damaged"), "{}", said(&output));
    assert_eq!(record(&service).await["url"], second["url"]);
    assert_eq!(names(&service.backups()), [second["name"].as_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_anywhere_nothing_is_lost_and_nothing_remains() {
    let (portal, key) = (PlainPortal::new(1000), Key::new());
    std::fs::write(portal.files().join("large.bin"), noise(60 << 20)).unwrap();
    let mut service = Service::start(&(portal.config() + &key.both())).await;
    service.backup("Local", json!([])).await;
    let id = record(&service).await["id"].as_str().unwrap().to_owned();
    // The command takes the job, not the service, so that killing it kills the work.
    service.kill();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..8 {
        let mut command = service.spawn(&["rekey", &id]);
        tokio::time::sleep(Duration::from_millis(150 + 130 * round)).await;
        command.kill().unwrap();
        command.wait().unwrap();
        seen.insert(names(&service.backups()).len());
        let verify = service.cli(&["verify", &id, "--identity", &key.file()]);
        assert!(verify.status.success(), "{round}: {}", said(&verify));
    }
    eprintln!("how many files lay there after the kills: {seen:?}");
    service.restart().await;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let jobs = service.json("/v1/jobs?limit=100").await;
        let jobs = jobs["items"].as_array().unwrap();
        if jobs.iter().all(|job| !["queued", "running"].contains(&job["state"].as_str().unwrap())) {
            break;
        }
        assert!(Instant::now() < deadline, "{jobs:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let record = record(&service).await;
    alone(|| names(&service.backups()), record["name"].as_str().unwrap()).await;
    let verify = service.cli(&["verify", &id]);
    assert!(verify.status.success(), "{}", said(&verify));
    assert!(members(&decrypted(&place(&record), &key)).contains_key("storage/large.bin"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_fails_half_way_keeps_the_old_one() {
    let (portal, key, s3) = (PlainPortal::new(100), Key::new(), S3Server::start().await);
    std::fs::write(portal.files().join("large.bin"), noise(20 << 20)).unwrap();
    // What clients send counts: 25 MiB for the backup, then the new object.
    let faults = Faults { cut_after: Some(40 << 20), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let config = crate::roundtrip::cloud::config(&portal, &s3, Some(proxy.endpoint.clone()));
    let service = Service::start(&(config + &key.both())).await;
    let before = service.backup("CustomCloud", json!([])).await;
    let id = before["id"].as_str().unwrap();
    let output = service.cli(&["rekey", id]);
    assert!(!output.status.success(), "{}", said(&output));
    let after = record(&service).await;
    assert_eq!((&after["url"], &after["sha256"]), (&before["url"], &before["sha256"]));
    proxy.heal();
    let folder = s3.bucket_dir().join("backups");
    let stored = |name: &Value| folder.join(name.as_str().unwrap());
    assert!(members(&decrypted(&stored(&before["name"]), &key)).len() > 5);
    let output = service.cli(&["rekey", id]);
    assert!(output.status.success(), "{}", said(&output));
    let after = record(&service).await;
    assert_ne!(after["name"], before["name"]);
    assert!(members(&decrypted(&stored(&after["name"]), &key)).len() > 5);
    let archives =
        || names(&folder).into_iter().filter(|name| name.contains(".tar.gz")).collect::<Vec<_>>();
    alone(archives, after["name"].as_str().unwrap()).await;
}
