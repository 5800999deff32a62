//! `[auth]`: who may, beside our own API keys and DocSpace's.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::value::{Secret, lenient};

/// As long as the hash of HS256: a shorter secret can be guessed from any token.
const SHORTEST_SECRET: usize = 32;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    pub jwt: Option<JwtConfig>,
}

/// Tokens of an OpenID provider, or signed with a shared secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    pub issuer: String,
    pub audience: String,
    /// Default: what `{issuer}/.well-known/openid-configuration` says.
    pub jwks_url: Option<Url>,
    /// For HS256, instead of a key set.
    #[serde(default)]
    pub secret: Secret,
    /// Where to ask whether a token was revoked (RFC 7662). Default: what the issuer says, if there is
    /// a `client_id`; else nobody is asked.
    pub introspection_url: Option<Url>,
    /// Who we are at the introspection.
    #[serde(default)]
    pub client_id: String,
    #[serde(default)]
    pub client_secret: Secret,
    /// Seconds after which a key set is fetched anew.
    #[serde(default = "five_minutes", deserialize_with = "lenient")]
    pub keys_ttl: u64,
    /// Seconds between two attempts to fetch it, whatever tokens come.
    #[serde(default = "ten_seconds", deserialize_with = "lenient")]
    pub keys_retry: u64,
    /// Seconds for which the last good key set is used when no other can be had.
    #[serde(default = "an_hour", deserialize_with = "lenient")]
    pub keys_stale: u64,
}

fn five_minutes() -> u64 {
    300
}

fn ten_seconds() -> u64 {
    10
}

fn an_hour() -> u64 {
    3600
}

impl JwtConfig {
    pub fn keys_ttl(&self) -> Duration {
        Duration::from_secs(self.keys_ttl)
    }

    pub fn keys_retry(&self) -> Duration {
        Duration::from_secs(self.keys_retry)
    }

    pub fn keys_stale(&self) -> Duration {
        Duration::from_secs(self.keys_stale)
    }

    /// Whether the issuer's description of itself is needed.
    pub fn is_discovered(&self) -> bool {
        self.secret.is_empty() && self.jwks_url.is_none()
    }

    /// Where the issuer describes itself.
    pub fn discovery_url(&self) -> Result<Url, String> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        Url::parse(&url).map_err(|error| format!("auth.jwt.issuer {:?}: {error}", self.issuer))
    }

    /// What types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err("auth.jwt.issuer and auth.jwt.audience must not be empty".to_owned());
        }
        if !self.secret.is_empty() && self.jwks_url.is_some() {
            return Err("auth.jwt: either a secret (HS256) or a jwks_url, not both".to_owned());
        }
        if (1..SHORTEST_SECRET).contains(&self.secret.expose().len()) {
            return Err(format!("auth.jwt.secret must have at least {SHORTEST_SECRET} bytes"));
        }
        let mut urls = vec![("jwks_url", self.jwks_url.clone())];
        urls.push(("introspection_url", self.introspection_url.clone()));
        if self.is_discovered() {
            urls.push(("issuer", Some(self.discovery_url()?)));
        }
        for (key, url) in urls {
            if url.is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
                return Err(format!("auth.jwt.{key} must be an http or https address"));
            }
        }
        if !self.client_id.is_empty() && self.introspection_url.is_none() && !self.is_discovered() {
            return Err(
                "auth.jwt.client_id is for the introspection: set introspection_url too".to_owned()
            );
        }
        Ok(())
    }
}
