//! Cron expressions as Quartz, and so DocSpace, writes them: seconds first, weekday 1 is Sunday, `?` where
//! the other of the two day fields decides, an optional year.

mod days;
mod fields;

use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use days::Days;
use fields::{HOURS, MINUTES, MONTHS, SECONDS, YEARS};

/// What the catalog's and DocSpace's columns hold.
const LONGEST: usize = 120;
/// How many days are tried for one that only some months have: the calendar repeats itself after 400 years, and
/// every year has the month that is asked for.
const MOST_DAYS: usize = 400 * 31;

/// An expression that can be read.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    /// Every day of the month where `days` says which.
    parsed: croner::Cron,
    /// None: `parsed` knows them.
    days: Option<Days>,
    /// Whether it says at which hours, rather than every hour.
    names_hours: bool,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error(
        "cron: it has {0} fields; write seconds, minutes, hours, day of month, month, day of week and, if you like, a year"
    )]
    Fields(usize),
    #[error("cron: it is longer than {LONGEST} characters")]
    Long,
    #[error(
        "cron: one of day of month and day of week must be ?, because the other one decides: write for example \"0 0 3 ? * MON\""
    )]
    BothDays,
    #[error("cron: {0}")]
    Syntax(String),
    #[error("cron: \"{0}\" never comes")]
    Never(String),
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.len() > LONGEST {
            return Err(CronError::Long);
        }
        let text = text.to_ascii_uppercase();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, minute, hour, day, month, weekday, year) = match fields[..] {
            [second, minute, hour, day, month, weekday] => {
                (second, minute, hour, day, month, weekday, "*")
            }
            [second, minute, hour, day, month, weekday, year] => {
                (second, minute, hour, day, month, weekday, year)
            }
            _ => return Err(CronError::Fields(fields.len())),
        };
        if (day == "?") == (weekday == "?") {
            return Err(CronError::BothDays);
        }
        let days = Days::read(day)?;
        let plain = days.as_ref().map_or(Some("*".to_owned()), Days::plain);
        let hours = HOURS.written_out(hour)?;
        let names_hours = hours != "*" && hours != HOURS.written_out("*/1")?;
        let written_out = [
            SECONDS.written_out(second)?,
            MINUTES.written_out(minute)?,
            hours,
            plain.clone().unwrap_or_else(|| "*".to_owned()),
            MONTHS.written_out(month)?,
            fields::weekdays(weekday)?,
            YEARS.written_out(year)?,
        ];
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .build();
        let parsed = parser.parse(&written_out.join(" "));
        let parsed = parsed.map_err(|error| CronError::Syntax(error.to_string()))?;
        let days = days.filter(|_| plain.is_none());
        Ok(Self { text: fields.join(" "), parsed, days, names_hours })
    }
}

impl Cron {
    /// In capital letters, with single blanks.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after `after`, in `zone`. None: there is none any more.
    ///
    /// A time that the clocks leave out comes when they have been put forward; one that they repeat comes
    /// once, unless the expression names no hour.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if !self.names_hours {
            return self.search(Zoned::new(after, zone.clone())).map(|next| next.timestamp());
        }
        // By the clock on the wall, whose times come in order, each at the first moment that shows it or, where
        // it is left out, at the next. So while the clock repeats itself, its times have come already.
        let mut wall = zone.to_datetime(after).to_zoned(TimeZone::UTC).ok()?;
        loop {
            wall = self.search(wall)?;
            let next = first_moment(wall.datetime(), zone)?;
            if next > after {
                return Some(next);
            }
        }
    }

    fn search(&self, mut after: Zoned) -> Option<Zoned> {
        for _ in 0..MOST_DAYS {
            let next = self.parsed.find_next_occurrence(&after, false).ok()?;
            if self.days.as_ref().is_none_or(|days| days.has(next.date())) {
                return Some(next);
            }
            let end_of_day = next.date().at(23, 59, 59, 0).to_zoned(next.time_zone().clone());
            after = next.max(end_of_day.ok()?);
        }
        None
    }

    /// The same, and an expression that never comes again is refused.
    pub fn must_come(&self, after: Timestamp, zone: &TimeZone) -> Result<Timestamp, CronError> {
        self.next_after(after, zone).ok_or_else(|| CronError::Never(self.text.clone()))
    }
}

/// When clocks first show a time, or, if they leave it out, when they have been put forward.
fn first_moment(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let moment = zone.to_ambiguous_timestamp(time);
    match moment.offset() {
        AmbiguousOffset::Gap { before, .. } => {
            let later = before.to_timestamp(time).ok()?;
            // The change itself may be that moment, and `preceding` wants to be asked from behind it.
            let behind = later.checked_add(SignedDuration::from_secs(1)).ok()?;
            zone.preceding(behind).next().map(|change| change.timestamp())
        }
        _ => moment.earlier().ok(),
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
