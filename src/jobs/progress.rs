//! How far a job is. Counted by many threads, told as percent, rate and time left.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use archive::Ratio;

use super::ProgressView;

/// The rate is that of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(10);
/// No rate is told before so much time was watched.
const SHORTEST: Duration = Duration::from_secs(1);
/// Two looks closer together than this are one sample.
const SAMPLE: Duration = Duration::from_millis(250);

/// The progress of one run of a job; shared by everything that works for it.
///
/// 100 percent is only told by a job that has succeeded: here it ends at 99.
#[derive(Debug)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    /// What is made of the total, and how often that is moved afterwards; None: all that follows is in the total.
    following: Mutex<Option<(Arc<Ratio>, u64)>>,
    /// The highest that was reached.
    percent: AtomicU8,
    /// The highest that the catalog knows. No more is told: whoever is killed could not keep to it.
    saved: AtomicU8,
    words: Mutex<Words>,
    samples: Mutex<VecDeque<(Instant, u64)>>,
    /// Bytes of the total that are done later, and how many of them a second at most: work of another kind.
    later: Mutex<Option<(u64, u64)>>,
}

#[derive(Debug, Default)]
struct Words {
    phase: String,
    current: Option<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::resume(0, Instant::now())
    }
}

impl Progress {
    /// A run after one that was told to be at `percent`: what is told does not fall below that.
    pub(crate) fn resume(percent: u8, now: Instant) -> Self {
        Self {
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            following: Mutex::default(),
            percent: AtomicU8::new(percent.min(99)),
            saved: AtomicU8::new(percent.min(99)),
            words: Mutex::default(),
            samples: Mutex::new(VecDeque::from([(now, 0)])),
            later: Mutex::default(),
        }
    }

