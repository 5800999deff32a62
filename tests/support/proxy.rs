//! A TCP proxy that misbehaves on purpose, for tests of what happens when a network does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the proxy does to connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// After so many bytes, over all connections together, every connection is cut, and new ones too.
    pub cut_after: Option<u64>,
    /// The first answer after so many bytes from clients is lost, and its connection cut.
    pub lose_answer_after: Option<u64>,
    /// Each connection is cut when it has brought so many bytes of answers.
    pub cut_answers_after: Option<u64>,
    /// So many requests are answered by 503, as if there were too many.
    pub throttled: u64,
    /// Waited before each piece of up to 64 KiB.
    pub delay: Duration,
}

/// Listens on a port of its own until dropped.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    passed: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    healed: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// `target`: `host:port`.
    pub async fn start(target: &str, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (passed, healed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let refused = Arc::new(AtomicU64::new(0));
        let (target, count, well) = (target.to_owned(), passed.clone(), healed.clone());
        let so_far = refused.clone();
        let serving = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (target, count, well) = (target.clone(), count.clone(), well.clone());
                if so_far.load(Ordering::SeqCst) < faults.throttled {
                    so_far.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(refuse(client));
                    continue;
                }
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        pass(client, server, faults, &count, &well).await;
                    }
                });
            }
        });
        Self { endpoint, passed, refused, healed, serving }
    }

    /// How many requests were answered by 503.
    #[allow(dead_code)]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many bytes clients have sent through.
    #[allow(dead_code)]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// From now on everything passes.
    #[allow(dead_code)]
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }
}

/// Reads one request whole, and says that there are too many.
async fn refuse(mut client: TcpStream) -> Option<()> {
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let end = loop {
        let length = client.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&buffer[..length]);
        if let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let body = head.split_once("content-length: ");
    let body: usize =
        body.map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut left = body.saturating_sub(text.len() - end);
    while left > 0 {
        left -= client.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
    }
    let answer = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    client.write_all(answer.as_bytes()).await.ok()
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    faults: Faults,
    count: &AtomicU64,
    well: &AtomicBool,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let Ok(length @ 1..) = from_client.read(&mut buffer).await else { return };
            let total = count.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
            if !well.load(Ordering::SeqCst) {
                tokio::time::sleep(faults.delay).await;
                if faults.cut_after.is_some_and(|limit| total > limit) {
                    return;
                }
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        let mut answered = 0;
        loop {
            let Ok(length @ 1..) = from_server.read(&mut buffer).await else { return };
            answered += length as u64;
            if faults.cut_answers_after.is_some_and(|limit| answered > limit) {
                return;
            }
            let due = |limit| count.load(Ordering::SeqCst) > limit;
            if faults.lose_answer_after.is_some_and(due) && !well.swap(true, Ordering::SeqCst) {
                return;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    // When either direction ends, both sockets are closed.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
