//! Slows down those who guess credentials, and nobody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Beyond so many addresses the quiet ones are forgotten.
const MOST_ADDRESSES: usize = 10_000;
const WHEN_FLOODED: Duration = Duration::from_secs(60);
const MOST_KNOWN_KEYS: usize = 4_096;

/// Wrong credentials by client address: ten at once, then ten a minute.
///
/// A blocked address is answered before its credential is hashed. Credentials that were right before are
/// let through even then, so a neighbour's guesses lock nobody out.
pub struct Failures {
    limiter: DefaultKeyedRateLimiter<Network>,
    clock: DefaultClock,
    blocked: Mutex<HashMap<Network, Instant>>,
    known: Mutex<HashMap<[u8; 32], Instant>>,
    /// Few hash at once: each costs some 50 ms of a core, and who comes in a crowd is counted in turn.
    hashing: Semaphore,
    /// Counts the credentials that proved right.
    proved: watch::Sender<u64>,
}

/// One subscriber: an IPv4 address, or the /64 of an IPv6 one.
type Network = IpAddr;

impl Default for Failures {
    fn default() -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(PER_MINUTE)),
            clock: DefaultClock::default(),
            blocked: Mutex::default(),
            known: Mutex::default(),
            hashing: Semaphore::new(2),
            proved: watch::Sender::new(0),
        }
    }
}

impl Failures {
    /// How long the address must still wait; None when it may try.
    pub fn wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        let network = network(address);
        let mut blocked = lock(&self.blocked);
        let until = *blocked.get(&network)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            blocked.remove(&network);
            return None;
        }
        Some(left)
    }

    /// Counts a wrong credential. Returns how long the address must wait, if this was one too many.
    pub fn count(&self, address: Option<IpAddr>) -> Option<Duration> {
        let network = network(address);
        if self.limiter.len() > MOST_ADDRESSES {
            self.limiter.retain_recent();
            if self.limiter.len() > MOST_ADDRESSES {
                // A flood from more networks than we care to tell apart: refuse rather than grow.
                return Some(WHEN_FLOODED);
            }
        }
        let refused = self.limiter.check_key(&network).err();
        let wait = refused?.wait_time_from(self.clock.now());
        let now = Instant::now();
        let mut blocked = lock(&self.blocked);
        if blocked.len() >= MOST_ADDRESSES {
            blocked.retain(|_, until| *until > now);
        }
        if blocked.len() < MOST_ADDRESSES {
            blocked.insert(network, now + wait);
        }
        Some(wait)
    }

    /// Whether this credential was right lately.
    pub fn is_known(&self, key: &str) -> bool {
        lock(&self.known).contains_key(&digest(key))
    }

    /// A credential was right. Those who wait with the same one need not wait any more.
    pub fn remember(&self, key: &str) {
        let (key, now) = (digest(key), Instant::now());
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN_KEYS && !known.contains_key(&key) {
            let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.map(|oldest| known.remove(&oldest));
        }
        let is_new = known.insert(key, now).is_none();
        drop(known);
        if is_new {
            self.proved.send_modify(|count| *count += 1);
        }
    }

    /// Waits for a turn to hash. None: meanwhile the credential proved right by another's turn: a thousand
    /// clients with one key are let in together, not one after another.
    pub async fn turn(&self, key: &str) -> Option<SemaphorePermit<'_>> {
        let mut proved = self.proved.subscribe();
        let mut turn = std::pin::pin!(self.hashing.acquire());
        loop {
            if self.is_known(key) {
                return None;
            }
            tokio::select! {
                // The semaphore is never closed.
                permit = &mut turn => return permit.ok().filter(|_| !self.is_known(key)),
                _ = proved.changed() => {}
            }
        }
    }

    /// A credential that was right is not right any more.
    pub fn forget(&self, key: &str) {
        lock(&self.known).remove(&digest(key));
    }
}

fn network(address: Option<IpAddr>) -> Network {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn ten_are_free_and_the_next_waits() {
        let failures = Failures::default();
        for _ in 0..10 {
            assert_eq!(failures.wait(ip("192.0.2.1")), None);
            assert_eq!(failures.count(ip("192.0.2.1")), None);
        }
        let wait = failures.count(ip("192.0.2.1")).unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
        assert!(failures.wait(ip("192.0.2.1")).is_some());
        assert_eq!(failures.wait(ip("192.0.2.2")), None, "others are not meant");
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let failures = Failures::default();
        for host in 0..11 {
            failures.count(ip(&format!("2001:db8::{host:x}")));
        }
        assert!(failures.wait(ip("2001:db8::ffff")).is_some());
        assert_eq!(failures.wait(ip("2001:db8:0:1::1")), None);
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1").unwrap());
    }

    #[tokio::test]
    async fn a_crowd_with_one_key_waits_for_one_proof() {
        let failures = Failures::default();
        let taken = (failures.turn("a").await, failures.turn("b").await);
        assert!(taken.0.is_some() && taken.1.is_some());
        let crowd = futures::future::join_all((0..50).map(|_| failures.turn("sk-right")));
        let prove = async {
            tokio::task::yield_now().await;
            failures.remember("sk-right");
        };
        let (crowd, ()) = tokio::join!(crowd, prove);
        assert!(crowd.iter().all(Option::is_none), "though both turns are still taken");
        drop(taken);
        assert!(failures.turn("another").await.is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        for n in 0..MOST_KNOWN_KEYS + 10 {
            failures.remember(&format!("sk-{n}"));
        }
        assert_eq!(failures.known.lock().unwrap().len(), MOST_KNOWN_KEYS);
        let newest = format!("sk-{}", MOST_KNOWN_KEYS + 9);
        assert!(failures.is_known(&newest));
        failures.forget(&newest);
        assert!(!failures.is_known(&newest));
    }
}
