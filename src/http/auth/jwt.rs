//! JSON Web Tokens of the configured issuer.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::fetch::Fetcher;
use super::introspection::Introspection;
use super::provider::Provider;
use crate::catalog::Scope;
use crate::config::JwtConfig;

/// What a real token never needs is not worth checking.
const LONGEST: usize = 8 << 10;
/// How far clocks may differ, in seconds: DocSpace's two minutes.
const SKEW: u64 = 120;

/// Checks tokens.
pub struct Tokens {
    issuer: String,
    audience: String,
    keys: Keys,
    introspection: Option<Introspection>,
}

enum Keys {
    /// For HS256 alone.
    Secret(DecodingKey),
    /// For ES256 and RS256.
    Public(Provider),
}

/// Who a valid token is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub id: String,
    /// The claim `tid`, if there is one.
    pub tenant: Option<String>,
    /// None: its scopes are for other services.
    pub reach: Option<Scope>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The reason is for our own log.
    Invalid(String),
    /// The issuer does not answer.
    Unavailable,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    tid: Option<Value>,
    #[serde(default)]
    scope: Option<Value>,
    #[serde(default)]
    scp: Option<Value>,
}

impl Tokens {
    pub fn new(config: &JwtConfig) -> Result<Self, String> {
        let fetcher = Fetcher::new().map_err(|error| format!("auth.jwt: {error}"))?;
        let keys = match config.secret.expose() {
            "" => Keys::Public(Provider::new(config, fetcher.clone())?),
            secret => Keys::Secret(DecodingKey::from_secret(secret.as_bytes())),
        };
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            keys,
            introspection: Introspection::new(config, fetcher),
        })
    }

    pub async fn verify(&self, token: &str) -> Result<Subject, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Invalid(format!("it has {} bytes", token.len())));
        }
        // Also where the algorithm is `none`, or anything else that is not known.
        let header = decode_header(token).map_err(invalid)?;
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it demands what we do not know".to_owned()));
        }
        let key = self.key(header.kid.as_deref(), header.alg).await?;
        let claims =
            decode::<Claims>(token, &key, &self.validation(header.alg)).map_err(invalid)?.claims;
        if claims.iat.is_some_and(|issued| issued > (now() + SKEW) as f64) {
            return Err(TokenError::Invalid("it was issued in the future".to_owned()));
        }
        if let Some(introspection) = &self.introspection
            && !introspection.is_active(token, self.introspection_url().await?).await?
        {
            return Err(TokenError::Invalid("its issuer says that it is not active".to_owned()));
        }
        Ok(Subject {
            tenant: claims.tid.as_ref().and_then(plain),
            reach: reach([&claims.scope, &claims.scp]),
            id: claims.sub,
        })
    }

    /// The kind of key decides which algorithm there may be, never the token.
    async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, TokenError> {
        match (&self.keys, algorithm) {
            (Keys::Secret(key), Algorithm::HS256) => Ok(key.clone()),
            (Keys::Public(provider), Algorithm::ES256 | Algorithm::RS256) => provider
                .key(id, algorithm)
                .await
                .map_err(|_| TokenError::Unavailable)?
                .ok_or_else(|| TokenError::Invalid(format!("there is no key {id:?}"))),
            _ => Err(TokenError::Invalid(format!("its algorithm is {algorithm:?}"))),
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = SKEW;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation
    }

    /// What the issuer says of its own introspection.
    async fn introspection_url(&self) -> Result<Option<Url>, TokenError> {
        match &self.keys {
            Keys::Public(provider) => {
                provider.introspection().await.map_err(|_| TokenError::Unavailable)
            }
            Keys::Secret(_) => Ok(None),
        }
    }
}

fn invalid(error: jsonwebtoken::errors::Error) -> TokenError {
    TokenError::Invalid(error.to_string())
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// A tenant is a number or a text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// What the scopes permit: DocSpace's own words, or our own. Each claim is a list, or a text with blanks.
fn reach(claims: [&Option<Value>; 2]) -> Option<Scope> {
    let mut reach = None;
    for claim in claims.into_iter().flatten() {
        let words: Vec<&str> = match claim {
            Value::String(text) => text.split_whitespace().collect(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for word in words {
            let one = match word {
                "*:read" | "backup:read" | "read" => Some(Scope::Read),
                "*" | "*:write" | "backup:write" | "write" => Some(Scope::Write),
                _ => None,
            };
            reach = reach.max(one);
        }
    }
    reach
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
