//! A thousand clients that poll while a backup runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use super::identity::config;
use crate::support::docspace::*;
use crate::support::proxy::{Faults, Proxy};
use crate::support::service::Service;

const CLIENTS: usize = 1000;
const ROUNDS: usize = 6;
const GUESSES: u32 = 40;

/// One client with one connection, which it keeps.
struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: &str) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    async fn get(&mut self, path: &str, key: &str) -> (u16, String) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\n\r\n");
        self.socket.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more().await;
        };
        let text = String::from_utf8(self.buffer[..head].to_vec()).unwrap().to_lowercase();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let length = text.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let length: usize = length.trim().parse().unwrap();
        while self.buffer.len() < head + 4 + length {
            self.more().await;
        }
        (status, String::from_utf8(self.buffer[head + 4..].to_vec()).unwrap())
    }

    async fn more(&mut self) {
        let read = self.socket.read_buf(&mut self.buffer).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
    }
}

/// The sum of the figures of this name.
async fn figure(service: &Service, name: &str) -> u64 {
    let text = service.get("/metrics").await.text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// Issue 5, scope 8: "1,000 clients polling progress and history while a backup runs, with a bounded number
/// of database queries (cached state), no error".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_cost_the_databases_next_to_nothing() {
    let docspace = DocSpace::create().await;
    // The backup reads its tables through this, slowly, so that it lasts as long as the clients.
    let slow = Faults { delay: Duration::from_millis(40), ..Faults::default() };
    let proxy = Proxy::start("127.0.0.1:3306", slow).await;
    let address = proxy.endpoint.trim_start_matches("http://").to_owned();
    let text = config(&docspace).replace("127.0.0.1:3306", &address);
    let service = Service::start(&text).await;
    let address = service.base.trim_start_matches("http://").to_owned();
    let keys = Arc::new([service.key.clone(), ADMIN_KEY.text(), OWNER_KEY.text()]);
    let start = Arc::new(Barrier::new(CLIENTS + 1));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, keys, start) = (address.clone(), keys.clone(), start.clone());
            let answered = answered.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&address).await;
                let key = &keys[number % keys.len()];
                start.wait().await;
                let mut seen = BTreeSet::new();
                for _ in 0..ROUNDS {
                    for path in ["getbackupprogress?dump=true", "getbackuphistory?dump=true"] {
                        let path = format!("/api/2.0/backup/{path}");
                        let (status, body) = client.get(&path, key).await;
                        assert_eq!(status, 200, "{path} {body}");
                        let body: Value = serde_json::from_str(&body).unwrap();
                        assert_eq!(body["status"], 0);
                        if let Some(done) = body["response"]["isCompleted"].as_bool() {
                            seen.insert(done);
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                seen
            })
        })
        .collect();
    let catalog = figure(&service, "portal_backup_catalog_queries_total").await;
    let portal = figure(&service, "portal_backup_portal_queries_total").await;
    let began = Instant::now();
    service.start_backup("Local", json!([])).await;
    start.wait().await;
    let mut running = 0;
    for client in clients {
        running += usize::from(client.await.unwrap().contains(&false));
    }
    // What is loaded anew some times a second grows with the seconds, not with the clients.
    let seconds = began.elapsed().as_secs() + 1;
    let catalog = figure(&service, "portal_backup_catalog_queries_total").await - catalog;
    let portal = figure(&service, "portal_backup_portal_queries_total").await - portal;
    let requests = answered.load(Ordering::Relaxed);
    println!(
        "{requests} requests in {seconds} s: {catalog} to the catalog, {portal} to the portal"
    );
    assert_eq!(requests, (CLIENTS * ROUNDS * 2) as u64);
    assert!(running > CLIENTS / 2, "{running} saw the backup run");
    assert!(catalog < 200 + 60 * seconds, "{catalog} questions to the catalog in {seconds} s");
    assert!(portal < 100 + 20 * seconds, "{portal} questions to the portal in {seconds} s");
    assert_eq!(service.finish().await["error"], "");
    let history = service.json("/api/2.0/backup/getbackuphistory?dump=true").await;
    assert_eq!(history["count"], 1, "seen as soon as the backup has ended");
}

/// Issue 5, scope 8: "DocSpace key checks (100,000 PBKDF2 rounds) do not stall the server": while many guess
/// keys, each from an address of its own, everybody else is answered, and who was known never waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashing_of_guesses_stalls_nobody() {
    let docspace = DocSpace::create().await;
    let mut service = Service::prepare(&config(&docspace));
    let file = service.dir.path().join("portal-backup.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("[server]", "[server]\ntrusted_proxies = [\"127.0.0.1\"]", 1);
    std::fs::write(&file, text).unwrap();
    service.restart().await;
    let address = service.base.trim_start_matches("http://").to_owned();
    let known = ADMIN_KEY.text();
    let mut client = Client::connect(&address).await;
    assert_eq!(client.get("/api/2.0/backup/getbackupprogress", &known).await.0, 200);
    let guesses: Vec<_> = (0..GUESSES)
        .map(|number| {
            let url = format!("{}/api/2.0/backup/getbackupprogress", service.base);
            let request = service
                .http
                .get(url)
                .header("Authorization", format!("sk-{:064}", 1000 + number))
                .header("X-Forwarded-For", format!("198.51.{}.{}", number / 250, number % 250));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut answered = 0;
    for key in [&service.key, &known].into_iter().cycle() {
        assert_eq!(client.get("/api/2.0/backup/getbackupprogress", key).await.0, 200);
        answered += 1;
        if guesses.iter().all(|guess| guess.is_finished()) {
            break;
        }
    }
    for guess in guesses {
        let refused = guess.await.unwrap();
        // Who waits too long for others' hashes is told to come again.
        assert!([401, 503].contains(&refused), "{refused}");
    }
    // Were they in one queue with the guesses, they would be answered as often at most.
    assert!(answered > GUESSES, "{answered} answers while {GUESSES} guesses were hashed");
}