    /// The work begins anew; the percentage that was told stays.
    pub fn restart(&self) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
        *lock(&self.following) = None;
        *lock(&self.later) = None;
    }

    /// So many bytes of the total wait until what is done now has ended, and go `rate` a second then, or as slowly as
    /// the rest does now.
    pub fn later(&self, bytes: u64, rate: u64) {
        *lock(&self.later) = Some((bytes, rate));
    }

    /// What waited begins: how fast it goes is not known from what was done before.
    pub fn now(&self) {
        self.now_at(Instant::now());
    }

    fn now_at(&self, now: Instant) {
        *lock(&self.later) = None;
        let done = self.done.load(Ordering::Relaxed);
        *lock(&self.samples) = VecDeque::from([(now, done)]);
    }

    /// Names what is being done now.
    pub fn phase(&self, name: &str) {
        let mut words = lock(&self.words);
        name.clone_into(&mut words.phase);
        words.current = None;
    }

    /// Names the entry being worked on.
    pub fn current(&self, entry: &str) {
        let mut words = lock(&self.words);
        // Called for every file of a portal: the memory of the last name is used again.
        match &mut words.current {
            Some(current) => entry.clone_into(current),
            None => words.current = Some(entry.to_owned()),
        }
    }

    /// More is to be done than was known.
    pub fn add_total(&self, bytes: u64) {
        self.change_total(|total| total.saturating_add(bytes));
    }

    /// The total turned out greater or smaller.
    pub fn correct_total(&self, delta: i64) {
        self.change_total(|total| total.saturating_add_signed(delta));
    }

    /// What is made of the total is moved so many times when all of it is made. How much that is shows as it is made.
    pub fn followed_by(&self, ratio: Arc<Ratio>, times: u64) {
        *lock(&self.following) = Some((ratio, times));
    }

    /// All of it is made: so many bytes follow.
    pub fn follows(&self, bytes: u64) {
        let mut following = lock(&self.following);
        *following = None;
        self.add_total(bytes);
    }

    fn total(&self, done: u64) -> u64 {
        let following = lock(&self.following);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let follows =
            following.as_ref().map_or(0, |(ratio, times)| ratio.of(total).saturating_mul(*times));
        total.saturating_add(follows)
    }

    fn change_total(&self, change: impl Fn(u64) -> u64) {
        let change = |total| Some(change(total));
        // Cannot fail: the closure always has an answer.
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// So many bytes of the total are done.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The progress as it is now.
    pub fn view(&self) -> ProgressView {
        self.view_at(Instant::now())
    }

    /// The same, as far as others may be told.
    pub(crate) fn told(&self) -> ProgressView {
        ProgressView { percent: self.saved.load(Ordering::Relaxed), ..self.view() }
    }

    /// The catalog knows of so much.
    pub(crate) fn saved(&self, percent: u8) {
        self.saved.fetch_max(percent, Ordering::Relaxed);
    }

    /// Whether it knows of less than was reached.
    pub(crate) fn is_ahead(&self) -> bool {
        self.view().percent > self.saved.load(Ordering::Relaxed)
    }

    fn view_at(&self, now: Instant) -> ProgressView {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total(done);
        let percent = percent(done, total);
        let percent = self.percent.fetch_max(percent, Ordering::Relaxed).max(percent);
        let rate = self.rate(now, done);
        let eta_seconds = (rate > 0 && total > done).then(|| self.eta(total - done, rate));
        let words = lock(&self.words);
        ProgressView {
            phase: words.phase.clone(),
            percent,
            bytes_done: done,
            bytes_total: total,
            rate,
            eta_seconds,
            current: words.current.clone(),
        }
    }

    /// In seconds, of what is left.
    fn eta(&self, left: u64, rate: u64) -> u64 {
        let (later, its_rate) = lock(&self.later).unwrap_or((0, rate));
        let later = later.min(left);
        (left - later).div_ceil(rate) + later.div_ceil(its_rate.min(rate).max(1))
    }

    /// The last that is told of a run that has ended; `succeeded` makes it 100 percent.
    pub(crate) fn end(&self, succeeded: bool) -> ProgressView {
        let view = self.view();
        let ended = ProgressView { rate: 0, eta_seconds: None, current: None, ..view };
        if !succeeded {
            return ended;
        }
        ProgressView {
            phase: "done".to_owned(),
            percent: 100,
            bytes_total: ended.bytes_done,
            ..ended
        }
    }

    fn rate(&self, now: Instant, done: u64) -> u64 {
        let mut samples = lock(&self.samples);
        if samples.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= SAMPLE) {
            samples.push_back((now, done));
        }
        // The oldest sample stays as the beginning of the window even if it lies a little before it.
        while samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            samples.pop_front();
        }
        let Some((begun, before)) = samples.front() else { return 0 };
        let elapsed = now.saturating_duration_since(*begun);
        if elapsed < SHORTEST {
            return 0;
        }
        (done.saturating_sub(*before) as f64 / elapsed.as_secs_f64()) as u64
    }
}

