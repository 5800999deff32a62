//! A small cache of answers that are asked for far more often than they change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keeps values for a short time. There is at most one load per key and period however many ask: a value
/// that is a little too old is given out while a new one is loaded, so that nobody waits who asks often.
pub(crate) struct Cache<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
    keep: Duration,
    stale: Duration,
    limit: usize,
    /// Values that it is false for are kept for a second at most and never given out when they are old.
    lasting: fn(&V) -> bool,
}

/// How long an answer is repeated that is a failure: those who wait for the same need not all try.
const FAILURE: Duration = Duration::from_secs(1);

struct Slot<V> {
    kept: Arc<Mutex<Option<Kept<V>>>>,
    /// Held while a value is loaded.
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Self { kept: Arc::default(), loading: Arc::default() }
    }
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        Self { kept: self.kept.clone(), loading: self.loading.clone() }
    }
}

impl<V: Clone> Slot<V> {
    /// The value, if it is of this epoch and younger than `age`, or than `failure` where it is one.
    fn younger(&self, age: Duration, failure: Duration, epoch: u64) -> Option<V> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| kept.epoch == epoch)?;
        let age = if kept.lasting { age } else { failure };
        (kept.loaded.elapsed() < age).then(|| kept.value.clone())
    }

    fn keep(&self, loaded: Instant, epoch: u64, value: V, lasting: bool) {
        let kept = Kept { loaded, epoch, value, lasting };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}

struct Kept<V> {
    loaded: Instant,
    epoch: u64,
    value: V,
    lasting: bool,
}

impl<K: Eq + Hash + Clone, V: Clone + Send + 'static> Cache<K, V> {
    /// A value older than `keep` is loaded anew; up to the age of `stale` it is given out meanwhile.
    /// `limit`: how many keys are kept at most.
    pub(crate) fn new(keep: Duration, stale: Duration, limit: usize) -> Self {
        Self { slots: Mutex::new(HashMap::new()), keep, stale, limit, lasting: |_| true }
    }

    /// Tells failures, which should be forgotten soon, from answers.
    pub(crate) fn lasting(mut self, lasting: fn(&V) -> bool) -> Self {
        self.lasting = lasting;
        self
    }

    /// The value of `key`. One that was loaded in another `epoch` is not used: whoever changes
    /// something in this process raises the epoch, and sees the change at once.
    pub(crate) async fn get<F: Future<Output = V> + Send + 'static>(
        &self,
        key: K,
        epoch: impl Fn() -> u64,
        load: impl FnOnce() -> F,
    ) -> V {
        let slot = self.slot(key);
        let now = epoch();
        let failure = self.keep.min(FAILURE);
        let lasting = self.lasting;
        if let Some(value) = slot.younger(self.keep, failure, now) {
            return value;
        }
        if let Some(value) = slot.younger(self.stale, Duration::ZERO, now) {
            if let Ok(loading) = slot.loading.clone().try_lock_owned() {
                let (loaded, load) = (Instant::now(), load());
                let slot = slot.clone();
                tokio::spawn(async move {
                    let value = load.await;
                    let lasts = lasting(&value);
                    slot.keep(loaded, now, value, lasts);
                    drop(loading);
                });
            }
            return value;
        }
        let _loading = slot.loading.lock().await;
        let now = epoch();
        if let Some(value) = slot.younger(self.keep, failure, now) {
            return value;
        }
        let loaded = Instant::now();
        let value = load().await;
        slot.keep(loaded, now, value.clone(), lasting(&value));
        value
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.limit && !slots.contains_key(&key) {
            // Those in use by nobody go; the others are as many as there are requests at this moment.
            slots.retain(|_, slot| Arc::strong_count(&slot.kept) > 1);
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
        let cache = Arc::new(Cache::new(Duration::from_secs(60), Duration::from_secs(60), 10));
        let loads = Arc::new(AtomicU32::new(0));
        let ask = |epoch: u64| {
            let (cache, loads) = (cache.clone(), loads.clone());
            async move {
                cache
                    .get(
                        "key",
                        || epoch,
                        || async move {
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
    async fn failures_are_not_given_out_when_they_are_old() {
        type Answer = Result<i32, i32>;
        let cache: Cache<(), Answer> =
            Cache::new(Duration::ZERO, Duration::from_secs(60), 10).lasting(Result::is_ok);
        assert_eq!(cache.get((), || 0, || async { Err(1) }).await, Err(1));
        assert_eq!(cache.get((), || 0, || async { Ok(2) }).await, Ok(2), "not the old failure");
        assert_eq!(cache.get((), || 0, || async { Ok(3) }).await, Ok(2), "the old answer is");
    }

    #[tokio::test]
    async fn old_values_are_not_used_and_keys_are_bounded() {
        let cache = Cache::new(Duration::from_millis(30), Duration::from_millis(150), 10);
        assert_eq!(cache.get(0, || 0, || async { 1 }).await, 1);
        assert_eq!(cache.get(0, || 0, || async { 2 }).await, 1);
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(cache.get(0, || 0, || async { 3 }).await, 1, "while the new one is loaded");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(cache.get(0, || 0, || async { 4 }).await, 3);
        tokio::time::sleep(Duration::from_millis(160)).await;
        assert_eq!(cache.get(0, || 0, || async { 5 }).await, 5, "too old to be given out");
        for key in 0..1000 {
            cache.get(key, || 0, || async { 0 }).await;
        }
        assert!(cache.slots.lock().unwrap().len() <= 10);
    }
}
