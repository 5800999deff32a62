//! How fast the API answers while a backup runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::service::Service;
use super::{Result, load};

const CLIENTS: u32 = 50;
/// Of one client: two requests a second.
const PERIOD: Duration = Duration::from_millis(500);

pub struct Latency {
    pub requests: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// Who asks meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Fifty, for the progress.
    Few,
    /// See [`load`].
    Many,
}

/// Keeps backups running for at least `length`, and meanwhile lets clients ask.
pub fn measure(service: &Service, length: Duration, who: Clients) -> Result<Latency> {
    let ended = AtomicBool::new(false);
    let url = service.progress_url();
    let (clients, backups) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| clients(who, &url, &service.key, &ended));
        let backups = keep_busy(service, length);
        ended.store(true, Ordering::Relaxed);
        (clients.join(), backups)
    });
    backups?;
    let mut times = clients.map_err(|_| "a client panicked")??;
    times.sort_unstable();
    let at = |part: f64| {
        let position = ((times.len() as f64 * part).ceil() as usize).max(1) - 1;
        times.get(position).copied().ok_or("no answers")
    };
    Ok(Latency { requests: times.len(), p50: at(0.5)?, p99: at(0.99)?, max: at(1.0)? })
}

/// Backs up again and again, until `length` has passed and a backup has ended.
fn keep_busy(service: &Service, length: Duration) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < length {
        service.backup()?;
    }
    Ok(())
}

/// All clients, each with a connection of its own, in one thread: they are not what is measured.
fn clients(
    who: Clients,
    url: &str,
    key: &str,
    ended: &AtomicBool,
) -> std::result::Result<Vec<Duration>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let times = match who {
            Clients::Few => {
                let clients = (0..CLIENTS).map(|number| client(number, url, key, ended));
                futures::future::try_join_all(clients).await?
            }
            Clients::Many => {
                let clients =
                    (0..load::CLIENTS).map(|number| load::client(number, url, key, ended));
                futures::future::try_join_all(clients).await?
            }
        };
        Ok(times.concat())
    })
}

async fn client(
    number: u32,
    url: &str,
    key: &str,
    ended: &AtomicBool,
) -> std::result::Result<Vec<Duration>, String> {
    let client = reqwest::Client::new();
    let mut times = Vec::new();
    // Spread evenly over the period, as independent clients are.
    tokio::time::sleep(PERIOD * number / CLIENTS).await;
    let mut ticks = tokio::time::interval(PERIOD);
    while !ended.load(Ordering::Relaxed) {
        ticks.tick().await;
        let began = Instant::now();
        let answer = client.get(url).header("Authorization", key).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        times.push(began.elapsed());
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
    }
    Ok(times)
}
