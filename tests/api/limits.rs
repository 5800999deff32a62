//! `[limits]`, and what slow storages must not do to memory.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::portal::{PlainPortal, noise};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::S3Server;
use crate::support::service::Service;

const MIB: f64 = (1 << 20) as f64;

/// A backup under these limits: how many seconds it took, and its archive. A loaded machine takes its time
/// without any limit too, which counts.
async fn timed(portal: &PlainPortal, limits: &str) -> (f64, Value, Service) {
    let config = format!("[limits]\n{limits}\n{}", portal.config());
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let job = service.json("/v1/jobs?kind=backup&limit=1").await["items"][0].clone();
    (seconds(&job), archive, service)
}

/// How long a job took.
fn seconds(job: &Value) -> f64 {
    let at = |name: &str| job[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    at("finishedOn").duration_since(at("startedOn")).as_secs_f64()
}

async fn assert_near(portal: &PlainPortal, taken: f64, expected: f64) {
    let (unlimited, ..) = timed(portal, "").await;
    let due = 0.85 * expected..1.15 * expected + unlimited;
    assert!(due.contains(&taken), "{taken} s where {expected} s were due, {unlimited} s unlimited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_keep_to_their_rate() {
    let portal = PlainPortal::new(10);
    std::fs::write(portal.files().join("large.bin"), noise(30 << 20)).unwrap();
    let (taken, archive, _service) = timed(&portal, "upload = \"3MiB\"").await;
    assert_near(&portal, taken, archive["size"].as_f64().unwrap() / (3.0 * MIB)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_files_and_archives_keeps_to_its_rate() {
    let portal = PlainPortal::new(10);
    std::fs::write(portal.files().join("large.bin"), noise(20 << 20)).unwrap();
    for number in 0..400 {
        std::fs::write(portal.files().join(format!("small-{number}")), noise(10_000)).unwrap();
    }
    let files = 29.0 * MIB;
    let (taken, archive, service) = timed(&portal, "read = \"6MiB\"").await;
    let size = archive["size"].as_f64().unwrap();
    assert_near(&portal, taken, (files + size) / (6.0 * MIB)).await;
    let verify = format!("/v1/archives/{}/verify", archive["id"].as_str().unwrap());
    let job: Value = service.post(&verify, &json!({})).await.json().await.unwrap();
    let taken = loop {
        let job = service.json(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
        match job["state"].as_str().unwrap() {
            "queued" | "running" => tokio::time::sleep(Duration::from_millis(100)).await,
            "succeeded" => break seconds(&job),
            _ => panic!("{job}"),
        }
    };
    assert_near(&portal, taken, size / (6.0 * MIB)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restores_into_buckets_keep_to_the_rate_of_uploads() {
    let portal = PlainPortal::new(10);
    let server = S3Server::start().await;
    std::fs::create_dir(server.bucket_dir().join("portal")).unwrap();
    std::fs::write(server.bucket_dir().join("portal/large.bin"), noise(15 << 20)).unwrap();
    let options: Vec<_> = server.options().iter().map(|(k, v)| format!("{k} = '{v}'")).collect();
    let local = format!("url = \"file://{}\"", portal.files().display());
    let bucket = format!("url = \"s3://archives/portal\"\noptions = {{ {} }}", options.join(", "));
    let mut service = Service::start(&portal.config().replace(&local, &bucket)).await;
    let archive = service.backup("Local", json!([])).await;
    let taken = async |service: &Service| {
        service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
        seconds(&service.json("/v1/jobs?kind=restore&limit=1").await["items"][0])
    };
    let unlimited = taken(&service).await;
    service.kill();
    service.reconfigure(|text| format!("{text}\n[limits]\nupload = \"3MiB\"\n"));
    service.restart().await;
    let taken = taken(&service).await;
    let due = 0.85 * 5.0..1.15 * 5.0 + unlimited;
    assert!(due.contains(&taken), "{taken} s where 5 s were due, {unlimited} s unlimited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_read_at_their_rate() {
    let portal = PlainPortal::new(150_000);
    let limits = "database_read = \"2MiB\"\ndatabase_connections = 1";
    let (taken, archive, service) = timed(&portal, limits).await;
    let path = format!("/v1/archives/{}/entries?limit=1000", archive["id"].as_str().unwrap());
    let entries = service.json(&path).await;
    let dumped =
        entries["items"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "data");
    let bytes: f64 = dumped.map(|entry| entry["size"].as_f64().unwrap()).sum();
    assert!(bytes > 15.0 * MIB, "{bytes}");
    assert_near(&portal, taken, bytes / (2.0 * MIB)).await;
}

/// Of a process, in bytes.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_storage_does_not_make_memory_grow() {
    let portal = PlainPortal::new(100_000);
    for number in 0..6 {
        std::fs::write(portal.files().join(format!("{number}.bin")), noise(30 << 20)).unwrap();
    }
    let s3 = S3Server::start().await;
    // 64 KiB each 4 ms, on every connection.
    let faults = Faults { delay: Duration::from_millis(4), ..Faults::default() };
    let proxy = Proxy::start(&s3.address(), faults).await;
    let config = format!(
        "[backup]\nmemory = \"40MiB\"\n[storage.custom_cloud]\nurl = \"s3://archives/x\"\n\
         {}\n{}",
        s3.configured(Some(&proxy.endpoint), &[]),
        portal.config()
    );
    let service = Service::start(&config).await;
    let before = memory(service.pid(), "VmRSS:");
    service.backup("CustomCloud", json!([])).await;
    let grown = memory(service.pid(), "VmHWM:").saturating_sub(before);
    // The budget of the buffers, and what allocators and connections need beside; 190 MiB were sent.
    assert!(grown < 80 << 20, "{} MiB more than before", grown >> 20);
}
