//! What a request shows to say who sends it: DocSpace's choice between its schemes (`facts.md` §1 "Scheme
//! selection"), and a bare `sk-…` on top.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

/// A credential by its form; whether it is right is yet to be seen.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key, ours or DocSpace's: both begin with `sk-`.
    ApiKey(String),
    /// Three or five parts, as JSON Web Tokens have them.
    Jwt(String),
    /// What DocSpace gives who logs in.
    Login { token: String, from: Source },
    /// A name and a password. How DocSpace keeps passwords is not known to us, so nobody can be let in.
    Basic,
}

/// Where a login token was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The browser sends it by itself, also when another site made it send the request.
    Cookie,
    Header,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(***)",
            Self::Jwt(_) => "Jwt(***)",
            Self::Login { .. } => "Login(***)",
            Self::Basic => "Basic",
        })
    }
}

/// Longer than any key that exists; what is longer is not worth hashing.
const LONGEST_KEY: usize = 512;
/// DocSpace's cookie.
const LOGIN_COOKIE: &str = "asc_auth_key";

/// What the request shows. None: nothing, or nothing that could be a credential.
///
/// `Basic` and `Bearer` choose by themselves; for everything else the login cookie comes first. Only then
/// we look for what DocSpace does not take: a bare `sk-…`, the header `ApiKeyBearer`, which clients made
/// from DocSpace's specification send, and `X-Api-Key`, as elsewhere. `logins`: whether there are any, so whether the cookie means something.
pub fn read(headers: &HeaderMap, logins: bool) -> Option<Credential> {
    let authorization = text(headers, AUTHORIZATION.as_str()).unwrap_or_default();
    match authorization.split_once(' ') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("basic") => {
            return Some(Credential::Basic);
        }
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_start();
            if is_jwt(token) {
                return Some(Credential::Jwt(token.to_owned()));
            }
            if token.starts_with("sk-") {
                return api_key(token);
            }
            return logins.then(|| login(headers, token))?;
        }
        _ => {}
    }
    if let Some(cookie) = cookie(headers).filter(|_| logins) {
        return Some(cookie);
    }
    if authorization.starts_with("sk-") {
        return api_key(authorization);
    }
    if !authorization.is_empty() {
        return logins.then(|| login(headers, authorization))?;
    }
    let key = text(headers, "apikeybearer").or_else(|| text(headers, "x-api-key"))?;
    api_key(key.split_once(' ').map_or(key, |(scheme, token)| {
        if scheme.eq_ignore_ascii_case("bearer") { token.trim_start() } else { key }
    }))
}

/// Whether the request shows anything at all, be it nonsense.
pub fn is_shown(headers: &HeaderMap) -> bool {
    let others = ["apikeybearer", "x-api-key"];
    headers.contains_key(AUTHORIZATION) || others.iter().any(|name| headers.contains_key(*name))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A key by itself; None: it cannot be one.
pub fn api_key(text: &str) -> Option<Credential> {
    let is_key = text.starts_with("sk-") && text.len() <= LONGEST_KEY;
    is_key.then(|| Credential::ApiKey(text.to_owned()))
}

/// The cookie beats the header.
fn login(headers: &HeaderMap, token: &str) -> Option<Credential> {
    let header = || Credential::Login { token: token.to_owned(), from: Source::Header };
    cookie(headers).or_else(|| (!token.is_empty()).then(header))
}

fn cookie(headers: &HeaderMap) -> Option<Credential> {
    let lines = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == LOGIN_COOKIE)?;
    let token = value.trim().trim_matches('"').to_owned();
    (!token.is_empty()).then_some(Credential::Login { token, from: Source::Cookie })
}

