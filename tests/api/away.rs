//! A portal whose database is away, or which is closed: keys of the installation still come in.

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use portal_backup::app::App;
use portal_backup::catalog::Scope;
use portal_backup::config::Secret;
use portal_backup::http::{HttpState, application};
use portal_backup::jobs::{JobKind, NewJob};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::identity;
use crate::support::docspace::{ADMIN_KEY, DocSpace};
use crate::support::service::Service;

const RESTORE_PROGRESS: &str = "/api/2.0/backup/getrestoreprogress?dump=true";

#[tokio::test]
async fn wrong_credentials_of_the_database_are_told_in_words() {
    let docspace = DocSpace::create().await;
    let config = identity::config(&docspace).replace("root@", "nobody:wrong@");
    assert!(config.contains("nobody:wrong@"));
    let service = Service::start(&config).await;
    service.start_backup("Local", json!([])).await;
    let failed = service.finish().await;
    assert_eq!(failed["status"], 4, "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("denied"), "{failed}");
    assert!(!failed.to_string().contains("wrong"), "{failed}");
    for path in ["/v1/jobs", "/v1/archives", "/api/2.0/backup/getbackuphistory?dump=true"] {
        service.json(path).await;
    }
    let bearer = format!("Bearer {}", service.key);
    for (key, status) in [(bearer.as_str(), 200), (service.key.as_str(), 200), ("", 200)] {
        let request = service.http.get(format!("{}{RESTORE_PROGRESS}", service.base));
        let answer = request.header("Authorization", key).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{key}");
    }
    // DocSpace's own keys are in that database.
    for (path, text) in [
        ("/api/2.0/backup/getbackupprogress?dump=true", "/error/message"),
        ("/v1/jobs", "/error/message"),
    ] {
        let request = service.http.get(format!("{}{path}", service.base));
        let answer = request.header("Authorization", ADMIN_KEY.text()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "5");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer.pointer(text).unwrap(), "The portal's database does not answer");
    }
}

#[actix_web::test]
async fn a_key_of_the_installation_is_not_locked_out_by_a_restore() {
    let docspace = DocSpace::create().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = docspace.config();
    config.catalog.url = Secret::new(format!("sqlite://{}/catalog.db", dir.path().display()));
    config.storage.local.root = dir.path().join("backups");
    docspace.execute(&["update tenants_tenants set status = 4"]).await;
    let app = App::build(config).await.unwrap();
    let job = NewJob {
        kind: JobKind::Restore,
        tenant_id: 1,
        dump: true,
        request: json!({}),
        exclusive: Some("installation".to_owned()),
        archive_id: None,
    };
    let job = app.queue.enqueue(job).await.unwrap().job;
    let (_, key) = app.catalog.api_keys().create("test", Scope::Write).await.unwrap();
    let service = init_service(application(Data::new(HttpState::new(app).unwrap()))).await;
    let ask = async |request: TestRequest| {
        let request = request.insert_header(("Authorization", key.expose()));
        let answer = call_service(&service, request.to_request()).await;
        let status = answer.status().as_u16();
        let body = read_body(answer).await;
        (status, serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null))
    };
    let path = format!("/v1/jobs/{}", job.id);
    let (status, shown) = ask(TestRequest::get().uri(&path)).await;
    assert_eq!((status, &shown["state"]), (200, &json!("queued")));
    assert_eq!(ask(TestRequest::get().uri("/v1/jobs")).await.1["total"], 1);
    let body = json!({"storageType": "Local", "dump": true});
    for path in ["/api/2.0/backup/startbackup", "/v1/backups"] {
        let (status, refused) = ask(TestRequest::post().uri(path).set_json(&body)).await;
        assert_eq!(status, 409, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("restore"), "{refused}");
    }
    let (status, _) = ask(TestRequest::delete().uri(&path)).await;
    assert_eq!(status, 202);
    let (status, events) = ask(TestRequest::get().uri(&format!("{path}/events"))).await;
    assert_eq!((status, events), (200, Value::Null), "no JSON, but a stream that ends");

    // Once known, the tenant is known also when the database has gone.
    docspace.execute(&["rename table tenants_tenants to tenants_away"]).await;
    let (status, shown) = ask(TestRequest::get().uri(&path)).await;
    assert_eq!((status, &shown["state"]), (200, &json!("cancelled")));
}
