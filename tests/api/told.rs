//! Who is told that a backup failed, and where clients are sent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::portal::PlainPortal;
use crate::support::service::Service;
use crate::support::web::{Reply, Web};

const SECRET: &str = "what both know";

/// Fails the first request, and keeps the bodies of all whose signature is right.
async fn receiver(heard: Arc<Mutex<Vec<Value>>>) -> Web {
    Web::start(move |asked| {
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/hook"));
        assert_eq!(asked.query("token"), Some("t0ken"));
        let tag = asked.header("x-portal-backup-signature").strip_prefix("sha256=").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, &asked.body, &hex::decode(tag).unwrap()).unwrap();
        let mut heard = heard.lock().unwrap();
        heard.push(serde_json::from_slice(&asked.body).unwrap());
        Reply::new(if heard.len() == 1 { 500 } else { 204 }, "")
    })
    .await
}

async fn wait(heard: &Mutex<Vec<Value>>, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done(&heard.lock().unwrap()) {
        assert!(Instant::now() < deadline, "{:?}", heard.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    heard.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_hears_of_what_fails() {
    let portal = PlainPortal::new(10);
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hook = receiver(heard.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hook");
    std::fs::write(&file, format!("{}/hook?token=t0ken\n", hook.url)).unwrap();
    let config = format!(
        "{}[notify]\nwebhook_file = \"{}\"\nsecret = \"{SECRET}\"\n",
        portal.config(),
        file.display()
    );
    let service = Service::start(&config).await;
    let away = portal.dir.path().join("away");
    std::fs::rename(portal.files(), &away).unwrap();
    service.start_backup("Local", json!([])).await;
    let job = service.finish().await;
    assert_ne!(job["error"], "");
    // The first time it was not taken.
    let told = wait(&heard, |heard| heard.len() == 2).await;
    assert_eq!(told[0], told[1]);
    let at: jiff::Timestamp = told[0]["at"].as_str().unwrap().parse().unwrap();
    let expected = json!({"event": "backupFailed", "jobId": job["taskId"], "tenantId": 1,
        "dump": true, "error": job["error"], "at": at.to_string()});
    assert_eq!(told[0], expected);

    let body =
        json!({"name": "often", "cron": "* * * * * ?", "storageType": "Local", "dump": true});
    let made: Value = service.post("/v1/schedules", &body).await.json().await.unwrap();
    let told = wait(&heard, |heard| heard.len() >= 3).await;
    let failed = &told[2];
    assert_eq!((&failed["event"], &failed["scheduleId"]), (&json!("scheduleFailed"), &made["id"]));
    assert_eq!((&failed["name"], &failed["failures"]), (&json!("often"), &json!(1)));
    assert!(failed["error"].as_str().is_some_and(|error| !error.is_empty()), "{failed}");
    std::fs::rename(&away, portal.files()).unwrap();
    let recovered =
        |heard: &[Value]| heard.iter().any(|event| event["event"] == "scheduleRecovered");
    let told = wait(&heard, recovered).await;
    assert!(told.iter().skip(2).all(|event| event["event"] != "backupFailed"), "{told:?}");
    assert!(!service.log().contains("t0ken") && !service.log().contains(SECRET));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_is_refused_at_the_start() {
    let portal = PlainPortal::new(1);
    for (config, word) in [
        ("webhook = \"ftp://example.org\"", "https://"),
        ("webhook = \"hunter2\"", "https://"),
        ("secret = \"hunter2\"", "notify.webhook"),
    ] {
        let service =
            Service::prepare_without_key(&format!("{}[notify]\n{config}\n", portal.config()));
        let output = service.cli(&["list"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(word) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn links_begin_with_the_host_that_was_asked() {
    let portal = PlainPortal::new(10);
    let mut service = Service::start(&portal.config()).await;
    service.backup("Local", json!([])).await;
    let link = async |service: &Service| {
        let path = "/api/2.0/backup/getbackupprogress?dump=true";
        let request = service.request(reqwest::Method::GET, path);
        let answer = request.header("Host", "portal.example:8443").send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let shown = answer["links"][0]["href"].as_str().unwrap();
        assert!(shown.contains("/getbackupprogress"), "{shown}");
        answer["response"]["link"].as_str().unwrap().to_owned()
    };
    let seen = link(&service).await;
    let rest = seen.strip_prefix("http://portal.example:8443/v1/archives/").unwrap();
    let download = format!("{}/v1/archives/{rest}", service.base);
    assert_eq!(reqwest::get(download).await.unwrap().status(), StatusCode::OK);
    // What is configured comes first: it is what downloads are to go through.
    service.kill();
    service.reconfigure(|text| {
        text.replace("[server]\n", "[server]\npublic_url = \"https://backup.example/base\"\n")
    });
    service.restart().await;
    let seen = link(&service).await;
    assert!(seen.starts_with("https://backup.example/base/v1/archives/"), "{seen}");
}
