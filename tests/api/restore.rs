//! Asking for restores: what is refused, and who may ask how far one is.

use std::time::{Duration, Instant};

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use portal_backup::app::App;
use portal_backup::catalog::Scope;
use portal_backup::config::{Config, DatabaseConfig, Secret};
use portal_backup::http::{HttpState, application};
use portal_backup::jobs::{JobKind, NewJob};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::upload::upload;
use crate::support::docspace::{ADMIN_KEY, DocSpace, FILES_KEY, MEMBER_KEY, READ_KEY};
use crate::support::portal::{PlainPortal, tree};
use crate::support::service::Service;

const NOBODY: &str = "0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b";
const PROGRESS: &str = "/api/2.0/backup/getrestoreprogress";

#[tokio::test]
async fn wrong_requests_are_refused_in_docspaces_form() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    std::fs::create_dir_all(service.backups().join(".uploads")).unwrap();
    std::fs::write(service.backups().join(".uploads/2-backup.tar"), "x").unwrap();
    let at = |path: &str, storage: Value| {
        json!({"backupId": "", "storageType": storage, "dump": true,
            "storageParams": [{"key": "filePath", "value": path}]})
        .to_string()
    };
    for (body, status, word) in [
        ("{".to_owned(), 400, "JSON"),
        (String::new(), 400, "non-empty"),
        ("{}".to_owned(), 400, "BackupId"),
        (r#"{"backupId":null,"dump":true}"#.to_owned(), 400, "BackupId"),
        (r#"{"backupId":5}"#.to_owned(), 400, "not text"),
        (r#"{"backupId":"","storageType":"Moon"}"#.to_owned(), 400, "Moon"),
        (r#"{"backupId":"","storageType":17}"#.to_owned(), 400, "17"),
        (r#"{"backupId":"","storageType":"Local","dump":true}"#.to_owned(), 400, "filePath"),
        (r#"{"backupId":"1","storageType":3,"storageParams":null}"#.to_owned(), 400, "filePath"),
        (at("", json!("3")), 400, "no archive was uploaded"),
        (at("../x.tar.gz", json!("Local")), 400, "climbs"),
        (at("/etc/passwd", json!("Local")), 400, "must lie under"),
        (at("a/", json!("Local")), 400, "empty"),
        (at(".uploads/2-backup.tar", json!("Local")), 400, "uploads"),
        (at("none.tar.gz", json!("Local")), 404, "none.tar.gz"),
        (at("none.tar.gz", json!("DataStore")), 404, "none.tar.gz"),
        (at("", json!(4)), 400, "filePath is empty"),
        (at("a/x.tar.gz", json!("DataStore")), 400, "separator"),
        (at("x.tar.gz", json!("CustomCloud")), 400, "storage.custom_cloud"),
        (at("12", json!(0)), 400, "portal.docspace"),
        (at("x", json!("5")), 400, "module is missing"),
        (format!(r#"{{"backupId":"{NOBODY}"}}"#), 404, NOBODY),
        (format!(r#"{{"backupId":"{{{NOBODY}}}","dump":true}}"#), 404, NOBODY),
    ] {
        for base in ["backup", "portal"] {
            let answer = service
                .request(Method::POST, &format!("/api/2.0/{base}/startrestore"))
                .header("Content-Type", "application/json")
                .body(body.clone())
                .send()
                .await
                .unwrap();
            let got = answer.status().as_u16();
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(got, status, "{body}: {answer}");
            assert_eq!((&answer["status"], &answer["statusCode"]), (&json!(1), &json!(status)));
            assert!(answer.to_string().contains(word), "{body}: {answer}");
        }
    }
    let path = "/api/2.0/backup/startrestore";
    let untyped = service.request(Method::POST, path).body("{}").send().await.unwrap();
    assert_eq!(untyped.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(service.get(path).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let reader = service.new_key("read");
    for (key, status) in [("", 401), (reader.as_str(), 403)] {
        let request = service.http.post(format!("{}{path}", service.base)).json(&json!({}));
        let answer = request.header("Authorization", key).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn our_own_api_refuses_what_may_not_be_asked() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let root = service.backups().display().to_string();
    let id = json!({"archiveId": NOBODY});
    let with = |mut base: Value, name: &str, value: Value| {
        base[name] = value;
        base
    };
    for (body, status, word) in [
        (json!({}), 400, "archiveId or by url"),
        (with(id.clone(), "url", json!("s3://a/b.tar.gz")), 400, "archiveId or by url"),
        (with(id.clone(), "dryrun", json!(true)), 400, "dryrun"),
        (id.clone(), 404, NOBODY),
        (with(id.clone(), "dryRun", json!(true)), 404, NOBODY),
        (with(id.clone(), "into", json!("other")), 400, "no source"),
        (with(id.clone(), "into", json!("sqlite:///tmp/x.db")), 400, "command line only"),
        (json!({"url": "s3://elsewhere/a.tar.gz"}), 400, "storage.allow"),
        (json!({"url": "file:///etc/a.tar.gz"}), 400, "storage.allow"),
        (json!({"url": "http://127.0.0.1:1/a.tar.gz"}), 400, "begins with"),
        (json!({"url": format!("file://{root}/.uploads/2-backup.tar")}), 400, "uploads"),
        (json!({"url": format!("file://{root}/")}), 400, "names no archive"),
    ] {
        let answer = service.post("/v1/restores", &body).await;
        let got = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{body}: {answer}");
    }
    let reader = service.new_key("read");
    let request = service.http.post(format!("{}/v1/restores", service.base)).json(&id);
    let answer = request.header("Authorization", reader).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let absent = service.cli(&["verify", "--restore", "a.tar.gz"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("a.tar.gz"));
}

#[tokio::test]
async fn anybody_may_ask_how_far_a_restore_is() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let get = |path: String, key: Option<String>| {
        let request = service.http.get(format!("{}{path}", service.base));
        match key {
            Some(key) => request.header("Authorization", key),
            None => request,
        }
        .send()
    };
    for query in ["", "?dump=true", "?Dump=False"] {
        for base in ["backup", "portal"] {
            let path = format!("/api/2.0/{base}/getrestoreprogress{query}");
            let answer = get(path, None).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let answer: Value = answer.json().await.unwrap();
            assert!(answer.get("response").is_none(), "{answer}");
            assert_eq!((&answer["count"], &answer["statusCode"]), (&json!(0), &json!(200)));
        }
    }
    let wrong = format!("sk-{}", "0".repeat(64));
    let reader = service.new_key("read");
    for (key, status) in [
        (format!("Bearer {reader}"), 200),
        (reader, 200),
        (format!("Bearer {wrong}"), 403),
        // DocSpace takes this for no API key at all.
        (wrong, 200),
        ("Basic eDp5".to_owned(), 200),
    ] {
        let answer = get(PROGRESS.to_owned(), Some(key.clone())).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{key}");
    }
    let answer = get(format!("{PROGRESS}?dump=1"), None).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn a_tenant_that_is_being_restored_hears_how_far_that_is() {
    let docspace = DocSpace::create().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = docspace.config();
    config.catalog.url = Secret::new(format!("sqlite://{}/catalog.db", dir.path().display()));
    config.storage.local.root = dir.path().join("backups");
    let open = App::build(config.clone()).await.unwrap();
    let uploads = init_service(application(Data::new(HttpState::new(open).unwrap()))).await;
    let begin = TestRequest::post()
        .uri("/backupFileUpload.ashx?init=true&totalSize=5&extension=tar")
        .insert_header(("Authorization", MEMBER_KEY.text()))
        .to_request();
    let answer = call_service(&uploads, begin).await;
    assert_eq!(answer.status(), StatusCode::OK.as_u16());
    let answer: Value = serde_json::from_slice(&read_body(answer).await).unwrap();
    assert_eq!((&answer["Success"], &answer["Message"]), (&json!(false), &json!("Access denied")));
    for (name, value) in [("trust", json!(true)), ("into", json!("docspace"))] {
        let mut body = json!({"archiveId": NOBODY});
        body[name] = value;
        let restore = TestRequest::post()
            .uri("/v1/restores")
            .insert_header(("Authorization", ADMIN_KEY.text()))
            .set_json(&body)
            .to_request();
        let answer = call_service(&uploads, restore).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN.as_u16());
        let text = read_body(answer).await;
        assert!(String::from_utf8_lossy(&text).contains("key of the installation"), "{text:?}");
    }

    docspace.execute(&["update tenants_tenants set status = 4"]).await;
    let app = App::build(config.clone()).await.unwrap();
    let job = NewJob {
        kind: JobKind::Restore,
        tenant_id: 1,
        dump: true,
        request: json!({}),
        exclusive: None,
        archive_id: None,
    };
    let job = app.queue.enqueue(job).await.unwrap().job;
    let service = init_service(application(Data::new(HttpState::new(app).unwrap()))).await;
    let get = async |path: &str, key: Option<String>| {
        let mut request = TestRequest::get().uri(path);
        if let Some(key) = key {
            request = request.insert_header(("Authorization", key));
        }
        let answer = call_service(&service, request.to_request()).await;
        let status = answer.status().as_u16();
        let body = read_body(answer).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null))
    };
    let closed = get("/api/2.0/backup/getbackupprogress", Some(ADMIN_KEY.text())).await;
    assert_eq!(closed, (403, Value::Null));
    for query in ["", "?dump=true"] {
        let (status, answer) = get(&format!("{PROGRESS}{query}"), None).await;
        assert_eq!(status, 200);
        assert_eq!(
            answer["response"],
            json!({
                "isCompleted": false, "progress": 0, "error": "", "link": "", "tenantId": 1,
                "backupProgressEnum": 1, "status": 0, "taskId": job.id.to_string(),
            })
        );
    }
    let (status, answer) = get(&format!("{PROGRESS}?dump=false"), None).await;
    assert_eq!(
        (status, answer.get("response")),
        (200, None),
        "it is no restore of the tenant's own"
    );
    for (key, expected) in [(&READ_KEY, 200), (&ADMIN_KEY, 200), (&FILES_KEY, 403)] {
        let (status, _) = get(PROGRESS, Some(format!("Bearer {}", key.text()))).await;
        assert_eq!(status, expected, "{}", key.text());
    }

    // In the midst of a restore the database may not even know its tenants.
    docspace.execute(&["rename table tenants_tenants to tenants_away"]).await;
    let app = App::build(config).await.unwrap();
    let service = init_service(application(Data::new(HttpState::new(app).unwrap()))).await;
    let status = async |path: &str| {
        call_service(&service, TestRequest::get().uri(path).to_request()).await.status().as_u16()
    };
    assert_eq!(status(&format!("{PROGRESS}?dump=true")).await, 200);
    assert_eq!(status(&format!("{PROGRESS}?dump=false")).await, 503);
}

#[tokio::test]
async fn a_restore_waits_for_no_backup() {
    let portal = PlainPortal::new(300_000);
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let restore = |id: &Value, dump: bool| json!({"backupId": id, "dump": dump, "notify": false});
    let path = "/api/2.0/portal/startrestore";
    let answer = service.post(path, &restore(&archive["id"], false)).await;
    assert_eq!(
        answer.status(),
        StatusCode::BAD_REQUEST,
        "the archive is of the whole installation"
    );

    service.start_backup("Local", json!([])).await;
    let answer = service.post(path, &restore(&archive["id"], true)).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["status"], &answer["statusCode"]), (&json!(1), &json!(409)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("backup"), "{answer}");
    let answer = service.post("/v1/restores", &json!({"archiveId": archive["id"]})).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "conflict");
    let id = archive["id"].as_str().unwrap();
    let restored = service.cli(&["restore", id]);
    assert_eq!(restored.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&restored.stderr).contains("a backup is running"));
    service.finish().await;
}

/// Nobody works on the queue here, so that what is queued stays as it is.
#[actix_web::test]
async fn while_a_restore_runs_nothing_else_begins() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.catalog.url = Secret::new(format!("sqlite://{}/catalog.db", dir.path().display()));
    config.storage.local.root = dir.path().join("backups");
    config.portal.database = vec![DatabaseConfig {
        name: "main".to_owned(),
        url: Secret::new(format!("sqlite://{}", portal.database().display())),
    }];
    let app = App::build(config).await.unwrap();
    let (_, key) = app.catalog.api_keys().create("test", Scope::Write).await.unwrap();
    let service = init_service(application(Data::new(HttpState::new(app.clone()).unwrap()))).await;
    let post = async |path: &str, content_type: &str, body: String| {
        let request = TestRequest::post()
            .uri(path)
            .insert_header(("Authorization", key.expose()))
            .insert_header(("Content-Type", content_type))
            .set_payload(body);
        let answer = call_service(&service, request.to_request()).await;
        let status = answer.status().as_u16();
        let body = read_body(answer).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null))
    };
    let upload = "/backupFileUpload.ashx";
    let (_, begun) =
        post(&format!("{upload}?init=true&totalSize=5&extension=tar"), "", String::new()).await;
    assert_eq!(begun["Success"], true);
    let chunk =
        "--b\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\n12345\r\n--b--\r\n";
    let (_, sent) = post(upload, "multipart/form-data; boundary=b", chunk.to_owned()).await;
    assert_eq!(sent["EndUpload"], true, "{sent}");

    let json_type = "application/json";
    let restore = json!({"backupId": "", "storageType": "3", "dump": true,
        "storageParams": [{"key": "filePath", "value": "on my machine.tar"}]})
    .to_string();
    let start = "/api/2.0/backup/startrestore";
    let (status, first) = post(start, json_type, restore.clone()).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["response"]["backupProgressEnum"], 1);
    let id = first["response"]["taskId"].as_str().unwrap().to_owned();
    let job = app.queue.get(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(job.request["archive"], json!({"from": "uploaded", "tenant": 1}));
    let (status, second) = post(start, json_type, restore).await;
    assert_eq!((status, &second["response"]["taskId"]), (200, &json!(id)), "the one that runs");
    let unknown = json!({"backupId": NOBODY, "dump": true}).to_string();
    let (status, second) = post(start, json_type, unknown).await;
    assert_eq!((status, &second["response"]["taskId"]), (200, &json!(id)), "whatever is asked for");
    let unknown = json!({"archiveId": NOBODY}).to_string();
    let (status, second) = post("/v1/restores", json_type, unknown).await;
    assert_eq!((status, &second["id"]), (202, &json!(id)), "{second}");

    let backup = json!({"storageType": "Local", "dump": true}).to_string();
    let (status, refused) = post("/api/2.0/backup/startbackup", json_type, backup).await;
    assert_eq!((status, &refused["statusCode"]), (409, &json!(409)), "{refused}");
    let backup = json!({"storageType": "Local"}).to_string();
    let (status, refused) = post("/v1/backups", json_type, backup).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("conflict")), "{refused}");
    // What is being restored is not replaced.
    let (status, refused) =
        post(&format!("{upload}?init=true&totalSize=5&extension=tar"), "", String::new()).await;
    assert_eq!((status, &refused["Success"]), (200, &json!(false)), "{refused}");
    let progress = TestRequest::get().uri(PROGRESS).to_request();
    let progress: Value =
        serde_json::from_slice(&read_body(call_service(&service, progress).await).await).unwrap();
    assert_eq!(progress["response"]["taskId"], id);
}

fn notes(portal: &PlainPortal) -> i64 {
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.query_row("select count(*) from note", [], |row| row.get(0)).unwrap()
}

/// Changes what a restore must undo.
fn spoil(portal: &PlainPortal) {
    std::fs::remove_file(portal.files().join("plain.txt")).unwrap();
    std::fs::write(portal.files().join("deep/new.txt"), "new").unwrap();
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.execute("delete from note where id > 5000", []).unwrap();
}

#[tokio::test]
async fn an_archive_puts_the_portal_back_by_every_door() {
    let portal = PlainPortal::new(1000);
    let before = tree(&portal.files());
    let service = Service::start(&portal.config()).await;
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    let file = std::fs::read(service.backups().join(archive["name"].as_str().unwrap())).unwrap();

    // Uploaded, through DocSpace's API, watched without a key.
    spoil(&portal);
    upload(&service, &file).await;
    let body = json!({"backupId": "", "storageType": "3", "dump": true,
        "storageParams": [{"key": "filePath", "value": "mine.tar.gz"}]});
    let answer = service.post("/api/2.0/backup/startrestore", &body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let deadline = Instant::now() + Duration::from_secs(60);
    let done = loop {
        let url = format!("{}{PROGRESS}?dump=true", service.base);
        let answer: Value = service.http.get(url).send().await.unwrap().json().await.unwrap();
        if answer["response"]["isCompleted"] == true {
            break answer["response"].clone();
        }
        assert!(Instant::now() < deadline, "no end: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        (&done["error"], &done["status"], &done["progress"]),
        (&json!(""), &json!(2), &json!(100))
    );
    assert_eq!((tree(&portal.files()) == before, notes(&portal)), (true, 1000));
    let left = std::fs::read_dir(service.backups().join(".uploads")).unwrap().count();
    assert_eq!(left, 1, "only the lock: what was restored is not kept");

    // From the command line.
    spoil(&portal);
    let plan = service.cli(&["restore", id, "--dry-run", "--json"]);
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(plan["tables"].as_array().unwrap().iter().any(|table| table["name"] == "note"));
    assert_ne!(notes(&portal), 1000, "a plan changes nothing");
    let planned = service.post("/v1/restores/plan", &json!({"archiveId": id})).await;
    assert_eq!(planned.status(), StatusCode::OK);
    let restored = service.cli(&["restore", id]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(said.contains("the portal is as the archive says"), "{said}");
    assert_eq!((tree(&portal.files()) == before, notes(&portal)), (true, 1000));

    let proved = service.cli(&["verify", "--restore", id]);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));
    let archive = service.json(&format!("/v1/archives/{id}")).await;
    assert!(archive["provedOn"].is_string(), "{archive}");
}
