//! sensenet's API, row by row of `seed-systems.md` part B, through the running service.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::lucene::{self, Writer};
use crate::support::portal::tree;
use crate::support::s3::S3Server;
use crate::support::service::{Service, names};

const UNSET: &str = "0001-01-01T00:00:00";

struct Site {
    service: Service,
    dir: tempfile::TempDir,
}

impl Site {
    /// A search service's folder with an index in use, and an older one.
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        drop(Writer::new(&dir.path().join("LocalIndex/20250101000000")));
        let mut writer = Writer::new(&dir.path().join("LocalIndex/20260301021500"));
        (0..30).for_each(|_| writer.step());
        writer.commit();
        let service = Service::start(&format!(
            "{more}[portal]\nlayout = \"plain\"\n[[portal.index]]\nname = \"search\"\nurl = \"file://{}/LocalIndex\"\n",
            dir.path().display()
        ))
        .await;
        Self { service, dir }
    }

    fn live(&self) -> PathBuf {
        self.dir.path().join("LocalIndex/20260301021500")
    }

    /// Makes a segment so large that copying it takes a while; the name of its largest file.
    fn grow(&self) -> String {
        let live = names(&self.live());
        let segment =
            live.iter().find_map(|name| name.strip_prefix('_')?.split('.').next()).unwrap();
        let name = format!("_{segment}.big");
        let file = std::fs::File::create(self.live().join(&name)).unwrap();
        file.set_len(6 << 30).unwrap();
        // Older than the commit, so that it may be part of it.
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
        name
    }

    async fn call(&self, method: Method, operation: &str, body: &str) -> Response {
        let path = format!("/odata.svc/('Root')/{operation}");
        self.service.request(method, &path).body(body.to_owned()).send().await.unwrap()
    }

    async fn ok(&self, operation: &str, body: &str) -> Value {
        let answer = self.call(Method::POST, operation, body).await;
        let status = answer.status();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        assert_eq!(
            (status.as_u16(), kind.as_str()),
            (200, "application/json;odata=verbose;charset=utf-8"),
            "{text}"
        );
        assert!(text.starts_with("{\n  \"State\": "), "indented, without a wrapper: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn query(&self) -> Value {
        self.ok("QueryIndexBackup", "").await
    }

    /// Waits until none runs.
    async fn ended(&self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.query().await;
            if now["State"] != "Executing" {
                return now;
            }
            assert!(Instant::now() < deadline, "{now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn error(&self, method: Method, operation: &str, body: &str) -> (u16, String, String) {
        let answer = self.call(method, operation, body).await;
        let status = answer.status().as_u16();
        let error: Value = answer.json().await.unwrap();
        let mut members: Vec<_> = error["error"].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["code", "exceptiontype", "innererror", "message"], "{error}");
        assert_eq!(error["error"]["message"]["lang"], "en-us");
        assert_eq!(error["error"]["innererror"], Value::Null);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (status, text(&error["error"]["code"]), text(&error["error"]["exceptiontype"]))
    }
}

fn error(status: u16, code: &str, exception: &str) -> (u16, String, String) {
    (status, code.to_owned(), exception.to_owned())
}

