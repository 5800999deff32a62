//! Encrypted archives: through every door, with the right key, a wrong one and none.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::local_path;
use super::restore::{change, dump};
use crate::api::upload::upload_as;
use crate::support::portal::{PlainPortal, members, tree};
use crate::support::s3::S3Server;
use crate::support::service::Service;

/// A key as `age-keygen` makes it.
pub struct Key {
    pub dir: tempfile::TempDir,
    pub recipient: String,
}

impl Key {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let made = Command::new("age-keygen").arg("-o").arg(&file).output().unwrap();
        assert!(made.status.success());
        let text = std::fs::read_to_string(&file).unwrap();
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        Self { recipient: recipient.to_owned(), dir }
    }

    pub fn file(&self) -> String {
        self.dir.path().join("key").display().to_string()
    }

    /// `[encryption]` of a service that can also open what it writes.
    pub fn both(&self) -> String {
        format!("{}identity_file = \"{}\"\n", self.recipients(), self.file())
    }

    pub fn recipients(&self) -> String {
        format!("[encryption]\nrecipients = [\"{}\"]\n", self.recipient)
    }
}

/// What the `age` tool makes of an archive.
pub fn decrypted(archive: &Path, key: &Key) -> PathBuf {
    let clear = key.dir.path().join("clear.tar.gz");
    let age = Command::new("age")
        .args(["-d", "-i", &key.file(), "-o"])
        .args([&clear, archive])
        .output()
        .unwrap();
    assert!(age.status.success(), "{}", String::from_utf8_lossy(&age.stderr));
    clear
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn through_the_api(
    service: &Service,
    portal: &PlainPortal,
    archive: &Value,
    stored: &Path,
    key: &Key,
) {
    let id = archive["id"].as_str().unwrap();
    assert!(archive["name"].as_str().unwrap().ends_with(".tar.gz.age"), "{archive}");
    let bytes = std::fs::read(stored).unwrap();
    assert_eq!(archive["size"], bytes.len() as u64);
    assert_eq!(archive["sha256"], hex::encode(Sha256::digest(&bytes)));

    // Anybody's tools open it.
    let clear = decrypted(stored, key);
    let tar = Command::new("tar").arg("tzf").arg(&clear).output().unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", text(&tar.stderr));
    let members = members(&clear);
    for (name, content) in tree(&portal.files()) {
        assert!(members[&format!("storage/{name}")] == content, "{name}");
    }

    // Downloads give it as it is stored.
    let path = format!("/v1/archives/{id}/content");
    let download = service.get(&path).await;
    assert_eq!(download.headers()["content-type"], "application/octet-stream");
    assert!(download.bytes().await.unwrap() == bytes);
    let part = service.request(Method::GET, &path).header("Range", "bytes=0-20").send().await;
    assert_eq!(part.unwrap().bytes().await.unwrap().as_ref(), b"age-encryption.org/v1");

    // Entries are read through the key, one by one.
    let list = service.json(&format!("/v1/archives/{id}/entries?limit=1000")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), members.len() - 1, "all but the manifest");
    let one = service.get(&format!("/v1/archives/{id}/entries/storage/noise.bin")).await;
    assert!(one.bytes().await.unwrap() == members["storage/noise.bin"]);

    let verified = service.post(&format!("/v1/archives/{id}/verify"), &json!({})).await;
    assert!(verified.status().is_success());
    let job: Value = verified.json().await.unwrap();
    let job = ended(service, &job).await;
    assert_eq!((&job["state"], &job["warnings"]), (&json!("succeeded"), &json!([])), "{job}");
}

