//! What options say of the objects that a storage writes: class, tags and locks.

use jiff::{SignedDuration, Timestamp};
use object_store::{Attribute, Attributes, TagSet};

use super::Provider;
use crate::config::Options;

const NAMES: [&str; 4] = ["storage_class", "tags", "object_lock_days", "object_lock_mode"];
/// Classes that give nothing back at once, so that no archive in them could be read back and compared.
const OFFLINE: [(Provider, &str); 3] =
    [(Provider::S3, "GLACIER"), (Provider::S3, "DEEP_ARCHIVE"), (Provider::Azure, "ARCHIVE")];
/// S3 and Azure take no more.
const MOST_TAGS: usize = 10;
/// S3's largest retention period.
const LONGEST_LOCK: i64 = 36_500;

#[derive(Debug, Clone, Default)]
pub struct PutSettings {
    class: Option<String>,
    pub tags: TagSet,
    pub lock: Option<Lock>,
}

/// An object that its storage must not let anybody delete for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    days: i64,
    pub mode: LockMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Those with a special right may delete it.
    Governance,
    /// Nobody may.
    Compliance,
}

impl LockMode {
    pub fn header(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl Lock {
    /// Until when an object that is written now is locked, in whole seconds.
    pub fn until(&self, now: Timestamp) -> Timestamp {
        let until = now.saturating_add(SignedDuration::from_hours(24 * self.days));
        until.ok().and_then(|until| Timestamp::from_second(until.as_second()).ok()).unwrap_or(now)
    }
}

impl PutSettings {
    /// Whether an option is one of these.
    pub fn has(name: &str) -> bool {
        NAMES.contains(&name.to_ascii_lowercase().as_str())
    }

    pub fn of(provider: Provider, options: &Options) -> Result<Self, String> {
        let option = |wanted: &str| {
            options.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v)
        };
        let class = option("storage_class").map(|class| read_class(provider, class)).transpose()?;
        let tags = option("tags").map(|tags| read_tags(provider, tags)).transpose()?;
        if tags.is_some() && options.iter().any(|(name, _)| name.ends_with("disable_tagging")) {
            return Err("options tags and disable_tagging contradict each other".to_owned());
        }
        let lock = match (option("object_lock_days"), option("object_lock_mode")) {
            (None, None) => None,
            (None, Some(_)) => return Err("object_lock_mode needs object_lock_days".to_owned()),
            (Some(days), mode) => Some(read_lock(provider, days, mode)?),
        };
        let no_checksum = |(name, value): (&str, &str)| {
            name.to_ascii_lowercase().ends_with("checksum_algorithm")
                && value.eq_ignore_ascii_case("none")
        };
        if lock.is_some() && options.iter().any(no_checksum) {
            return Err("S3 takes locked objects only with a checksum: leave checksum_algorithm \
                        out, or set it to sha256"
                .to_owned());
        }
        Ok(Self { class, tags: tags.unwrap_or_default(), lock })
    }

    pub fn attributes(&self) -> Attributes {
        let class = self.class.iter().map(|class| (Attribute::StorageClass, class.clone()));
        class.collect()
    }
}

fn read_class(provider: Provider, class: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if class.is_empty() || !class.chars().all(plain) {
        return Err(format!("storage_class {class:?} is no name of a class"));
    }
    if OFFLINE.iter().any(|(of, name)| *of == provider && class.eq_ignore_ascii_case(name)) {
        return Err(format!(
            "storage_class {class} gives nothing back at once, so no archive in it could be \
             verified; let a rule of the bucket move older archives there"
        ));
    }
    Ok(class.to_owned())
}

/// `a=b, c=d`.
fn read_tags(provider: Provider, text: &str) -> Result<TagSet, String> {
    if provider == Provider::Google {
        return Err("tags: objects of Google Cloud Storage have none".to_owned());
    }
    let mut tags = TagSet::default();
    let mut keys = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
            return Err(format!("tags: {pair:?} is not name=value"));
        };
        if key.is_empty() || key.len() > 128 || value.len() > 256 {
            return Err(format!("tags: {pair:?} has no name, or is too long"));
        }
        if keys.contains(&key) {
            return Err(format!("tags: {key:?} stands there twice"));
        }
        keys.push(key);
        tags.push(key, value);
    }
    if keys.is_empty() || keys.len() > MOST_TAGS {
        return Err(format!("tags: write 1 to {MOST_TAGS} of them, as name=value, name=value"));
    }
    Ok(tags)
}

fn read_lock(provider: Provider, days: &str, mode: Option<&str>) -> Result<Lock, String> {
    if provider != Provider::S3 {
        return Err("object_lock_days is for S3: elsewhere set a retention policy of the bucket \
                    or container"
            .to_owned());
    }
    let days = days
        .parse::<i64>()
        .ok()
        .filter(|days| (1..=LONGEST_LOCK).contains(days))
        .ok_or_else(|| format!("object_lock_days must be 1 to {LONGEST_LOCK}, not {days:?}"))?;
    let mode = match mode.map(str::to_ascii_lowercase).as_deref() {
        None | Some("governance") => LockMode::Governance,
        Some("compliance") => LockMode::Compliance,
        Some(other) => {
            return Err(format!("object_lock_mode is governance or compliance, not {other:?}"));
        }
    };
    Ok(Lock { days, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(provider: Provider, pairs: &[(&str, &str)]) -> Result<PutSettings, String> {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        PutSettings::of(provider, &Options(pairs.collect()))
    }

    #[test]
    fn what_a_provider_lacks_is_refused() {
        use Provider::{Azure, Google, S3};
        let good = of(S3, &[("storage_class", "STANDARD_IA"), ("tags", "a=b, c d=e&f=")]).unwrap();
        assert_eq!(good.tags.encoded(), "a=b&c+d=e%26f%3D");
        assert_eq!(good.attributes().len(), 1);
        let lock = of(S3, &[("object_lock_days", "30"), ("Object_Lock_Mode", "Compliance")]);
        let lock = lock.unwrap().lock.unwrap();
        assert_eq!(lock.mode.header(), "COMPLIANCE");
        let now: Timestamp = "2026-03-01T01:02:03.7Z".parse().unwrap();
        assert_eq!(lock.until(now).to_string(), "2026-03-31T01:02:03Z");
        for (provider, options, word) in [
            (S3, vec![("storage_class", "glacier")], "at once"),
            (Azure, vec![("storage_class", "Archive")], "at once"),
            (S3, vec![("storage_class", "a b")], "no name"),
            (S3, vec![("tags", "a")], "name=value"),
            (S3, vec![("tags", "a=1,a=2")], "twice"),
            (S3, vec![("tags", ",")], "1 to 10"),
            (S3, vec![("tags", "a=1"), ("disable_tagging", "true")], "contradict"),
            (Google, vec![("tags", "a=b")], "Google"),
            (Google, vec![("object_lock_days", "3")], "S3"),
            (Azure, vec![("object_lock_days", "3")], "S3"),
            (S3, vec![("object_lock_days", "0")], "1 to"),
            (S3, vec![("object_lock_mode", "governance")], "object_lock_days"),
            (S3, vec![("object_lock_days", "3"), ("object_lock_mode", "x")], "compliance"),
            (S3, vec![("object_lock_days", "3"), ("checksum_algorithm", "none")], "checksum"),
        ] {
            let error = of(provider, &options).unwrap_err();
            assert!(error.contains(word), "{options:?}: {error}");
        }
    }
}