/// The compact form of a signed token (the signature may be missing: then it is refused later) or of an
/// encrypted one.
fn is_jwt(token: &str) -> bool {
    let base64 =
        |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let parts: Vec<&str> = token.splitn(6, '.').collect();
    let filled = |positions: &[usize]| positions.iter().all(|at| !parts[*at].is_empty());
    parts.iter().all(base64)
        && match parts.len() {
            3 => filled(&[0, 1]),
            5 => filled(&[0, 2, 3, 4]),
            _ => false,
        }
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

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn of(name: &'static str, value: &str) -> Option<Credential> {
        read(&headers(&[(name, value)]), true)
    }

    fn login(token: &str, from: Source) -> Option<Credential> {
        Some(Credential::Login { token: token.to_owned(), from })
    }

    fn key(text: &str) -> Option<Credential> {
        Some(Credential::ApiKey(text.to_owned()))
    }

    #[test]
    fn keys_in_every_form() {
        for value in ["sk-abc", "Bearer sk-abc", "bearer sk-abc", "BEARER  sk-abc", " sk-abc "] {
            assert_eq!(of("authorization", value), key("sk-abc"), "{value:?}");
            assert_eq!(of("apikeybearer", value), key("sk-abc"), "{value:?}");
            assert_eq!(of("x-api-key", value), key("sk-abc"), "{value:?}");
        }
    }

    /// `facts.md` §1: empty → Cookie, `Basic ` → Basic, `Bearer ` → JWT or key, anything else → Cookie.
    #[test]
    fn schemes_are_chosen_as_docspace_chooses() {
        assert_eq!(of("authorization", "Basic dXNlcjpwYXNz"), Some(Credential::Basic));
        for token in ["eyJhbGciOi.e30.c2ln", "eyJhbGciOi.e30.", "a..b.c.d"] {
            let expected = Some(Credential::Jwt(token.to_owned()));
            assert_eq!(of("authorization", &format!("Bearer {token}")), expected);
            assert_eq!(of("authorization", token), login(token, Source::Header), "not bare");
        }
        for token in ["abc+/=", "a.b", "a.b.c.d.e.f", "SK-abc", "a$.b.c"] {
            let expected = login(token, Source::Header);
            assert_eq!(of("authorization", token), expected);
            assert_eq!(of("authorization", &format!("Bearer {token}")), expected);
        }
        assert_eq!(of("cookie", "a=b; asc_auth_key=abc+/=; c=d"), login("abc+/=", Source::Cookie));
        assert_eq!(of("cookie", "asc_auth_key=\"abc\""), login("abc", Source::Cookie));
        for nothing in ["asc_auth_key=", "xasc_auth_key=a", "asc_auth_key", ""] {
            assert_eq!(of("cookie", nothing), None, "{nothing:?}");
        }
    }

    /// `facts.md` §1: "a cookie beats the header within that scheme".
    #[test]
    fn a_cookie_beats_the_header_of_its_scheme() {
        let both =
            |value| read(&headers(&[("authorization", value), ("cookie", "asc_auth_key=c")]), true);
        for value in ["abc", "Bearer abc", "sk-abc", ""] {
            assert_eq!(both(value), login("c", Source::Cookie), "{value:?}");
        }
        assert_eq!(both("Bearer sk-abc"), key("sk-abc"));
        assert_eq!(both("Bearer a.b.c"), Some(Credential::Jwt("a.b.c".to_owned())));
        assert_eq!(both("Basic abc"), Some(Credential::Basic));
    }

    #[test]
    fn without_logins_the_cookie_means_nothing() {
        let both = headers(&[("authorization", "sk-abc"), ("cookie", "asc_auth_key=c")]);
        assert_eq!(read(&both, false), key("sk-abc"));
        assert_eq!(read(&headers(&[("cookie", "asc_auth_key=c")]), false), None);
        assert_eq!(read(&headers(&[("authorization", "abc")]), false), None);
    }

    #[test]
    fn everything_else_is_nothing() {
        let long = format!("sk-{}", "0".repeat(600));
        for value in ["", "Bearer", &long] {
            let credential = of("authorization", value);
            assert!(!matches!(credential, Some(Credential::ApiKey(_))), "{value:?}");
            assert!(of("apikeybearer", value).is_none(), "{value:?}");
        }
        assert_eq!(read(&HeaderMap::new(), true), None);
        for value in ["sk-abc", "Bearer abc.abc.abc", "abc"] {
            assert!(!format!("{:?}", of("authorization", value)).contains("abc"), "{value}");
        }
    }
}