fn percent(done: u64, total: u64) -> u8 {
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(0);
    percent.min(99) as u8
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_is_rounded_down_and_ends_at_99() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 99);
        assert_eq!(percent(u64::MAX / 2, u64::MAX), 49);
    }

    #[test]
    fn what_comes_later_is_not_expected_to_go_as_fast() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let progress = Progress::resume(0, begun);
        progress.add_total(10_000);
        progress.later(9_000, 100);
        progress.add(500);
        let view = progress.view_at(at(1.0));
        assert_eq!((view.rate, view.eta_seconds), (500, Some(1 + 90)));
        progress.add(500);
        progress.now_at(at(2.0));
        assert_eq!(progress.view_at(at(2.5)).eta_seconds, None);
        progress.add(200);
        let view = progress.view_at(at(4.0));
        assert_eq!((view.rate, view.eta_seconds), (100, Some(88)));
        // What is slow now is not expected to become faster.
        progress.later(8_800, 1_000);
        assert_eq!(progress.view_at(at(4.0)).eta_seconds, Some(88));
    }

    #[test]
    fn rate_and_time_left_are_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let progress = Progress::resume(0, begun);
        progress.add_total(100_000);
        assert_eq!(progress.view_at(at(0.5)).eta_seconds, None);
        // Slow for ten seconds, then fast: the slow ones are forgotten.
        for second in 1..=10 {
            progress.add(100);
            assert_eq!(progress.view_at(at(f64::from(second))).rate, 100);
        }
        for second in 11..=21 {
            progress.add(1000);
            progress.view_at(at(f64::from(second)));
        }
        let view = progress.view_at(at(21.0));
        assert_eq!((view.bytes_done, view.rate), (12_000, 1000));
        assert_eq!(view.eta_seconds, Some(88));
        // Nothing happens any more.
        let view = progress.view_at(at(60.0));
        assert!(view.rate < 1000, "{view:?}");
        progress.view_at(at(71.0));
        let view = progress.view_at(at(82.0));
        assert_eq!((view.rate, view.eta_seconds), (0, None));
    }

    #[test]
    fn only_the_end_of_success_is_100() {
        let progress = Progress::default();
        progress.add_total(10);
        progress.add(10);
        progress.current("x");
        assert_eq!(progress.view().percent, 99);
        assert_eq!(progress.end(false).percent, 99);
        let end = progress.end(true);
        assert_eq!((end.percent, end.bytes_total, end.current), (100, 10, None));
        assert_eq!(Progress::resume(57, Instant::now()).view().percent, 57);
    }

    /// A text of which a tenth is left, and then pictures: no step is larger than what was done in it.
    #[test]
    fn what_follows_shows_as_it_is_made() {
        for (parts, end) in [(vec![(1000, 10)], 90), (vec![(500, 10), (500, 1)], 64_u8)] {
            let progress = Progress::default();
            let ratio = Arc::new(Ratio::default());
            progress.add_total(1000 << 20);
            progress.followed_by(Arc::clone(&ratio), 1);
            let (mut last, mut made) = (0, 0);
            for (megabytes, smaller) in parts {
                for _ in 0..megabytes {
                    progress.add(1 << 20);
                    ratio.add(1 << 20, (1 << 20) / smaller);
                    made += (1 << 20) / smaller;
                    let percent = progress.view().percent;
                    assert!(percent - last <= 2, "{last} {percent}");
                    last = percent;
                }
            }
            assert!(last.abs_diff(end) <= 1, "{last}");
            progress.follows(made);
            assert!(progress.view().percent - last <= 1, "{last}");
            progress.add(made);
            assert_eq!(progress.view().percent, 99);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Total(u64),
        Correct(i64),
        Add(u64),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u32>().prop_map(|n| Step::Total(n.into())),
            any::<i32>().prop_map(|n| Step::Correct(n.into())),
            any::<u32>().prop_map(|n| Step::Add(n.into())),
            any::<u16>().prop_map(|n| Step::Wait(n.into())),
            Just(Step::Correct(i64::MIN)),
            Just(Step::Total(u64::MAX)),
        ]
    }

    proptest! {
        #[test]
        fn progress_never_falls(steps in prop::collection::vec(step(), 0..200), from in 0_u8..=100) {
            let mut now = Instant::now();
            let progress = Progress::resume(from, now);
            let mut last = progress.view_at(now);
            prop_assert_eq!(last.percent, from.min(99));
            for step in steps {
                match step {
                    Step::Total(bytes) => progress.add_total(bytes),
                    Step::Correct(delta) => progress.correct_total(delta),
                    Step::Add(bytes) => progress.add(bytes),
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                }
                let view = progress.view_at(now);
                prop_assert!(view.percent >= last.percent && view.percent <= 99);
                prop_assert!(view.bytes_done >= last.bytes_done);
                prop_assert!(view.bytes_total >= view.bytes_done);
                prop_assert_eq!(view.eta_seconds.is_some(), view.rate > 0 && view.bytes_total > view.bytes_done);
                last = view;
            }
            prop_assert!(lock(&progress.samples).len() < 50);
        }
    }
}
