//! A small map whose entries end by themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keeps at most `capacity` entries, each for its own time.
pub struct TtlCache<K, V> {
    entries: Mutex<HashMap<K, (Instant, V)>>,
    capacity: usize,
}

impl<K: Hash + Eq, V: Clone> TtlCache<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, value) = entries.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    pub fn insert(&self, key: K, value: V, lifetime: Duration) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if entries.len() >= self.capacity {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= self.capacity {
            // Starting over costs a few look-ups; keeping an order of use would cost more.
            entries.clear();
        }
        entries.insert(key, (now + lifetime, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_and_their_number_is_bounded() {
        let cache = TtlCache::new(2);
        cache.insert(1, "a", Duration::from_secs(60));
        cache.insert(2, "b", Duration::ZERO);
        assert_eq!((cache.get(&1), cache.get(&2)), (Some("a"), None));
        cache.insert(3, "c", Duration::from_secs(60));
        assert_eq!((cache.get(&1), cache.get(&3)), (Some("a"), Some("c")));
        cache.insert(4, "d", Duration::from_secs(60));
        assert!(cache.entries.lock().unwrap().len() <= 2);
        assert_eq!(cache.get(&4), Some("d"));
    }
}
