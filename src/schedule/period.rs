//! DocSpace's three periods, and the expressions that it makes of them (`docspace/facts.md` §9).

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// How old the last full backup may become before increments need another: `7d`, `2w`, `12h`. A day has 24 hours.
pub fn full_every(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("fullEvery: {text:?} is no span of time: write for example 7d or 12h");
    if text.len() > 60 {
        return Err(wrong());
    }
    let span: Span = text.parse().map_err(|_| wrong())?;
    let every = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    if every.is_positive() { Ok(every) } else { Err(wrong()) }
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day = 0,
    Week = 1,
    Month = 2,
}

/// A time that DocSpace's own form can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periodic {
    pub period: Period,
    /// 0 to 23.
    pub hour: u32,
    /// Of the week 1 (Sunday) to 7, of the month 1 to 31; 0 for every day.
    pub day: u32,
}

impl Periodic {
    /// Errors say what is out of its range.
    pub fn new(period: Period, hour: i64, day: i64) -> Result<Self, String> {
        let within = |name: &str, value: i64, least: i64, most: i64| {
            u32::try_from(value).ok().filter(|_| (least..=most).contains(&value)).ok_or_else(|| {
                format!("cronParams.{name}: {value} is not between {least} and {most}")
            })
        };
        let hour = within("hour", hour, 0, 23)?;
        let day = match period {
            Period::Day => 0,
            Period::Week => within("day", day, 1, 7)?,
            Period::Month => within("day", day, 1, 31)?,
        };
        Ok(Self { period, hour, day })
    }

    /// DocSpace's text for it.
    pub fn to_cron(self) -> String {
        let Self { period, hour, day } = self;
        match period {
            Period::Day => format!("0 0 {hour} ? * *"),
            Period::Week => format!("0 0 {hour} ? * {day}"),
            Period::Month => format!("0 0 {hour} {day} * ?"),
        }
    }

    /// None: the expression says more than DocSpace's form can.
    pub fn of_cron(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let ["0", "0", hour, day, "*", weekday] = fields[..] else { return None };
        let hour = hour.parse().ok()?;
        let (period, day) = match (day, weekday) {
            ("?", "*") | ("*", "?") => (Period::Day, 0),
            ("?", weekday) => (Period::Week, weekday.parse().ok()?),
            (day, "?") => (Period::Month, day.parse().ok()?),
            _ => return None,
        };
        Self::new(period, hour, day).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Cron;

    #[test]
    fn docspaces_texts() {
        // facts §9: "Cron: daily `0 0 H ? * *`; weekly `0 0 H ? * D`; monthly `0 0 H D * ?`."
        for (period, hour, day, text) in [
            (Period::Day, 12, 0, "0 0 12 ? * *"),
            (Period::Week, 0, 1, "0 0 0 ? * 1"),
            (Period::Month, 23, 31, "0 0 23 31 * ?"),
        ] {
            let periodic = Periodic::new(period, hour, day).unwrap();
            assert_eq!(periodic.to_cron(), text);
            assert_eq!(Periodic::of_cron(text), Some(periodic));
            text.parse::<Cron>().unwrap();
        }
        assert_eq!(Periodic::new(Period::Day, 3, 99).unwrap().day, 0, "a daily one has no day");
    }

    #[test]
    fn out_of_range() {
        // facts §9: "H 0–23; weekly D 1–7 …; monthly 1–31".
        for (period, hour, day) in [
            (Period::Day, 24, 0),
            (Period::Day, -1, 0),
            (Period::Week, 3, 0),
            (Period::Week, 3, 8),
            (Period::Month, 3, 0),
            (Period::Month, 3, 32),
        ] {
            assert!(Periodic::new(period, hour, day).is_err(), "{period:?} {hour} {day}");
        }
        for text in
            ["0 30 3 ? * *", "0 0 3 ? * MON-FRI", "0 0 3 L * ?", "0 0 3 ? 6 *", "0 0 3 ? * * 2030"]
        {
            assert_eq!(Periodic::of_cron(text), None, "{text}");
        }
    }
}