/// Polls until a job has ended.
async fn ended(service: &Service, job: &Value) -> Value {
    for _ in 0..600 {
        let job = service.json(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
        if !["queued", "running"].contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no end: {}", service.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_archive_does_all_that_a_clear_one_does() {
    let (portal, key) = (PlainPortal::new(20_000), Key::new());
    let service = Service::start(&(portal.config() + &key.both())).await;
    let (rows, files) = (dump(&portal.database()), tree(&portal.files()));
    let archive = service.backup("Local", json!([])).await;
    through_the_api(&service, &portal, &archive, &local_path(&archive), &key).await;
    change(&portal);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(tree(&portal.files()), files);
    let restored = dump(&portal.database());
    let restored: std::collections::HashSet<_> = restored.lines().collect();
    assert!(rows.lines().all(|row| restored.contains(row)));

    // As an upload, too.
    std::fs::write(portal.files().join("plain.txt"), "changed again").unwrap();
    upload_as(&service, &std::fs::read(local_path(&archive)).unwrap(), "tar.gz.age").await;
    let uploaded = json!({"backupId": "", "storageType": "3", "dump": true,
        "storageParams": [{"key": "filePath", "value": "mine.tar.gz.age"}]});
    service.restore(&uploaded).await;
    assert_eq!(tree(&portal.files()), files);
    let check = service.cli(&["config", "check"]);
    assert!(text(&check.stdout).contains("encryption: archives are encrypted, and can be opened"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_holds_encrypted_archives_too() {
    let (portal, key, s3) = (PlainPortal::new(5000), Key::new(), S3Server::start().await);
    let config = super::cloud::config(&portal, &s3, None) + &key.both();
    let service = Service::start(&config).await;
    let archive = service.backup("CustomCloud", json!([])).await;
    let stored = s3.bucket_dir().join("backups").join(archive["name"].as_str().unwrap());
    through_the_api(&service, &portal, &archive, &stored, &key).await;
    let files = tree(&portal.files());
    change(&portal);
    service.restore(&json!({"backupId": archive["id"], "dump": true})).await;
    assert_eq!(tree(&portal.files()), files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_no_identity_is_told_so() {
    let (portal, key, other) = (PlainPortal::new(1000), Key::new(), Key::new());
    let service = Service::start(&(portal.config() + &key.recipients())).await;
    let archive = service.backup("Local", json!([])).await;
    let (id, path) = (archive["id"].as_str().unwrap(), local_path(&archive));
    let path = path.to_str().unwrap();
    assert!(archive["verifiedOn"].is_string(), "it was read back all the same: {archive}");

    for answer in [
        service.get(&format!("/v1/archives/{id}/entries")).await,
        service.get(&format!("/v1/archives/{id}/entries/storage/plain.txt")).await,
        service.post("/v1/restores", &json!({"archiveId": id})).await,
        service.post("/v1/restores", &json!({"archiveId": id, "dryRun": true})).await,
    ] {
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "encrypted", "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains("identity_file"), "{body}");
    }
    let docspace = json!({"backupId": id, "dump": true});
    let answer = service.post("/api/2.0/backup/startrestore", &docspace).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let job = service.post(&format!("/v1/archives/{id}/verify"), &json!({})).await;
    let job = ended(&service, &job.json().await.unwrap()).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(job["warnings"][0].as_str().unwrap().contains("contents were not checked"), "{job}");

    let run = |args: &[&str]| {
        let output = service.cli(args);
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code().unwrap(), said)
    };
    let out = service.dir.path().join("out").display().to_string();
    for reference in [id, path, archive["url"].as_str().unwrap()] {
        let open: [&[&str]; 3] = [
            &["ls", reference],
            &["extract", reference, "storage/deep", "--into", &out],
            &["restore", reference, "--dry-run"],
        ];
        for args in open {
            let (status, said) = run(args);
            assert!(status == 1 && said.contains("--identity FILE"), "{args:?} {status} {said}");
            let (status, said) = run(&[args, &["--identity", &other.file()]].concat());
            assert!(status == 1 && said.contains("none of the identities"), "{args:?} {said}");
            let (status, said) = run(&[args, &["--identity", &key.file()]].concat());
            assert!(status == 0, "{args:?} {said}");
        }
        let (status, said) = run(&["verify", reference, "--identity", &key.file(), "--json"]);
        assert!(status == 0 && said.contains("\"contentsChecked\": true"), "{said}");
    }
    assert_eq!(tree(Path::new(&out))["storage/deep/naïve 100% #1.txt"], b"x");
    let (status, said) = run(&["verify", id]);
    assert!(status == 0 && said.contains("contents were not checked"), "{said}");
    let (status, said) = run(&["verify", path]);
    assert!(status == 1 && said.contains("--identity FILE"), "nothing is recorded of it: {said}");
    let proof = ["verify", id, "--restore", "--identity", &key.file()];
    let (status, said) = run(&proof);
    assert!(status == 0 && said.contains("is proved"), "{said}");

    let fresh = Service::prepare(&format!(
        "[storage.local]\nroot = \"{}\"\n{}",
        service.backups().display(),
        portal.config()
    ));
    let import = fresh.cli(&["import", "local"]);
    assert_eq!(import.status.code(), Some(1));
    assert!(text(&import.stdout).contains("--identity FILE"), "{}", text(&import.stdout));
    let import = fresh.cli(&["import", "local", "--identity", &key.file(), "--json"]);
    let imported: Value = serde_json::from_slice(&import.stdout).unwrap();
    let added = &imported["added"][0];
    assert_eq!((&added["id"], &added["sha256"]), (&archive["id"], &archive["sha256"]), "{added}");

    let all = service.log() + &text(&service.cli(&["config", "check"]).stdout);
    assert!(!all.contains("AGE-SECRET-KEY"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passphrase_and_a_readable_identity_and_wrong_settings() {
    let (portal, key) = (PlainPortal::new(100), Key::new());
    let service = Service::start(
        &(portal.config() + "[encryption]\npassphrase_file = \"{dir}/pass\"\n")
            .replace("{dir}/pass", &key.file()),
    )
    .await;
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let list = service.json(&format!("/v1/archives/{id}/entries")).await;
    assert!(list["items"].as_array().unwrap().len() > 5);
    assert!(!service.log().contains("AGE-SECRET-KEY"));

    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(key.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let check = Service::prepare(&(portal.config() + &key.both())).cli(&["config", "check"]);
    assert!(text(&check.stderr).contains("chmod 600"), "{}", text(&check.stderr));
    for (section, said) in [
        ("recipients = [\"age1wrong\"]", "age1wrong"),
        ("identity_file = \"/nowhere/key\"", "/nowhere/key"),
    ] {
        let service = Service::prepare(&portal.config());
        service.reconfigure(|text| format!("{text}[encryption]\n{section}\n"));
        let output = service.cli(&["config", "check"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
    let other = Key::new();
    let mixed = key.recipients() + &format!("identity_file = \"{}\"\n", other.file());
    let check = Service::prepare(&(portal.config() + &mixed)).cli(&["config", "check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stdout).contains("no identity opens"), "{}", text(&check.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_with_the_key_and_without() {
    let (portal, key) = (PlainPortal::new(2000), Key::new());
    let service = Service::start(&(portal.config() + &key.recipients())).await;
    let archive = service.backup("Local", json!([])).await;
    let (id, path) = (archive["id"].as_str().unwrap(), local_path(&archive));
    let whole = std::fs::read(&path).unwrap();
    let middle = whole.len() / 2;
    let mut damages = vec![whole[..whole.len() - 1].to_vec(), whole[..middle].to_vec()];
    for at in [30, 200, 300, middle, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        damages.push(changed);
    }
    for (number, damaged) in damages.into_iter().enumerate() {
        std::fs::write(&path, damaged).unwrap();
        let open = ["--identity", &key.file()];
        for args in [
            vec!["verify", id],
            [vec!["verify", id], open.to_vec()].concat(),
            [vec!["verify", path.to_str().unwrap(), "--json"], open.to_vec()].concat(),
        ] {
            let output = service.cli(&args);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{number} {args:?} {said}");
        }
        let restore = [vec!["restore", id, "--yes"], open.to_vec()].concat();
        assert_eq!(service.cli(&restore).status.code(), Some(1), "{number}");
    }
    std::fs::write(&path, whole).unwrap();
    assert!(service.cli(&["verify", id, "--identity", &key.file()]).status.success());
}
