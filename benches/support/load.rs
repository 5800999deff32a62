//! How fast a thousand clients are answered that poll progress and history while a backup runs.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const CLIENTS: u32 = 1_000;
/// Of one client: progress and history in turns.
const PERIOD: Duration = Duration::from_secs(1);
const PATHS: [&str; 2] =
    ["/api/2.0/backup/getbackupprogress?dump=true", "/api/2.0/backup/getbackuphistory?dump=true"];

/// One client, until `ended`, on a connection that it keeps.
pub async fn client(
    number: u32,
    url: &str,
    key: &str,
    ended: &std::sync::atomic::AtomicBool,
) -> Result<Vec<Duration>, String> {
    let text = |error: std::io::Error| error.to_string();
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    // Spread evenly over the period, as independent clients are.
    tokio::time::sleep(PERIOD * number / CLIENTS).await;
    let mut socket = TcpStream::connect(address).await.map_err(text)?;
    let mut ticks = tokio::time::interval(PERIOD);
    let mut times = Vec::new();
    let mut answer = Vec::new();
    for path in PATHS.iter().cycle() {
        ticks.tick().await;
        if ended.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {key}\r\n\r\n");
        let began = Instant::now();
        socket.write_all(request.as_bytes()).await.map_err(text)?;
        answer.clear();
        while !is_whole(&answer) {
            if socket.read_buf(&mut answer).await.map_err(text)? == 0 {
                return Err("the connection was closed".to_owned());
            }
        }
        times.push(began.elapsed());
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer).into_owned());
        }
    }
    Ok(times)
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= end + 4 + length)
}
