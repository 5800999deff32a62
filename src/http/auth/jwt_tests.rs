//! Tokens with a shared secret; those of key sets meet a whole service in `tests/api/identity.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config(text: &str) -> JwtConfig {
    let text = format!("issuer = 'https://id.example/'\naudience = 'us'\n{text}");
    toml::from_str(&text).unwrap()
}

fn tokens() -> Tokens {
    Tokens::new(&config(&format!("secret = '{SECRET}'"))).unwrap()
}

/// Good claims, changed by `change`; null takes a claim away.
fn claims(change: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example/", "aud": "us", "sub": "someone", "scope": "*:read",
        "exp": now() + 300, "iat": now(), "nbf": now(),
    });
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn token(change: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims(change), &key).unwrap()
}

async fn verified(token: &str) -> Result<Subject, TokenError> {
    tokens().verify(token).await
}

#[tokio::test]
async fn a_good_token_says_who_and_how_far() {
    let expected = Subject { id: "someone".to_owned(), tenant: None, reach: Some(Scope::Read) };
    assert_eq!(verified(&token(json!({}))).await, Ok(expected));
    for (change, tenant) in [(json!({"tid": 1}), "1"), (json!({"tid": "1"}), "1")] {
        assert_eq!(verified(&token(change)).await.unwrap().tenant.as_deref(), Some(tenant));
    }
    for good in [
        json!({"aud": ["others", "us"]}),
        json!({"iat": null, "nbf": null}),
        // Two minutes of skew (`facts.md` §1 "JWT").
        json!({"exp": now() - 100}),
        json!({"nbf": now() + 100, "iat": now() + 100}),
    ] {
        assert!(verified(&token(good.clone())).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn other_claims_are_refused() {
    for bad in [
        json!({"exp": now() - 130}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"nbf": now() + 130}),
        json!({"nbf": "now"}),
        json!({"iat": now() + 130}),
        json!({"aud": "others"}),
        json!({"aud": ["others"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"iss": "https://id.example"}),
        json!({"iss": null}),
        json!({"iss": 5}),
        json!({"sub": null}),
        json!({"sub": 5}),
        json!({"more": "x".repeat(9000)}),
    ] {
        let refused = verified(&token(bad.clone())).await;
        assert!(matches!(refused, Err(TokenError::Invalid(_))), "{bad}: {refused:?}");
    }
}

#[tokio::test]
async fn other_signatures_are_refused() {
    let good = token(json!({}));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (_, body) = rest.split_once('.').unwrap();
    let head = |header: Value| URL_SAFE_NO_PAD.encode(header.to_string());
    let sign = |algorithm, secret: &[u8]| {
        let key = EncodingKey::from_secret(secret);
        encode(&Header::new(algorithm), &claims(json!({})), &key).unwrap()
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let demanding = Header { crit: Some(vec!["b64".to_owned()]), ..Header::default() };
    for bad in [
        format!("{rest}."),
        format!("{rest}.AAAA"),
        format!("{}.{body}.", head(json!({"alg": "none"}))),
        format!("{}.{body}.{signature}", head(json!({"alg": "none"}))),
        format!("{}.{body}.{signature}", head(json!({"alg": "nOnE", "typ": "JWT"}))),
        format!("{}.{body}.{signature}", head(json!({"typ": "JWT"}))),
        format!("{}.{body}.{signature}", head(json!({"alg": "RS256", "kid": "a"}))),
        format!("{}.{body}.{signature}", head(json!({"alg": "ES256"}))),
        sign(Algorithm::HS512, SECRET.as_bytes()),
        sign(Algorithm::HS256, b"another secret of more than 32 bytes"),
        sign(Algorithm::HS256, b""),
        encode(&demanding, &claims(json!({})), &key).unwrap(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{good}.{good}"),
    ] {
        let refused = verified(&bad).await;
        assert!(matches!(refused, Err(TokenError::Invalid(_))), "{bad}: {refused:?}");
    }
}

#[tokio::test]
async fn a_shared_secret_is_never_for_a_key_set() {
    let tokens = Tokens::new(&config("jwks_url = 'http://127.0.0.1:1/keys'")).unwrap();
    let refused = tokens.verify(&token(json!({}))).await;
    assert!(matches!(refused, Err(TokenError::Invalid(_))), "{refused:?}");
}

#[test]
fn scopes_are_mapped() {
    let of = |scope: Value, scp: Value| {
        reach([&Some(scope).filter(|v| !v.is_null()), &Some(scp).filter(|v| !v.is_null())])
    };
    let nothing = || Value::Null;
    for word in ["*:read", "backup:read", "read"] {
        assert_eq!(of(json!(word), nothing()), Some(Scope::Read), "{word}");
    }
    for word in ["*", "*:write", "backup:write", "write", "openid *:read *:write"] {
        assert_eq!(of(json!(word), nothing()), Some(Scope::Write), "{word}");
    }
    assert_eq!(of(nothing(), json!(["openid", "*:read"])), Some(Scope::Read));
    assert_eq!(of(json!("*:read"), json!(["backup:write"])), Some(Scope::Write));
    // `facts.md` §1: DocSpace's OAuth scopes are for files, rooms and accounts, so they reach nothing here.
    for nothing_of_ours in [json!("files:write rooms:write accounts:write"), json!(""), json!(7)] {
        assert_eq!(of(nothing_of_ours, nothing()), None);
    }
    assert_eq!(of(nothing(), nothing()), None);
}
