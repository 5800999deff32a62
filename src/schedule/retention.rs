//! Which archives stay. The plan is a pure function of archives, rules and the clock; carrying it out is
//! `ops::retention`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most that a rule may keep.
const MOST: u32 = 10_000;

/// What a schedule's archives are kept by; each rule keeps for itself, and what none keeps goes. Without
/// any rule everything stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// DocSpace's rule: the newest so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups_stored: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u32>,
    /// Everything that is younger, such as `30d` or `1y 6mo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<String>,
}

impl Rules {
    /// DocSpace's only rule.
    pub fn stored(count: u32) -> Self {
        Self { backups_stored: Some(count), ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Errors name the rule that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        if let Some(count) = self.backups_stored
            && !(1..=30).contains(&count)
        {
            return Err(format!("backupsStored: {count} is not between 1 and 30"));
        }
        for (name, count) in [
            ("keepLast", self.keep_last),
            ("keepHourly", self.keep_hourly),
            ("keepDaily", self.keep_daily),
            ("keepWeekly", self.keep_weekly),
            ("keepMonthly", self.keep_monthly),
            ("keepYearly", self.keep_yearly),
        ] {
            if let Some(count) = count
                && !(1..=MOST).contains(&count)
            {
                return Err(format!("{name}: {count} is not between 1 and {MOST}"));
            }
        }
        match &self.keep_within {
            Some(text) => span(text).map(drop),
            None => Ok(()),
        }
    }

    fn by_period(&self) -> [(Bucket, Option<u32>); 5] {
        [
            (Bucket::Hour, self.keep_hourly),
            (Bucket::Day, self.keep_daily),
            (Bucket::Week, self.keep_weekly),
            (Bucket::Month, self.keep_monthly),
            (Bucket::Year, self.keep_yearly),
        ]
    }
}

fn span(text: &str) -> Result<Span, String> {
    let wrong =
        || format!("keepWithin: {text:?} is no span of time: write for example 30d or 1y 6mo");
    if text.len() > 60 {
        return Err(wrong());
    }
    let span: Span = text.parse().map_err(|_| wrong())?;
    if span.is_negative() || span.is_zero() { Err(wrong()) } else { Ok(span) }
}

/// An archive as far as its keeping is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: Uuid,
    pub created_on: Timestamp,
    /// Temporary archives end of themselves.
    pub expires_on: Option<Timestamp>,
    /// The schedule that made it; None: somebody asked for it.
    pub schedule: Option<Uuid>,
    /// What an incremental archive cannot be read without.
    pub parent: Option<Uuid>,
    /// Its object is gone.
    pub missing: bool,
    /// Why it cannot go now: something reads it, or its storage will not let it go.
    pub held: Option<String>,
}

/// The rules of one schedule, and the zone in which its days begin.
#[derive(Debug, Clone)]
pub struct Policy {
    pub rules: Rules,
    pub zone: TimeZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Keep,
    Remove,
}

/// What becomes of an archive, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub id: Uuid,
    pub action: Action,
    pub reasons: Vec<String>,
}

/// Decides on every archive, newest first. The order of `items` does not matter.
pub fn plan(items: &[Item], policies: &BTreeMap<Uuid, Policy>, now: Timestamp) -> Vec<Decision> {
    let mut items: Vec<&Item> = items.iter().collect();
    items.sort_by_key(|item| std::cmp::Reverse((item.created_on, item.id)));
    let mut kept: HashMap<Uuid, Vec<String>> = HashMap::new();
    let mut gone: HashMap<Uuid, String> = HashMap::new();
    let mut by_schedule: BTreeMap<Uuid, Vec<&Item>> = BTreeMap::new();
    for item in &items {
        if let Some(expires) = item.expires_on.filter(|expires| *expires <= now) {
            gone.insert(
                item.id,
                format!("it expired on {}", expires.strftime("%Y-%m-%d %H:%M UTC")),
            );
            continue;
        }
        let reason = match item.schedule {
            _ if item.missing => "its object is gone from the storage; the record stays",
            None => "made by hand: no rule of a schedule concerns it",
            Some(id) => match policies.get(&id) {
                None => "its schedule was deleted",
                Some(policy) if policy.rules.is_empty() => "its schedule keeps everything",
                Some(_) => {
                    by_schedule.entry(id).or_default().push(item);
                    continue;
                }
            },
        };
        kept.insert(item.id, vec![reason.to_owned()]);
    }
    for (id, items) in &by_schedule {
        let Some(policy) = policies.get(id) else { continue };
        let reasons = reasons(items, policy, now);
        for (item, reasons) in items.iter().zip(reasons) {
            if reasons.is_empty() {
                gone.insert(item.id, "no rule of its schedule keeps it".to_owned());
            } else {
                kept.insert(item.id, reasons);
            }
        }
    }
    for item in &items {
        if let (Some(why), true) = (&item.held, gone.contains_key(&item.id)) {
            kept.entry(item.id).or_default().push(why.clone());
        }
    }
    keep_parents(&items, &mut kept);
    let decide = |item: &&Item| match kept.remove(&item.id) {
        Some(reasons) => Decision { id: item.id, action: Action::Keep, reasons },
        None => Decision {
            id: item.id,
            action: Action::Remove,
            reasons: gone.remove(&item.id).into_iter().collect(),
        },
    };
    items.iter().map(decide).collect()
}

