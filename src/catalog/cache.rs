//! A small cache of answers that are asked for far more often than they change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keeps values for a short time. While one caller loads a value, the others wait for it,
/// so there is at most one load per key and period however many ask.
pub(crate) struct Cache<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
    keep: Duration,
    limit: usize,
}

type Slot<V> = Arc<tokio::sync::Mutex<Option<Kept<V>>>>;

struct Kept<V> {
    loaded: Instant,
    epoch: u64,
    value: V,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// `keep`: how old a value may be. `limit`: how many keys are kept at most.
    pub(crate) fn new(keep: Duration, limit: usize) -> Self {
        Self { slots: Mutex::new(HashMap::new()), keep, limit }
    }

    /// The value of `key`. One that was loaded in another `epoch` is not used: whoever changes
    /// something in this process raises the epoch, and sees the change at once.
    pub(crate) async fn get<F: Future<Output = V>>(
        &self,
        key: K,
        epoch: impl Fn() -> u64,
        load: impl FnOnce() -> F,
    ) -> V {
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        let epoch = epoch();
        if let Some(kept) = &*kept
            && kept.epoch == epoch
            && kept.loaded.elapsed() < self.keep
        {
            return kept.value.clone();
        }
        let loaded = Instant::now();
        let value = load().await;
        *kept = Some(Kept { loaded, epoch, value: value.clone() });
        value
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.limit && !slots.contains_key(&key) {
            // Those in use by nobody go; the others are as many as there are requests at this moment.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_callers_make_one_load() {
        let cache = Arc::new(Cache::new(Duration::from_secs(60), 10));
        let loads = Arc::new(AtomicU32::new(0));
        let ask = |epoch: u64| {
            let (cache, loads) = (cache.clone(), loads.clone());
            async move {
                cache
                    .get(
                        "key",
                        || epoch,
                        || async {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            loads.fetch_add(1, Ordering::SeqCst)
                        },
                    )
                    .await
            }
        };
        let answers = futures::future::join_all((0..50).map(|_| ask(1))).await;
        assert!(answers.iter().all(|answer| *answer == 0));
        assert_eq!(ask(2).await, 1, "a new epoch is loaded anew");
    }

    #[tokio::test]
    async fn old_values_are_not_used_and_keys_are_bounded() {
        let cache = Cache::new(Duration::from_millis(30), 10);
        assert_eq!(cache.get(0, || 0, || async { 1 }).await, 1);
        assert_eq!(cache.get(0, || 0, || async { 2 }).await, 1);
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(cache.get(0, || 0, || async { 3 }).await, 3);
        for key in 0..1000 {
            cache.get(key, || 0, || async { 0 }).await;
        }
        assert!(cache.slots.lock().unwrap().len() <= 10);
    }
}
