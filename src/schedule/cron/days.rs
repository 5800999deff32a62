//! The days of the month as Quartz reads them: numbers, `L` and `L-3` counted from the month's end, and `W`
//! for the weekday nearest to one of those.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};

use super::CronError;
use super::fields::DAYS;

/// A month is shorter than that, so nothing is as long before its end.
const LONGEST_BEFORE: i8 = 30;

/// Which days of a month.
#[derive(Debug, Clone)]
pub(super) struct Days {
    plain: BTreeSet<u16>,
    special: Vec<Special>,
}

/// A day that depends on the month.
#[derive(Debug, Clone, Copy)]
struct Special {
    from: From,
    /// The nearest day from Monday to Friday within the month.
    weekday: bool,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Start(i8),
    /// So many days before the last.
    End(i8),
}

impl Days {
    /// None: all of them.
    pub(super) fn read(text: &str) -> Result<Option<Self>, CronError> {
        if matches!(text, "*" | "?") {
            return Ok(None);
        }
        let mut days = Self { plain: BTreeSet::new(), special: Vec::new() };
        for part in text.split(',') {
            let (place, weekday) =
                part.strip_suffix('W').map_or((part, false), |place| (place, true));
            let from = if place == "L" {
                From::End(0)
            } else if let Some(before) = place.strip_prefix("L-") {
                let before = before.parse().ok().filter(|days| (0..=LONGEST_BEFORE).contains(days));
                From::End(before.ok_or_else(|| {
                    CronError::Syntax(format!(
                        "{part}: no day is as long before the end of a month"
                    ))
                })?)
            } else if weekday {
                From::Start(DAYS.number(place)? as i8)
            } else {
                DAYS.part(place, &mut days.plain)?;
                continue;
            };
            days.special.push(Special { from, weekday });
        }
        Ok(Some(days))
    }

    /// The numbers, where these are all that was said.
    pub(super) fn plain(&self) -> Option<String> {
        let numbers = self.plain.iter().map(u16::to_string).collect::<Vec<_>>();
        self.special.is_empty().then(|| numbers.join(","))
    }

    pub(super) fn has(&self, date: Date) -> bool {
        self.plain.contains(&(date.day() as u16))
            || self.special.iter().any(|special| special.within(date) == Some(date.day()))
    }
}

impl Special {
    /// The day in the month of `date`; None: that month lacks it.
    fn within(self, date: Date) -> Option<i8> {
        let last = date.days_in_month();
        let day = match self.from {
            From::Start(day) => day,
            From::End(before) => last - before,
        };
        if !(1..=last).contains(&day) {
            return None;
        }
        let weekday = date.first_of_month().checked_add(jiff::Span::new().days(day - 1)).ok()?;
        Some(match weekday.weekday() {
            Weekday::Saturday if self.weekday => {
                if day == 1 {
                    3
                } else {
                    day - 1
                }
            }
            Weekday::Sunday if self.weekday => {
                if day == last {
                    day - 2
                } else {
                    day + 1
                }
            }
            _ => day,
        })
    }
}
