//! Times, texts and JSON in DocSpace's columns.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::storage::StorageParams;

/// What .NET calls no time.
const NEVER: &str = "0001-01-01 00:00:00";

/// A column's time as text, under the column's own name.
pub(super) fn as_text(column: &str) -> String {
    format!("DATE_FORMAT({column}, '%Y-%m-%d %H:%i:%s') AS {column}")
}

/// Columns hold UTC and whole seconds.
pub(super) fn to_column(at: Option<Timestamp>) -> String {
    match at {
        Some(at) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => NEVER.to_owned(),
    }
}

/// None: no time, or none that is one.
pub(super) fn of_column(text: &str) -> Option<Timestamp> {
    let at: DateTime = text.parse().ok()?;
    if at.year() < 1900 {
        return None;
    }
    TimeZone::UTC.to_timestamp(at).ok()
}

/// As much as a column of 255 characters holds.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(255).collect()
}

/// A JSON object of texts; what is none is nothing.
pub(super) fn params(text: Option<&str>) -> StorageParams {
    type Members = std::collections::BTreeMap<String, Option<serde_json::Value>>;
    let members: Members =
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let as_text = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    members.into_iter().filter_map(|(name, value)| Some((name, as_text(value?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_texts() {
        let at: Timestamp = "2026-03-01T02:15:00.75Z".parse().unwrap();
        assert_eq!(to_column(Some(at)), "2026-03-01 02:15:00");
        assert_eq!(of_column("2026-03-01 02:15:00"), "2026-03-01T02:15:00Z".parse().ok());
        // facts §9: "resets last_backup_time to 0001-01-01".
        assert_eq!(to_column(None), NEVER);
        assert_eq!(of_column(NEVER), None);
        let read = params(Some(r#"{"bucket":"b","n":5,"x":null}"#));
        assert_eq!(
            read,
            [("bucket".to_owned(), "b".to_owned()), ("n".to_owned(), "5".to_owned())].into()
        );
        assert!(params(Some("[]")).is_empty() && params(None).is_empty());
    }
}
