//! The fields of an expression as Quartz reads them: names, lists, steps, and ranges that go round (`FRI-MON`,
//! `22-6`). Each is written out, so that what searches for times meets plain numbers only.

use std::collections::BTreeSet;

use super::CronError;

pub(super) struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    /// The first stands for `least`.
    names: &'static [&'static str],
}

pub(super) const SECONDS: Field = Field { name: "second", least: 0, most: 59, names: &[] };
pub(super) const MINUTES: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
pub(super) const HOURS: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
pub(super) const DAYS: Field = Field { name: "day of the month", least: 1, most: 31, names: &[] };
pub(super) const MONTHS: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAYS: Field = Field {
    name: "day of the week (1 is Sunday, 7 Saturday)",
    least: 1,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
/// As far as Quartz knows them.
pub(super) const YEARS: Field = Field { name: "year", least: 1970, most: 2099, names: &[] };

impl Field {
    /// The field's values one by one; `*` stays.
    pub(super) fn written_out(&self, text: &str) -> Result<String, CronError> {
        if text == "*" {
            return Ok(text.to_owned());
        }
        let mut values = BTreeSet::new();
        for part in text.split(',') {
            self.part(part, &mut values)?;
        }
        Ok(joined(values))
    }

    /// Adds what one part of a list says: `5`, `2-6`, `*/10`, `5/10`, `22-6/2`.
    pub(super) fn part(&self, part: &str, values: &mut BTreeSet<u16>) -> Result<(), CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let (first, mut last) = match (range, range.split_once('-')) {
            ("" | "*", _) if step.is_some() => (self.least, self.most),
            (_, Some((first, last))) => (self.number(first)?, self.number(last)?),
            (one, None) => {
                let one = self.number(one)?;
                (one, if step.is_some() { self.most } else { one })
            }
        };
        let span = self.most - self.least + 1;
        if last < first {
            if self.least == YEARS.least {
                return Err(CronError::Syntax(format!("{part}: years do not go round")));
            }
            last += span;
        }
        let each = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        values.extend(each.map(|value| self.least + (value - self.least) % span));
        Ok(())
    }

    fn step(&self, text: &str) -> Result<u16, CronError> {
        let step = digits(text).filter(|step| (1..=self.most).contains(step));
        step.ok_or_else(|| CronError::Syntax(format!("{text:?} is no step")))
    }

    pub(super) fn number(&self, text: &str) -> Result<u16, CronError> {
        if let Some(place) = self.names.iter().position(|name| *name == text) {
            return Ok(self.least + place as u16);
        }
        let number = digits(text).filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| CronError::Syntax(format!("{text:?} is no {}", self.name)))
    }
}

/// The days of the week, with `6L` (the last Friday) and `6#3` (the third) as they are. `L` alone is Saturday.
pub(super) fn weekdays(text: &str) -> Result<String, CronError> {
    match text {
        "*" | "?" => return Ok("*".to_owned()),
        "L" => return Ok("7".to_owned()),
        _ => {}
    }
    let mut values = BTreeSet::new();
    let mut parts = Vec::new();
    for part in text.split(',') {
        if let Some((day, nth)) = part.split_once('#') {
            let nth = digits(nth).filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| {
                CronError::Syntax(format!("{part}: a month has no more than five of a weekday"))
            })?;
            parts.push(format!("{}#{nth}", WEEKDAYS.number(day)?));
        } else if let Some(day) = part.strip_suffix('L') {
            parts.push(format!("{}L", WEEKDAYS.number(day)?));
        } else {
            WEEKDAYS.part(part, &mut values)?;
        }
    }
    if !values.is_empty() {
        parts.push(joined(values));
    }
    Ok(parts.join(","))
}

fn joined(values: BTreeSet<u16>) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// Digits alone: no sign.
fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_round_and_steps_go_on() {
        for (field, text, expected) in [
            (HOURS, "22-6", "0,1,2,3,4,5,6,22,23"),
            (HOURS, "22-6/2", "0,2,4,6,22"),
            (HOURS, "5/9", "5,14,23"),
            (MINUTES, "*/20", "0,20,40"),
            (MINUTES, "/30", "0,30"),
            (SECONDS, "58-1,30", "0,1,30,58,59"),
            (MONTHS, "NOV-FEB", "1,2,11,12"),
            (MONTHS, "JAN,APR-JUN/2", "1,4,6"),
            (DAYS, "30-2", "1,2,30,31"),
            (YEARS, "2098/1", "2098,2099"),
        ] {
            assert_eq!(field.written_out(text).unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            ("FRI-MON", "1,2,6,7"),
            ("SAT-SUN", "1,7"),
            ("2/2", "2,4,6"),
            ("L", "7"),
            ("FRIL", "6L"),
            ("MON#1,3", "2#1,3"),
            ("?", "*"),
        ] {
            assert_eq!(weekdays(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_no_field_holds_is_refused() {
        for (field, text) in [
            (HOURS, "24"),
            (HOURS, ""),
            (HOURS, "1,,2"),
            (HOURS, "+1"),
            (HOURS, "1-2-3"),
            (HOURS, "-1"),
            (MINUTES, "*/0"),
            (MINUTES, "*/60"),
            (MINUTES, "5/"),
            (MONTHS, "13"),
            (MONTHS, "MON"),
            (YEARS, "2030-2026"),
            (YEARS, "1969"),
            (YEARS, "2100"),
        ] {
            assert!(matches!(field.written_out(text), Err(CronError::Syntax(_))), "{text}");
        }
        for text in ["0", "8", "2#6", "2#0", "#1", "JAN", "LL", "2W"] {
            assert!(matches!(weekdays(text), Err(CronError::Syntax(_))), "{text}");
        }
    }
}
