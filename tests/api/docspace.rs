//! DocSpace's backup API on the wire.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::portal::PlainPortal;
use crate::support::service::{Service, names};

#[tokio::test]
async fn the_request_of_docspaces_sample_is_served() {
    let portal = PlainPortal::new(100);
    let service = Service::start(&portal.config()).await;
    let answer = service
        .request(Method::POST, "/api/2.0/backup/startbackup")
        .header("Content-Type", "application/json")
        .body(r#"{"storageType":"Local","dump":true}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], 0);
    assert_eq!(body["statusCode"], 200);
    assert_eq!(body["count"], 1);
    assert_eq!(
        body["links"],
        json!([{"href": format!("{}/api/2.0/backup/startbackup", service.base), "action": "POST"}])
    );
    let response = &body["response"];
    assert_eq!(response["error"], "");
    assert_eq!(response["backupProgressEnum"], 0);
    assert_eq!(response["tenantId"], 1);
    assert!(response["taskId"].is_string());

    let done = service.finish().await;
    assert_eq!(done["taskId"], response["taskId"]);
    let link = done["link"].as_str().unwrap();
    let download = reqwest::get(link).await.unwrap();
    assert_eq!(download.status(), StatusCode::OK);
    let bytes = download.bytes().await.unwrap();
    let stored = names(&service.backups());
    assert_eq!(stored.len(), 1);
    assert!(stored[0].starts_with("workspace_") && stored[0].ends_with(".tar.gz"), "{stored:?}");
    assert!(bytes == std::fs::read(service.backups().join(&stored[0])).unwrap());

    // DocSpace's web client uses the other path.
    let history = service.json("/api/2.0/portal/getbackuphistory?dump=true").await;
    let record = &history["response"][0];
    assert_eq!(record["fileName"], stored[0]);
    assert_eq!(record["storageType"], 3);
    assert_eq!(record["expiresOn"], "0001-01-01T00:00:00");
    let id = record["id"].as_str().unwrap();
    let deleted = service
        .request(Method::DELETE, &format!("/api/2.0/backup/deletebackup/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    assert_eq!(deleted.json::<Value>().await.unwrap()["response"], true);
    assert_eq!(names(&service.backups()), Vec::<String>::new());
    assert_eq!(service.json("/api/2.0/backup/getbackuphistory").await["count"], 0);
}

#[tokio::test]
async fn starting_while_one_runs_returns_the_running_one() {
    let portal = PlainPortal::new(300_000);
    let service = Service::start(&portal.config()).await;
    let first = service.start_backup("Local", json!([])).await;
    let second = service.start_backup("3", json!(null)).await;
    assert_eq!(first["taskId"], second["taskId"]);
    service.finish().await;
    assert_eq!(names(&service.backups()).len(), 1);
}

#[tokio::test]
async fn a_backup_can_be_cancelled_and_leaves_nothing() {
    let portal = PlainPortal::new(400_000);
    let service = Service::start(&portal.config()).await;
    service.start_backup("Local", json!([])).await;
    let answer = service.post("/api/2.0/backup/cancelbackup", &json!({})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let done = service.finish().await;
    assert_eq!(done["status"], 3, "{done}");
    assert_eq!(names(&service.backups()), Vec::<String>::new());
    service.backup("Local", json!([])).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_in_docspaces_form() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let send = |body: &'static str| {
        service
            .request(Method::POST, "/api/2.0/backup/startbackup")
            .header("Content-Type", "application/json")
            .body(body)
            .send()
    };
    for body in [
        "{",
        "",
        r#"{"storageType":"Moon"}"#,
        r#"{"storageType":17,"dump":true}"#,
        "{}",
        r#"{"storageType":"Documents","dump":true}"#,
        r#"{"storageType":"ThirdPartyConsumer","dump":true}"#,
        r#"{"storageType":"CustomCloud","dump":true}"#,
        r#"{"storageType":"Local","dump":true,"storageParams":[{"key":"filePath","value":"../out"}]}"#,
        r#"{"storageType":"Local","dump":true,"storageParams":[{"key":"filePath","value":"/etc"}]}"#,
    ] {
        let answer = send(body).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], 1, "{body}: {answer}");
        assert_eq!(answer["statusCode"], 400, "{body}: {answer}");
    }
    for id in ["00000000-0000-0000-0000-000000000001", "nonsense"] {
        let path = format!("/api/2.0/backup/deletebackup/{id}");
        let answer = service.request(Method::DELETE, &path).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{id}: {}", answer.status());
    }
    service.backup("Local", json!([])).await;
}
