//! Who may do what.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

#[tokio::test]
async fn keys_decide_what_may_be_done() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let progress = "/api/2.0/backup/getbackupprogress";
    let get = |header: Option<String>| {
        let request = service.http.get(format!("{}{progress}", service.base));
        match header {
            Some(value) => request.header("Authorization", value),
            None => request,
        }
        .send()
    };
    for header in [Some(service.key.clone()), Some(format!("Bearer {}", service.key))] {
        assert_eq!(get(header).await.unwrap().status(), StatusCode::OK);
    }
    for header in [None, Some(format!("sk-{}", "0".repeat(64)))] {
        let answer = get(header).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.text().await.unwrap(), "");
    }
    let reader = service.new_key("read");
    assert_eq!(get(Some(reader.clone())).await.unwrap().status(), StatusCode::OK);
    let archive = service.backup("Local", json!([])).await;
    let id = archive["id"].as_str().unwrap();
    for (method, path) in [
        (Method::POST, "/api/2.0/backup/startbackup".to_owned()),
        (Method::DELETE, format!("/api/2.0/backup/deletebackup/{id}")),
        (Method::GET, format!("/v1/archives/{id}/content")),
        (Method::GET, format!("/v1/archives/{id}/entries/dump")),
    ] {
        let answer = service
            .http
            .request(method, format!("{}{path}", service.base))
            .header("Authorization", &reader)
            .json(&json!({"storageType": "Local", "dump": true}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(!service.log().contains(&service.key) && !service.log().contains(&reader));
}

#[tokio::test]
async fn guessing_keys_is_slowed_down() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let mut statuses = Vec::new();
    for guess in 0..40 {
        let answer = service
            .http
            .get(format!("{}/api/2.0/backup/getbackuphistory", service.base))
            .header("Authorization", format!("sk-{guess:064}"))
            .send()
            .await
            .unwrap();
        statuses.push(answer.status());
    }
    assert_eq!(statuses[0], StatusCode::UNAUTHORIZED);
    assert_eq!(statuses[39], StatusCode::TOO_MANY_REQUESTS);
    // Who has a key is not shut out by others' guesses.
    assert_eq!(service.get("/api/2.0/backup/getbackuphistory").await.status(), StatusCode::OK);
}
