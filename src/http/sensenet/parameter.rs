//! The parameter `target`, wherever it is (`seed-systems.md` B1): the query wins; a body is `models=[{…}]`, an object, an
//! array of one, pairs as in a form, or multipart. The content type decides nothing but the last. JSON may have
//! single quotes and bare names, as the library that sensenet reads it with accepts.

use actix_multipart::Multipart;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::error::SnError;
use crate::http::docspace::query;

const NAME: &str = "target";
const MODELS: &str = "models";

/// None: it is missing, or null.
pub async fn target(
    query: &str,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<Option<String>, SnError> {
    if let Some(value) = query::first(query, NAME) {
        return Ok(Some(value));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type.unwrap_or_default().trim_start();
    if media.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
        return multipart(headers, body).await;
    }
    of_body(&body)
}

fn malformed() -> SnError {
    SnError::Malformed(
        "The body cannot be read: send {\"target\":\"…\"}, models=[{…}] or target=…".to_owned(),
    )
}

fn of_body(body: &[u8]) -> Result<Option<String>, SnError> {
    let text = str::from_utf8(body).map_err(|_| malformed())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with(['{', '[']) {
        return of_json(text);
    }
    if let Some((start, models)) = text.split_at_checked(MODELS.len())
        && start.eq_ignore_ascii_case(MODELS)
        && let Some(models) = models.strip_prefix('=')
    {
        return of_json(models.trim());
    }
    let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(name, _)| name.eq_ignore_ascii_case(NAME)) {
        Some((_, value)) => Ok(Some(value.to_owned())),
        None if text.contains('=') => Ok(None),
        None => Err(malformed()),
    }
}

fn of_json(text: &str) -> Result<Option<String>, SnError> {
    let value: Value = serde_json::from_str(&strict(text)).map_err(|_| malformed())?;
    let value = match value {
        Value::Array(items) => items.into_iter().next().unwrap_or_default(),
        other => other,
    };
    let members = match value {
        Value::Object(members) => members,
        Value::Null => return Ok(None),
        _ => return Err(malformed()),
    };
    let found = members.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(NAME));
    match found.map(|(_, value)| value) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(true)) => Ok(Some("True".to_owned())),
        Some(Value::Bool(false)) => Ok(Some("False".to_owned())),
        Some(Value::Array(_) | Value::Object(_)) => Err(malformed()),
    }
}

/// Lenient JSON in the one form that every parser takes.
fn strict(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' => string(c, &mut rest, &mut out),
            c if c.is_ascii_alphabetic() || c == '_' || c == '$' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || "_$".contains(*c))
                {
                    word.push(c);
                }
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                match rest.peek() {
                    Some(':') => out.push_str(&format!("\"{word}\"")),
                    _ => out.push_str(&word),
                }
            }
            // Signs and exponents of numbers, and all else that is JSON's own.
            other => out.push(other),
        }
    }
    out
}

/// A string, from behind its opening quote to its closing one.
fn string(quote: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.push('"');
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('\'') => out.push('\''),
                Some(escaped) => out.extend(['\\', escaped]),
                None => return,
            },
            c if c == quote => {
                out.push('"');
                return;
            }
            '"' => out.push_str("\\\""),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

async fn multipart(headers: &HeaderMap, body: Vec<u8>) -> Result<Option<String>, SnError> {
    let body = futures::stream::once(std::future::ready(Ok::<_, actix_web::error::PayloadError>(
        Bytes::from(body),
    )));
    let mut fields = Multipart::new(headers, body.boxed_local());
    while let Some(mut field) = fields.try_next().await.map_err(|_| malformed())? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        let mut value = Vec::new();
        while let Some(piece) = field.try_next().await.map_err(|_| malformed())? {
            value.extend_from_slice(&piece);
        }
        let value = String::from_utf8(value).map_err(|_| malformed())?;
        match name.as_str() {
            NAME => return Ok(Some(value)),
            MODELS => return of_json(value.trim()),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(body: &str) -> Option<String> {
        of_body(body.as_bytes()).unwrap()
    }

    /// B1: "body: `models=[{"target":"…"}]`, plain `{…}` or `[{…}]` (first item used), `target=…` form …; single quotes
    /// accepted; parameter names case-insensitive; … Form pairs are not URL-decoded in that code."
    #[test]
    fn bodies() {
        let some = Some("a/b".to_owned());
        for body in [
            r#"{"target":"a/b"}"#,
            r#"models=[{"target":"a/b"}]"#,
            r#"models=[{'target':'a/b','x':'&target=no'}]"#,
            r#"[{"Target":"a/b"},{"target":"no"}]"#,
            "{'TARGET': 'a/b'}",
            "{target: 'a/b', other: [1, true, null]}",
            "\u{feff} {\"x\":1e-5,\"target\":\"a/b\"}\r\n",
            "target=a/b",
            "x=1&Target=a/b&y=2",
        ] {
            assert_eq!(of(body), some, "{body}");
        }
        assert_eq!(of("target=a%2Fb"), Some("a%2Fb".to_owned()));
        assert_eq!(of(r#"{'target':'it\'s "x"'}"#), Some("it's \"x\"".to_owned()));
        assert_eq!(of(r#"{"target":"C:\\sn\\copy"}"#), Some("C:\\sn\\copy".to_owned()));
        assert_eq!(of(r#"{"target":5}"#), Some("5".to_owned()));
        assert_eq!(of("target="), Some(String::new()));
        for body in ["", "  ", "{}", "[]", r#"{"target":null}"#, "[null]", "models=[]", "x=1"] {
            assert_eq!(of(body), None, "{body}");
        }
        for body in ["{", "[1]", r#"{"target":{}}"#, "target", "models=", "models=5", "\"x\""] {
            assert!(of_body(body.as_bytes()).is_err(), "{body}");
        }
        assert!(of_body(b"\xff").is_err());
    }

    #[tokio::test]
    async fn parts_of_multipart() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "Multipart/form-data; boundary=XX".parse().unwrap());
        let part = |name: &str, value: &str| {
            format!(
                "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--XX--\r\n"
            )
        };
        let of = async |body: String| target("", &headers, body.into_bytes()).await;
        assert_eq!(of(part("target", "a b")).await.unwrap(), Some("a b".to_owned()));
        let models = part("models", "[{'target':'x'}]");
        assert_eq!(of(models).await.unwrap(), Some("x".to_owned()));
        assert_eq!(of(part("other", "x")).await.unwrap(), None);
        assert!(of("garbage".to_owned()).await.is_err());
    }

    #[tokio::test]
    async fn the_query_wins() {
        let body = br#"{"target":"body"}"#.to_vec();
        let found = target("a=b&TARGET=a%2Fb", &HeaderMap::new(), body).await.unwrap();
        assert_eq!(found, Some("a/b".to_owned()));
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in "(models=)?[\\[\\]{}'\"\\\\:,=&a-z0-9é ]{0,60}") {
            drop(of_body(body.as_bytes()));
        }

        #[test]
        fn any_text_comes_through(text in "\\PC{0,40}") {
            let body = serde_json::json!({"target": text}).to_string();
            prop_assert_eq!(of(&body), Some(text));
        }
    }
}
