//! What a request shows to say who sends it.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

/// A credential of a form that we can check. Basic, cookies and JWTs are not known yet.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key, ours or DocSpace's: both begin with `sk-`.
    ApiKey(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// Longer than any key that exists; what is longer is not worth hashing.
const LONGEST_KEY: usize = 512;

/// Reads `Authorization: sk-…` (DocSpace's samples), `Authorization: Bearer sk-…` (its documentation) or
/// `ApiKeyBearer: sk-…` (what clients generated from its specification send). None: nothing we know.
pub fn read(headers: &HeaderMap) -> Option<Credential> {
    let value = headers.get(AUTHORIZATION).or_else(|| headers.get("apikeybearer"))?;
    let value = value.to_str().ok()?.trim();
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        Some(_) => return None,
        None => value,
    };
    (token.starts_with("sk-") && token.len() <= LONGEST_KEY)
        .then(|| Credential::ApiKey(token.to_owned()))
}

/// Whether the key is sent as DocSpace takes it: `Authorization: Bearer sk-…`, in this case of letters.
pub fn is_bearer(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.starts_with("Bearer sk-"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(name: &'static str, value: &str) -> Option<Credential> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        read(&headers)
    }

    #[test]
    fn keys_in_every_form() {
        let key = Some(Credential::ApiKey("sk-abc".to_owned()));
        for value in ["sk-abc", "Bearer sk-abc", "bearer sk-abc", "BEARER  sk-abc", " sk-abc "] {
            assert_eq!(of("authorization", value), key, "{value:?}");
            assert_eq!(of("apikeybearer", value), key, "{value:?}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        let long = format!("sk-{}", "0".repeat(600));
        for value in ["", "Basic dXNlcjpwYXNz", "Bearer eyJhbGciOi.e.s", "SK-abc", "Bearer", &long]
        {
            assert_eq!(of("authorization", value), None, "{value:?}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
        let debug = format!("{:?}", of("authorization", "sk-abc"));
        assert!(!debug.contains("abc"));
    }
}