/// Whatever a kept archive builds on is kept too, and so on. What is gone needs nothing.
fn keep_parents(items: &[&Item], kept: &mut HashMap<Uuid, Vec<String>>) {
    let parents: HashMap<Uuid, Option<Uuid>> =
        items.iter().map(|item| (item.id, item.parent)).collect();
    for item in items {
        if item.missing || !kept.contains_key(&item.id) {
            continue;
        }
        let mut seen = HashSet::from([item.id]);
        let mut child = item.id;
        while let Some(parent) = parents.get(&child).copied().flatten()
            && parents.contains_key(&parent)
            && seen.insert(parent)
        {
            let reasons = kept.entry(parent).or_default();
            let reason = format!("the incremental archive {child} builds on it");
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
            child = parent;
        }
    }
}

/// Why each of a schedule's archives (newest first) is kept; nothing: it is not.
fn reasons(items: &[&Item], policy: &Policy, now: Timestamp) -> Vec<Vec<String>> {
    let rules = &policy.rules;
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); items.len()];
    let newest = [("backupsStored", rules.backups_stored), ("keepLast", rules.keep_last)];
    for (name, count) in newest.into_iter().filter_map(|(name, count)| Some((name, count?))) {
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        for (position, reasons) in reasons.iter_mut().take(most).enumerate() {
            reasons.push(format!("{name}: {} of {count}", position + 1));
        }
    }
    for (bucket, count) in rules.by_period() {
        let Some(count) = count else { continue };
        let mut seen = BTreeSet::new();
        for (item, reasons) in items.iter().zip(&mut reasons) {
            let key = bucket.key(&Zoned::new(item.created_on, policy.zone.clone()));
            if seen.len() < count as usize && seen.insert(key.clone()) {
                reasons.push(format!("{}: {key} is {} of {count}", bucket.rule(), seen.len()));
            }
        }
    }
    if let Some(text) = &rules.keep_within {
        let limit = span(text).ok().and_then(|span| {
            Zoned::new(now, policy.zone.clone()).checked_sub(span).ok().map(|at| at.timestamp())
        });
        for (item, reasons) in items.iter().zip(&mut reasons) {
            // What cannot be computed keeps.
            if limit.is_none_or(|limit| item.created_on >= limit) {
                reasons.push(format!("keepWithin: younger than {text}"));
            }
        }
    }
    // Rules of age alone would take the last archive when backups have failed for long.
    if let Some(first) = reasons.first_mut().filter(|reasons| reasons.is_empty()) {
        first.push("the newest of its schedule always stays".to_owned());
    }
    reasons
}

#[derive(Debug, Clone, Copy)]
enum Bucket {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Bucket {
    fn rule(self) -> &'static str {
        match self {
            Self::Hour => "keepHourly",
            Self::Day => "keepDaily",
            Self::Week => "keepWeekly",
            Self::Month => "keepMonthly",
            Self::Year => "keepYearly",
        }
    }

    fn key(self, at: &Zoned) -> String {
        let format = match self {
            // With the offset: the hour that comes twice is two hours.
            Self::Hour => "%Y-%m-%d %H h %z",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G week %V",
            Self::Month => "%Y-%m",
            Self::Year => "%Y",
        };
        at.strftime(format).to_string()
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
