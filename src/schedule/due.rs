//! When a schedule runs next.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Cron;

const FIRST_RETRY: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_hours(4);

/// The next run of a schedule that was made or changed now. An hour that has passed today is waited for.
pub fn first_run(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    cron.next_after(now, zone)
}

/// The next run after one that was due at `due` and is made now: however many were missed, this one makes
/// up for all of them.
pub fn following(
    cron: &Cron,
    zone: &TimeZone,
    due: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    cron.next_after(due.max(now), zone)
}

/// The next run of a schedule that another service kept until now. One that was missed is made up for.
pub fn taken_over(
    cron: &Cron,
    zone: &TimeZone,
    last_run: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    cron.next_after(last_run.unwrap_or(now).min(now), zone)
}

/// When a failed backup is tried again. `failures`: how many there were in a row, this one included.
pub fn retry(failures: u32, now: Timestamp) -> Timestamp {
    let doubled = 1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX);
    let pause = FIRST_RETRY.checked_mul(doubled).unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY);
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_new_schedule_waits_for_its_next_time() {
        // facts §9: "a new schedule whose hour already passed runs at the next tick": not here.
        let cron: Cron = "0 0 3 ? * *".parse().unwrap();
        let now = at("2026-06-01T12:00:00Z");
        assert_eq!(first_run(&cron, &TimeZone::UTC, now), Some(at("2026-06-02T03:00:00Z")));
        let exactly = at("2026-06-01T03:00:00Z");
        assert_eq!(first_run(&cron, &TimeZone::UTC, exactly), Some(at("2026-06-02T03:00:00Z")));
    }

    #[test]
    fn missed_runs_are_made_up_once() {
        // facts §9: "Missed runs fire once."
        let cron: Cron = "0 0 3 ? * *".parse().unwrap();
        let (due, now) = (at("2026-06-02T03:00:00Z"), at("2026-06-20T09:00:00Z"));
        assert_eq!(following(&cron, &TimeZone::UTC, due, now), Some(at("2026-06-21T03:00:00Z")));
        let taken = taken_over(&cron, &TimeZone::UTC, Some(at("2026-06-01T03:00:00Z")), now);
        assert_eq!(taken, Some(at("2026-06-02T03:00:00Z")), "due at once");
        let never_ran = taken_over(&cron, &TimeZone::UTC, None, now);
        assert_eq!(never_ran, Some(at("2026-06-21T03:00:00Z")));
    }

    /// Every day of a year with two changes of the clocks, and of a leap year: once a day, in order, and
    /// what a restart at any moment computes is the same.
    #[test]
    fn a_year_of_days() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        for (year, days) in [(2026, 365), (2028, 366)] {
            for hour in [0, 1, 2, 3, 23] {
                let cron: Cron = format!("0 0 {hour} ? * *").parse().unwrap();
                let mut now = jiff::civil::date(year, 1, 1)
                    .to_zoned(zone.clone())
                    .unwrap()
                    .timestamp()
                    .checked_sub(SignedDuration::from_secs(1))
                    .unwrap();
                let mut dates = std::collections::BTreeSet::new();
                let mut runs = 0;
                loop {
                    let next = first_run(&cron, &zone, now).unwrap();
                    assert!(next > now);
                    let half_way = now.checked_add(next.duration_since(now) / 2).unwrap();
                    assert_eq!(first_run(&cron, &zone, half_way), Some(next));
                    assert_eq!(following(&cron, &zone, now, half_way), Some(next));
                    let local = next.to_zoned(zone.clone());
                    if i32::from(local.year()) > i32::from(year) {
                        break;
                    }
                    let moved = local.hour() != hour;
                    assert!(
                        !moved || (hour == 2 && local.month() == 3 && local.hour() == 3),
                        "{local}"
                    );
                    dates.insert(local.date());
                    runs += 1;
                    now = next;
                }
                assert_eq!((runs, dates.len()), (days, days), "{year}, {hour} o'clock");
            }
        }
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        let now = at("2026-06-01T00:00:00Z");
        let minutes: Vec<i64> =
            (1..=9).map(|failures| retry(failures, now).duration_since(now).as_mins()).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 240, 240, 240]);
        assert_eq!(retry(u32::MAX, now).duration_since(now).as_mins(), 240);
        assert_eq!(retry(0, now).duration_since(now).as_mins(), 5);
    }
}