#[tokio::test]
async fn the_life_of_a_copy() {
    let mut site = Site::start().await;
    // B3: "Idle → Current null; no history → `Initial`", "History array (`[]` if none)".
    assert_eq!(site.query().await, json!({"State": "Initial", "Current": null, "History": []}));
    // B3: "Cancel: always `CancelRequested`, even idle; Current null if idle; History included."
    assert_eq!(
        site.ok("CancelIndexBackup", "").await,
        json!({"State": "CancelRequested", "Current": null, "History": []})
    );
    // B3: "BackupIndex, idle: `Started`, Current present (counters 0, usually unset dates), History null."
    let target = site.service.backups().join("copies/search");
    std::fs::create_dir_all(target.join("sub")).unwrap();
    std::fs::write(target.join("segments_zz"), "old").unwrap();
    std::fs::write(target.join("sub/stays"), "").unwrap();
    let started = site.ok("BackupIndex", r#"{"target":"copies/search"}"#).await;
    assert_eq!(
        started,
        json!({"State": "Started", "History": null, "Current": {
            "StartedAt": UNSET, "FinishedAt": UNSET, "TargetPath": "copies/search", "TotalBytes": 0,
            "CopiedBytes": 0, "CountOfFiles": 0, "CopiedFiles": 0, "CurrentlyCopiedFile": null, "Message": null,
        }})
    );
    let ended = site.ended().await;
    assert_eq!((&ended["State"], &ended["Current"]), (&json!("Finished"), &Value::Null), "{ended}");
    let info = &ended["History"][0];
    assert_eq!(info["Message"], Value::Null);
    for at in ["StartedAt", "FinishedAt"] {
        let at = info[at].as_str().unwrap();
        assert!(at.parse::<jiff::Timestamp>().is_ok() && at.ends_with('Z'), "{at}");
    }
    // "existing top-level files are deleted, subfolders stay; files land flat".
    let mut copied = tree(&target);
    assert!(copied.remove("sub/stays").is_some());
    lucene::check(&copied);
    assert_eq!(copied, {
        let mut live = tree(&site.live());
        live.retain(|name, _| name != "write.lock" && name != "segments.gen");
        live
    });
    let bytes: usize = copied.values().map(Vec::len).sum();
    assert_eq!(info["TotalBytes"], bytes);
    assert_eq!(info["CopiedBytes"], bytes);
    assert_eq!(
        (&info["CountOfFiles"], &info["CopiedFiles"]),
        (&json!(copied.len()), &json!(copied.len()))
    );
    assert!(!site.dir.path().join("LocalIndex/.portal-backup").exists());
    assert!(!target.join(".portal-backup").exists());

    // The seed's restore: the copy put into a service's own folder is the index.
    let restored = site.dir.path().join("LocalIndex/20270101000000");
    std::fs::create_dir(&restored).unwrap();
    for name in names(&target).into_iter().filter(|name| name != "sub") {
        std::fs::copy(target.join(&name), restored.join(&name)).unwrap();
    }
    lucene::check(&tree(&restored));

    // The latest entry decides, and the history outlives the process.
    std::fs::remove_dir_all(site.dir.path().join("LocalIndex")).unwrap();
    site.ok("BackupIndex", "target=second").await;
    let faulted = site.ended().await;
    assert_eq!(faulted["State"], "Faulted", "{faulted}");
    let last = &faulted["History"][1];
    assert!(last["Message"].as_str().unwrap().starts_with("ERROR: "), "{faulted}");
    assert_eq!(last["FinishedAt"], UNSET, "FinishedAt stays unset on failure");
    assert!(site.service.terminate().success());
    site.service.restart().await;
    assert_eq!(site.query().await, faulted);
    let jobs = site.service.json("/v1/jobs").await;
    assert_eq!(jobs["items"][0]["kind"], "index");
    assert!(!site.service.backups().join("second").exists());
}

/// B3: "Running: `Executing` + current progress, History null, 200, no second backup and the new target is ignored";
/// issue: "cancel between and inside files".
#[tokio::test]
async fn a_running_copy_is_told_and_cancelled_inside_a_file() {
    let site = Site::start().await;
    let big = site.grow();
    let target = site.service.backups().join("copy");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("segments_1"), "old").unwrap();
    site.ok("BackupIndex", r#"{"target":"copy"}"#).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let seen = loop {
        let now = site.query().await;
        assert_eq!(now["State"], "Executing", "{now}");
        if now["Current"]["CurrentlyCopiedFile"] == big.as_str()
            && now["Current"]["CopiedBytes"].as_i64() > Some(5 << 20)
        {
            break now;
        }
        assert!(Instant::now() < deadline, "{now}");
    };
    assert_eq!(seen["History"], json!([]));
    let total = seen["Current"]["TotalBytes"].as_i64().unwrap();
    assert!(total > 6 << 30 && seen["Current"]["CopiedBytes"].as_i64().unwrap() < total, "{seen}");
    let again = site.ok("BackupIndex", r#"{"target":"other"}"#).await;
    assert_eq!((&again["State"], &again["History"]), (&json!("Executing"), &Value::Null));
    assert_eq!(again["Current"]["TargetPath"], "copy");
    assert_eq!(
        tree(&target)["segments_1"],
        b"old",
        "the earlier copy stays until the new one is whole"
    );

    let cancelled = Instant::now();
    let answer = site.ok("CancelIndexBackup", "").await;
    assert_eq!(answer["State"], "CancelRequested");
    assert_eq!(answer["Current"]["TargetPath"], "copy");
    let ended = site.ended().await;
    assert!(cancelled.elapsed() < Duration::from_secs(5), "not at the end of the file");
    assert_eq!(ended["State"], "Canceled", "{ended}");
    let info = &ended["History"][0];
    assert!(info["Message"].as_str().unwrap().starts_with("CANCELED: "), "{info}");
    assert_eq!(info["FinishedAt"], UNSET);
    assert_eq!(names(&target), ["segments_1"]);
    assert!(!site.service.backups().join("other").exists());
    assert!(!site.dir.path().join("LocalIndex/.portal-backup").exists());
}

#[tokio::test]
async fn a_killed_copy_leaves_nothing_and_is_made_again() {
    let mut site = Site::start().await;
    let big = site.grow();
    site.ok("BackupIndex", "target=copy").await;
    let target = site.service.backups().join("copy");
    let deadline = Instant::now() + Duration::from_secs(60);
    while names(&target.join(".portal-backup")).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.service.kill();
    // So that it is soon done.
    std::fs::remove_file(site.live().join(big)).unwrap();
    site.service.restart().await;
    let ended = site.ended().await;
    assert_eq!(ended["State"], "Finished", "{ended} {}", site.service.log());
    assert_eq!(ended["History"].as_array().unwrap().len(), 1);
    lucene::check(&tree(&target));
    assert!(!target.join(".portal-backup").exists());
    assert!(!site.dir.path().join("LocalIndex/.portal-backup").exists());
}

/// B1: the forms of address and of the parameter.
#[tokio::test]
async fn every_form_of_a_request() {
    let site = Site::start().await;
    let post = async |path: &str, kind: Option<&str>, body: &str| {
        let mut request = site.service.request(Method::POST, path).body(body.to_owned());
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["State"], "Started", "{path} {body}: {answer}");
        let target = answer["Current"]["TargetPath"].clone();
        let ended = site.ended().await;
        assert_eq!(ended["State"], "Finished", "{ended}");
        target
    };
    let root = "/odata.svc/('Root')/BackupIndex";
    let json = Some("application/json");
    for (path, kind, body) in [
        (root, json, r#"{"target":"t/x"}"#),
        ("/OData.svc/('Root')/BackupIndex", json, r#"{"Target":"t/x"}"#),
        ("/ODATA.SVC/content(2)/BackupIndex", None, r#"models=[{"target":"t/x"}]"#),
        (root, Some("text/plain"), r#"[{'target':'t/x'},{'target':'no'}]"#),
        (root, Some("application/x-www-form-urlencoded"), "target=t/x"),
        (
            root,
            Some("multipart/form-data; boundary=B"),
            "--B\r\nContent-Disposition: form-data; name=\"target\"\r\n\r\nt/x\r\n--B--\r\n",
        ),
        ("/odata.svc/('Root')/BackupIndex?target=t/x", json, r#"{"target":"no"}"#),
    ] {
        assert_eq!(post(path, kind, body).await, "t/x", "{path} {body}");
    }
    // "QueryIndexBackup | GET or POST".
    let get = site.service.json("/odata.svc/('Root')/QueryIndexBackup").await;
    assert_eq!(get, site.query().await);
    assert_eq!(get["History"].as_array().unwrap().len(), 7);
    // A drive or a leading slash is taken as relative to the storage's root.
    for target in [r#"{"target":"C:\\sn\\copy"}"#, r#"{"target":"/sn/copy"}"#] {
        post(root, json, target).await;
        lucene::check(&tree(&site.service.backups().join("sn/copy")));
    }
    let own = format!("file://{}/own", site.service.backups().display());
    post(root, json, &json!({"target": own}).to_string()).await;
    lucene::check(&tree(&site.service.backups().join("own")));
}

/// B4, and targets that a request may not name.
#[tokio::test]
async fn errors_are_sensenets() {
    let site = Site::start().await;
    std::fs::create_dir_all(site.service.backups().join("archives")).unwrap();
    std::fs::write(site.service.backups().join("archives/x.tar.gz"), "").unwrap();
    std::os::unix::fs::symlink("/etc", site.service.backups().join("link")).unwrap();
    let post = Method::POST;
    // "wrong content, unknown operation … 500 `UnknownAction`, InvalidContentActionException".
    let unknown = error(500, "UnknownAction", "InvalidContentActionException");
    assert_eq!(site.error(post.clone(), "Nothing", "").await, unknown);
    let other = site
        .service
        .request(post.clone(), "/odata.svc/content(3)/BackupIndex")
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 500);
    let text = other.text().await.unwrap();
    assert!(text.contains("\"value\": \"Operation not found: BackupIndex\""), "{text}");
    // "null target | 500 `NotSpecified`, ArgumentNullException".
    let null = error(500, "NotSpecified", "ArgumentNullException");
    for body in [r#"{"target":null}"#, "{}", ""] {
        assert_eq!(site.error(post.clone(), "BackupIndex", body).await, null, "{body}");
    }
    // "GET on an action | 500 `IllegalInvoke`, `OData action cannot be invoked with HTTP GET.`".
    for operation in ["BackupIndex", "CancelIndexBackup"] {
        let answer = site.call(Method::GET, operation, "").await;
        assert_eq!(answer.status(), 500);
        let text = answer.text().await.unwrap();
        assert!(text.contains("\"code\": \"IllegalInvoke\""), "{text}");
        assert!(text.contains("OData action cannot be invoked with HTTP GET."), "{text}");
    }
    // "PUT/PATCH/DELETE on a member | 500 `IllegalInvoke`".
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        for operation in ["BackupIndex", "QueryIndexBackup"] {
            let (status, code, _) = site.error(method.clone(), operation, "").await;
            assert_eq!((status, code.as_str()), (500, "IllegalInvoke"), "{method}");
        }
    }
    // "malformed OData request | 400 `RequestError`".
    let (status, code, _) = site.error(post.clone(), "BackupIndex", "{").await;
    assert_eq!((status, code.as_str()), (400, "RequestError"));
    let path = "/odata.svc/('Root'/BackupIndex";
    assert_eq!(site.service.request(post.clone(), path).send().await.unwrap().status(), 400);

    let outside = site.dir.path().display().to_string();
    for target in [
        "",
        "/",
        ".",
        "C:\\",
        "../x",
        "a/../../x",
        "a\\..\\..\\x",
        "/a/../../etc",
        "C:\\..\\x",
        "link",
        "link/x",
        "archives",
        ".uploads",
        ".portal-backup/x",
        "a/.portal-backup",
        "a\0b",
        "s3://bucket/x",
        "file:///etc",
        "http://169.254.169.254/x",
        &format!("file://{outside}"),
        &"x".repeat(300),
        "://",
        "ftp://x/y",
    ] {
        let body = json!({"target": target}).to_string();
        let refused = site.error(post.clone(), "BackupIndex", &body).await;
        assert_eq!(refused, error(400, "RequestError", "ArgumentException"), "{target:?}");
    }
    assert_eq!(site.query().await["History"], json!([]));
    assert_eq!(names(&site.service.backups()), ["archives", "link"]);
}

/// B1: "Credentials: Bearer token, or `apikey` header or query"; B4: "role missing … 403 `Forbidden`".
#[tokio::test]
async fn credentials() {
    let site = Site::start().await;
    let (key, read) = (site.service.key.clone(), site.service.new_key("read"));
    let url = |operation: &str, query: &str| {
        format!("{}/odata.svc/('Root')/{operation}{query}", site.service.base)
    };
    let http = &site.service.http;
    let query = url("QueryIndexBackup", "");
    for request in [
        http.get(&query).bearer_auth(&key),
        http.get(&query).header("apikey", &key),
        http.get(url("QueryIndexBackup", &format!("?apikey={key}"))),
        http.get(&query).header("ApiKey", &read),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    for operation in ["BackupIndex", "CancelIndexBackup"] {
        let answer =
            http.post(url(operation, "?target=x")).header("apikey", &read).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "Forbidden");
        assert_eq!(body["error"]["exceptiontype"], "SenseNetSecurityException");
        let text = body["error"]["message"]["value"].as_str().unwrap();
        assert!(text.starts_with("Operation not accessible: "), "{text}");
    }
    for request in [
        http.get(&query),
        http.get(&query).header("apikey", "sk-wrong"),
        http.get(&query).header("apikey", "nonsense"),
        http.get(url("QueryIndexBackup", "?apikey=sk-wrong")),
        http.post(url("Nothing", "")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.text().await.unwrap(), "");
    }
}

/// B3: "Local and in-memory engines: all three throw SnNotSupportedException".
#[tokio::test]
async fn without_an_index_nothing_is_supported() {
    let service = Service::start("").await;
    for operation in ["BackupIndex?target=x", "QueryIndexBackup", "CancelIndexBackup"] {
        let answer = service
            .request(Method::POST, &format!("/odata.svc/('Root')/{operation}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 500);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["exceptiontype"], "SnNotSupportedException", "{operation}");
    }
}

#[tokio::test]
async fn a_copy_into_a_bucket() {
    let s3 = S3Server::start().await;
    let options: Vec<_> =
        s3.options().into_iter().map(|(key, value)| format!("{key} = \"{value}\"")).collect();
    let more = format!(
        "[storage.custom_cloud]\nurl = \"s3://{}/allowed\"\noptions = {{ {}, max_retries = \"2\" }}\n",
        s3.bucket,
        options.join(", ")
    );
    let site = Site::with(&more).await;
    let target = s3.bucket_dir().join("allowed/search");
    std::fs::create_dir_all(target.join("sub")).unwrap();
    std::fs::write(target.join("segments_zz"), "old").unwrap();
    std::fs::write(target.join("sub/stays"), "x").unwrap();
    let refused = json!({"target": format!("s3://{}/elsewhere", s3.bucket)}).to_string();
    let (status, ..) = site.error(Method::POST, "BackupIndex", &refused).await;
    assert_eq!(status, 400);
    let body = json!({"target": format!("s3://{}/allowed/search", s3.bucket)}).to_string();
    site.ok("BackupIndex", &body).await;
    let ended = site.ended().await;
    assert_eq!(ended["State"], "Finished", "{ended}");
    let mut copied = tree(&target);
    assert_eq!(copied.remove("sub/stays").as_deref(), Some(&b"x"[..]));
    copied.retain(|name, _| !name.starts_with('.'));
    lucene::check(&copied);
}
