//! `[auth]`: who may, beside our own API keys and DocSpace's.

use serde::Deserialize;

use super::value::Secret;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    pub jwt: Option<JwtConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    pub issuer: String,
    pub audience: String,
    pub jwks_url: Option<url::Url>,
    /// For HS256, instead of a key set.
    #[serde(default)]
    pub secret: Secret,
}
