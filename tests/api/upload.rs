//! Uploading an archive for a restore, chunk by chunk.

use std::io::Write;
use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::portal::{PlainPortal, noise};
use crate::support::service::{Service, names};

const PATH: &str = "/backupFileUpload.ashx";
const CHUNK: usize = 10_485_760;
const BOUNDARY: &str = "----a3f9";

/// A form as browsers send it, with one file.
fn form(chunk: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nignored\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"blob\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(chunk);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn init(service: &Service, query: &str) -> Value {
    let answer = service.request(Method::POST, &format!("{PATH}?{query}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

async fn send(service: &Service, chunk: &[u8], range: Option<String>) -> Value {
    let mut request = service
        .request(Method::POST, PATH)
        .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(form(chunk));
    if let Some(range) = range {
        request = request.header("Content-Range", range);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

/// How many bytes have arrived; None: there is no upload.
async fn offset(service: &Service) -> Option<usize> {
    let answer = service.request(Method::HEAD, PATH).send().await.unwrap();
    let offset = answer.headers().get("upload-offset")?;
    Some(offset.to_str().unwrap().parse().unwrap())
}

/// Uploads a whole `tar.gz`.
pub async fn upload(service: &Service, file: &[u8]) {
    upload_as(service, file, "tar.gz").await;
}

pub async fn upload_as(service: &Service, file: &[u8], extension: &str) {
    let query = format!("init=true&totalSize={}&extension={extension}", file.len());
    assert_eq!(init(service, &query).await["Success"], true);
    let mut end = false;
    for chunk in file.chunks(CHUNK) {
        let sent = send(service, chunk, None).await;
        assert_eq!(sent["Success"], true, "{sent}");
        end = sent["EndUpload"] == true;
    }
    assert!(end);
}

fn uploads(service: &Service) -> PathBuf {
    service.backups().join(".uploads")
}

#[tokio::test]
async fn an_upload_survives_broken_connections_and_kills() {
    let portal = PlainPortal::new(10);
    let mut service = Service::start(&portal.config()).await;
    let file = noise(2 * CHUNK + 12_345);
    let begun =
        init(&service, &format!("init=true&totalSize={}&extension=tar.gz", file.len())).await;
    assert_eq!(begun, json!({"Success": true, "ChunkSize": CHUNK, "EndUpload": false}));
    let first = send(&service, &file[..CHUNK], None).await;
    assert_eq!(first, json!({"Success": true, "ChunkSize": CHUNK, "EndUpload": false}));

    // The connection breaks in the middle of the second chunk.
    let address = service.base.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let body = form(&file[CHUNK..2 * CHUNK]);
    write!(
        socket,
        "POST {PATH} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        service.key,
        body.len()
    )
    .unwrap();
    socket.write_all(&body[..body.len() / 2]).unwrap();
    drop(socket);
    assert_eq!(offset(&service).await, Some(CHUNK));

    service.kill();
    service.restart().await;
    assert_eq!(offset(&service).await, Some(CHUNK));
    let range =
        |start: usize, end: usize| Some(format!("bytes {start}-{}/{}", end - 1, file.len()));
    // Nobody knows whether the first chunk's answer arrived: it may come again.
    let again = send(&service, &file[..CHUNK], range(0, CHUNK)).await;
    assert_eq!(again["Success"], true, "{again}");
    let early = send(&service, &file[2 * CHUNK..], range(2 * CHUNK, file.len())).await;
    assert_eq!(early["Success"], false, "{early}");
    assert!(early["Message"].as_str().unwrap().contains("out of order"), "{early}");
    let second = send(&service, &file[CHUNK..2 * CHUNK], None).await;
    assert_eq!(second["EndUpload"], false, "{second}");
    assert_eq!(names(&uploads(&service)), ["1-backup.json", "1-backup.part", "lock"]);
    let last = send(&service, &file[2 * CHUNK..], range(2 * CHUNK, file.len())).await;
    assert_eq!(last, json!({"Success": true, "ChunkSize": CHUNK, "EndUpload": true}));
    assert_eq!(names(&uploads(&service)), ["1-backup.tar.gz", "lock"]);
    assert!(std::fs::read(uploads(&service).join("1-backup.tar.gz")).unwrap() == file);
    // Archives are listed and imported from the folder above: an upload is none of them.
    assert_eq!(service.json("/v1/archives").await["total"], 0);
}

#[tokio::test]
async fn wrong_chunks_get_an_answer_and_do_no_harm() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let refused = |answer: Value, word: &str| {
        assert_eq!(answer["Success"], false, "{answer}");
        assert_eq!(answer["EndUpload"], false, "{answer}");
        assert!(answer["Message"].as_str().unwrap().contains(word), "{answer}");
    };
    refused(send(&service, b"chunk", None).await, "init=true");
    assert_eq!(offset(&service).await, None);
    for (query, word) in [
        ("init=true", "totalSize"),
        ("init=true&totalSize=0&extension=tar", "totalSize"),
        ("init=true&totalSize=5&extension=zip", "extension"),
        ("init=true&totalSize=5&extension=..%2Ftar", "extension"),
        ("init=true&totalSize=9000000000000000000&extension=tar", "enough space"),
        ("init=false", "multipart/form-data"),
    ] {
        refused(init(&service, query).await, word);
    }
    let begun = init(&service, "Init=True&TOTALSIZE=20000000&extension=tar").await;
    assert_eq!(begun["Success"], true);
    refused(send(&service, &noise(CHUNK + 1), None).await, "10485760");
    refused(send(&service, b"", None).await, "empty");
    refused(send(&service, b"abc", Some("bytes 0-9/20000000".to_owned())).await, "Content-Range");
    refused(send(&service, b"abc", Some("some".to_owned())).await, "Content-Range");
    let raw = service.request(Method::POST, PATH).body("chunk").send().await.unwrap();
    refused(raw.json().await.unwrap(), "multipart/form-data");
    let empty = service
        .request(Method::POST, PATH)
        .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(format!("--{BOUNDARY}--\r\n"))
        .send()
        .await
        .unwrap();
    refused(empty.json().await.unwrap(), "file");
    assert_eq!(offset(&service).await, Some(0));

    let file = noise(20_000_000);
    assert_eq!(send(&service, &file[..CHUNK], None).await["Success"], true);
    refused(send(&service, &file[CHUNK - 1..], None).await, "larger");
    assert_eq!(offset(&service).await, Some(CHUNK));
    assert_eq!(send(&service, &file[CHUNK..], None).await["EndUpload"], true);
    refused(send(&service, b"more", None).await, "complete already");
    assert!(std::fs::read(uploads(&service).join("1-backup.tar")).unwrap() == file);

    // The name is DocSpace's in any case of letters, and what is not allowed is not answered with 200.
    let other = "/BACKUPFILEUPLOAD.ASHX?init=true&totalSize=5&extension=tar";
    let answer = service.request(Method::POST, other).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["Success"], true);
    let reader = service.new_key("read");
    for (key, status) in [(None, StatusCode::UNAUTHORIZED), (Some(reader), StatusCode::FORBIDDEN)] {
        let url = format!("{}{PATH}?init=true&totalSize=7&extension=tar", service.base);
        let mut request = service.http.post(url);
        if let Some(key) = key {
            request = request.header("Authorization", key);
        }
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    let answer = service.request(Method::HEAD, PATH).send().await.unwrap();
    assert_eq!(answer.headers()["upload-length"], "5");
    assert_eq!(service.request(Method::GET, PATH).send().await.unwrap().status(), 405);
}
