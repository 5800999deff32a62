//! Query parameters of lists.

use serde::de::DeserializeOwned;

use super::V1Error;
use crate::ops::PageRequest;

pub const DEFAULT_LIMIT: u32 = 50;
pub const MOST: u32 = 200;

/// `?limit=` and `?offset=`.
pub fn page(query: &str) -> Result<PageRequest, V1Error> {
    Ok(PageRequest {
        limit: limit(query, DEFAULT_LIMIT, MOST)?,
        offset: number(query, "offset", 0)?,
    })
}

/// `?limit=`, from 1 to `most`.
pub fn limit(query: &str, default: u32, most: u32) -> Result<u32, V1Error> {
    match number(query, "limit", u64::from(default))? {
        limit if (1..=u64::from(most)).contains(&limit) => Ok(u32::try_from(limit).unwrap_or(most)),
        limit => Err(V1Error::invalid(format!("limit: {limit} is not between 1 and {most}"))),
    }
}

fn number(query: &str, name: &str, default: u64) -> Result<u64, V1Error> {
    let Some(text) = text(query, name) else { return Ok(default) };
    // What a catalog's signed integer cannot hold is no place in a list.
    let number = text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| V1Error::invalid(format!("{name}: {text:?} is not a whole number")))
}

/// The first value of a parameter.
pub fn text(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// A parameter that is one of a type's JSON words.
pub fn word<T: DeserializeOwned>(query: &str, name: &str) -> Result<Option<T>, V1Error> {
    let Some(text) = text(query, name) else { return Ok(None) };
    let value = match text.as_str() {
        "true" => serde_json::Value::Bool(true),
        "false" => serde_json::Value::Bool(false),
        _ => serde_json::Value::String(text),
    };
    let parsed = serde_json::from_value(value);
    parsed.map(Some).map_err(|error| V1Error::invalid(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobState;

    #[test]
    fn pages() {
        assert_eq!(page("").unwrap(), PageRequest { offset: 0, limit: 50 });
        assert_eq!(page("offset=7&limit=200").unwrap(), PageRequest { offset: 7, limit: 200 });
        for bad in [
            "limit=0",
            "limit=201",
            "limit=",
            "limit=x",
            "offset=-1",
            "offset=1.5",
            "offset=9223372036854775808",
        ] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(word::<JobState>("state=failed", "state").unwrap(), Some(JobState::Failed));
        assert_eq!(word::<JobState>("", "state").unwrap(), None);
        assert!(word::<JobState>("state=lost", "state").is_err());
        assert_eq!(word::<bool>("dump=true", "dump").unwrap(), Some(true));
        assert!(word::<bool>("dump=1", "dump").is_err());
    }
}
