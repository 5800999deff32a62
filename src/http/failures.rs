//! Slows down those who guess credentials, and nobody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};

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
    pub hashing: tokio::sync::Semaphore,
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
            hashing: tokio::sync::Semaphore::new(2),
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

    pub fn remember(&self, key: &str) {
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN_KEYS {
            let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.map(|oldest| known.remove(&oldest));
        }
        known.insert(digest(key), Instant::now());
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
