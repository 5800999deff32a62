//! Incremental backups through the API and the command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::roundtrip::restore::dump;
use crate::support::portal::{PlainPortal, members, noise, tree};
use crate::support::service::Service;

/// Waits for a job that an answer tells of.
pub async fn ended(service: &Service, answer: reqwest::Response) -> Value {
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let job: Value = answer.json().await.unwrap();
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let job = service.json(&path).await;
        if !["queued", "running"].contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        assert!(Instant::now() < deadline, "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An incremental backup; its archive, and the warnings.
pub async fn increment(service: &Service) -> (Value, Value) {
    let body = json!({"storageType": "Local", "dump": true, "mode": "incremental"});
    let job = ended(service, service.post("/v1/backups", &body).await).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let archive =
        service.json(&format!("/v1/archives/{}", job["archiveId"].as_str().unwrap())).await;
    (archive, job["warnings"].clone())
}

pub fn path(archive: &Value) -> PathBuf {
    url::Url::parse(archive["url"].as_str().unwrap()).unwrap().to_file_path().unwrap()
}

pub fn run(service: &Service, args: &[&str]) -> (bool, String) {
    let output = service.cli(args);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// What an old portal has: nothing was changed just now.
fn old_files(portal: &PlainPortal) {
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(1000);
    for name in tree(&portal.files()).keys() {
        let file = std::fs::File::options().append(true).open(portal.files().join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
}

/// Three links; returns the archives, the first of which is the full one.
async fn chain(service: &Service, portal: &PlainPortal) -> Vec<Value> {
    let mut chain = Vec::new();
    for step in 0..4 {
        std::fs::write(portal.files().join(format!("{step}.txt")), format!("link {step}")).unwrap();
        let db = rusqlite::Connection::open(portal.database()).unwrap();
        db.execute("update note set body = 'link' where id = ?1", [1000 * (100 + step)]).unwrap();
        chain.push(increment(service).await.0);
    }
    chain
}

#[tokio::test]
async fn only_what_changed_is_stored() {
    let portal = PlainPortal::new(20_000);
    old_files(&portal);
    let service = Service::start(&portal.config()).await;
    let (full, warnings) = increment(&service).await;
    assert_eq!((&full["mode"], &full["parentId"]), (&json!("full"), &Value::Null));
    let warning = warnings[0].as_str().unwrap();
    assert!(warning.contains("a full backup was made"), "{warning}");

    let (none, warnings) = increment(&service).await;
    assert_eq!(warnings, json!([]));
    assert_eq!((&none["mode"], &none["parentId"]), (&json!("incremental"), &full["id"]));
    let size = |archive: &Value| archive["size"].as_u64().unwrap();
    assert!(size(&none) < 8192, "nothing changed, and {} bytes were stored", size(&none));

    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.execute_batch(
        "update note set body = 'changed' where id = 5000000; delete from note where id = 9000;
         insert into note values (17, 'new', 1.0);",
    )
    .unwrap();
    std::fs::write(portal.files().join("plain.txt"), "changed").unwrap();
    std::fs::remove_file(portal.files().join("deep/er/empty")).unwrap();
    // Touched, and the same: it is read, and not stored.
    let noise_file =
        std::fs::File::options().append(true).open(portal.files().join("noise.bin")).unwrap();
    noise_file.set_modified(std::time::SystemTime::now()).unwrap();
    let (some, _) = increment(&service).await;
    assert_eq!(some["parentId"], none["id"]);
    assert!(size(&some) < 200_000, "{} bytes", size(&some));

    // Everybody's tools read it, and find what is new.
    let stored = members(&path(&some));
    assert_eq!(stored["storage/plain.txt"], b"changed");
    assert!(!stored.contains_key("storage/noise.bin"));
    let part = &stored["extra/increment/parts/databases/data/note"];
    assert!(part.len() < 300_000 && part.windows(9).any(|w| w == b"'changed'"), "{}", part.len());

    // It is shown, and given, as the whole.
    let id = some["id"].as_str().unwrap();
    let entries = service.json(&format!("/v1/archives/{id}/entries?limit=1000")).await;
    let paths: Vec<_> =
        entries["items"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"storage/noise.bin") && paths.contains(&"databases/scheme/empty"));
    assert!(!paths.contains(&"storage/deep/er/empty"), "{paths:?}");
    let given = service.get(&format!("/v1/archives/{id}/entries/storage/noise.bin")).await;
    assert!(given.bytes().await.unwrap() == noise(5 << 20));
    let (ok, listed) = run(&service, &["ls", path(&some).to_str().unwrap()]);
    assert!(ok && listed.contains("storage/noise.bin"), "{listed}");
    let out = service.dir.path().join("out");
    let (ok, text) = run(
        &service,
        &[
            "extract",
            path(&some).to_str().unwrap(),
            "databases/data/note",
            "--into",
            out.to_str().unwrap(),
        ],
    );
    assert!(ok, "{text}");
    let rows = std::fs::read_to_string(out.join("databases/data/note")).unwrap();
    assert_eq!(rows.lines().filter(|line| line.starts_with('(')).count(), 20_000);
    for reference in [id, path(&some).to_str().unwrap(), some["url"].as_str().unwrap()] {
        let (ok, text) = run(&service, &["verify", reference]);
        assert!(ok && text.contains("20003 rows") && text.contains(" 3 files"), "{text}");
    }

    // A lost catalog is made anew from them.
    let other = Service::prepare(&format!(
        "[storage.local]\nroot = \"{}\"\n{}",
        service.backups().display(),
        portal.config()
    ));
    let (ok, text) = run(&other, &["import", "local", "--json"]);
    assert!(ok, "{text}");
    let (_, listed) = run(&other, &["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let again = listed.as_array().unwrap().iter().find(|archive| archive["id"] == id).unwrap();
    assert_eq!(again["parentId"], none["id"], "{listed}");
}

#[tokio::test]
async fn every_link_comes_back_by_itself() {
    let portal = PlainPortal::new(5000);
    let service = Service::start(&portal.config()).await;
    let mut links = Vec::new();
    for step in 0..3 {
        let db = rusqlite::Connection::open(portal.database()).unwrap();
        db.execute("update note set body = 'link' where id % 7 = ?1", [step]).unwrap();
        std::fs::write(portal.files().join("new.txt"), format!("{step}")).unwrap();
        let (archive, _) = increment(&service).await;
        links.push((archive, dump(&portal.database()), tree(&portal.files())));
    }
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (archive, rows, files) in links.iter().rev() {
        let verify = format!("/v1/archives/{}/verify", archive["id"].as_str().unwrap());
        let job = ended(&service, service.post(&verify, &json!({"restore": true})).await).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
        assert!(sorted(&dump(&portal.database())) == sorted(rows));
        assert!(tree(&portal.files()) == *files);
    }
    // Parts of it, too.
    let last = &links[2].0;
    std::fs::remove_file(portal.files().join("noise.bin")).unwrap();
    let body = json!({"archiveId": last["id"], "dump": true, "only": ["storage/noise.bin"]});
    let job = ended(&service, service.post("/v1/restores", &body).await).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(std::fs::read(portal.files().join("noise.bin")).unwrap() == noise(5 << 20));

    // As one full archive it needs no other.
    let (ok, text) = run(&service, &["consolidate", last["id"].as_str().unwrap(), "--json"]);
    assert!(ok, "{text}");
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&made["archive"]["mode"], &made["archive"]["parentId"]),
        (&json!("full"), &Value::Null)
    );
    let whole = members(&path(&made["archive"]));
    for (name, content) in &links[0].2 {
        if name != "new.txt" {
            assert!(whole.get(&format!("storage/{name}")) == Some(content), "{name}");
        }
    }
    assert_eq!(whole["storage/new.txt"], b"2");
    // It can be added to in turn.
    let (next, warnings) = increment(&service).await;
    assert_eq!(warnings, json!([]));
    assert_eq!(next["mode"], "incremental");
    let (ok, text) = run(&service, &["consolidate", links[0].0["id"].as_str().unwrap()]);
    assert!(!ok && text.contains("full archive already"), "{text}");
}

#[tokio::test]
async fn a_damaged_or_missing_link_is_named_before_anything_is_touched() {
    for (broken, remove) in [(0, true), (1, true), (1, false), (2, false), (0, false)] {
        let portal = PlainPortal::new(2000);
        let service = Service::start(&portal.config()).await;
        let chain = chain(&service, &portal).await;
        let file = path(&chain[broken]);
        if remove {
            std::fs::remove_file(&file).unwrap();
        } else {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
        let name = chain[broken]["name"].as_str().unwrap();
        let last = &chain[3];
        let verify = format!("/v1/archives/{}/verify", last["id"].as_str().unwrap());
        let job = ended(&service, service.post(&verify, &json!({})).await).await;
        assert_eq!(job["state"], "failed");
        let error = job["error"].as_str().unwrap();
        assert!(error.contains(name), "{name} is not named: {error}");
        let (ok, text) = run(&service, &["verify", path(last).to_str().unwrap()]);
        assert!(!ok && text.contains(name), "{text}");

        let before = (dump(&portal.database()), tree(&portal.files()));
        let body = json!({"archiveId": last["id"], "dump": true});
        let job = ended(&service, service.post("/v1/restores", &body).await).await;
        assert_eq!(job["state"], "failed");
        assert!(job["error"].as_str().unwrap().contains(name), "{job}");
        assert!(before == (dump(&portal.database()), tree(&portal.files())));
        if remove {
            // Nothing is added to a chain with a hole.
            let (next, warnings) = increment(&service).await;
            let parent = next["parentId"].clone();
            assert!(
                parent.is_null() && warnings[0].as_str().unwrap().contains(name)
                    || parent == chain[broken - 1]["id"],
                "{next} {warnings}"
            );
        }
    }
}

#[tokio::test]
async fn what_others_need_stays() {
    let portal = PlainPortal::new(100);
    let service = Service::start(&portal.config()).await;
    let chain = chain(&service, &portal).await;
    let id = |n: usize| chain[n]["id"].as_str().unwrap().to_owned();
    for n in 0..3 {
        let answer = service.request(reqwest::Method::DELETE, &format!("/v1/archives/{}", id(n)));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let text = answer.text().await.unwrap();
        assert!(text.contains("builds on it"), "{text}");
        let old = service
            .request(reqwest::Method::DELETE, &format!("/api/2.0/backup/deletebackup/{}", id(n)));
        let old = old.send().await.unwrap();
        assert!(old.status().is_client_error(), "{}", old.status());
        let text = old.text().await.unwrap();
        assert!(text.contains("builds on it"), "{text}");
    }
    for n in (0..4).rev() {
        let answer = service.request(reqwest::Method::DELETE, &format!("/v1/archives/{}", id(n)));
        assert_eq!(answer.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    assert!(tree(&service.backups()).is_empty());
}

#[tokio::test]
async fn another_portal_is_not_added_to() {
    let portal = PlainPortal::new(100);
    let mut service = Service::start(&portal.config()).await;
    increment(&service).await;
    service.terminate();
    let config = service.dir.path().join("portal-backup.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("name = \"files\"", "name = \"other\"")).unwrap();
    service.restart().await;
    let (archive, warnings) = increment(&service).await;
    assert_eq!(archive["mode"], "full");
    assert!(warnings[0].as_str().unwrap().contains("it has other filesystems"), "{warnings}");
    let wrong = json!({"storageType": "Local", "dump": true, "mode": "differential"});
    assert_eq!(service.post("/v1/backups", &wrong).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_killed_increment_is_not_added_to() {
    let portal = PlainPortal::new(60_000);
    let mut service = Service::start(&portal.config()).await;
    let (full, _) = increment(&service).await;
    std::fs::write(portal.files().join("large.bin"), noise(64 << 20)).unwrap();
    let body = json!({"storageType": "Local", "dump": true, "mode": "incremental"});
    let answer = service.post("/v1/backups", &body).await;
    let job: Value = answer.json().await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    service.kill();
    service.restart().await;
    // The job is taken up again; whatever comes of it, what follows adds to something whole.
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    while ["queued", "running"].contains(&service.json(&path).await["state"].as_str().unwrap()) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (next, _) = increment(&service).await;
    assert_eq!(next["mode"], "incremental");
    let archives = service.json("/v1/archives").await;
    let ids: Vec<_> =
        archives["items"].as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
    assert!(ids.contains(&next["parentId"]) && ids.contains(&full["id"]));
    let (ok, text) = run(&service, &["verify", next["id"].as_str().unwrap()]);
    assert!(ok, "{text}");
}
