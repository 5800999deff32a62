//! Asking the issuer whether a token still counts (RFC 7662): a signature cannot be taken back.

use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

use super::fetch::Fetcher;
use super::jwt::TokenError;
use crate::catalog::Cache;
use crate::config::{JwtConfig, Secret};

/// A revoked token works no longer than this.
const TRUST: Duration = Duration::from_secs(5);
const REMEMBERED: usize = 1024;

pub struct Introspection {
    fetcher: Fetcher,
    /// None: where the issuer says.
    url: Option<Url>,
    user: Option<(String, Secret)>,
    answers: Cache<[u8; 32], Result<bool, ()>>,
}

impl Introspection {
    /// None: the configuration asks for none.
    pub fn new(config: &JwtConfig, fetcher: Fetcher) -> Option<Self> {
        if config.introspection_url.is_none() && config.client_id.is_empty() {
            return None;
        }
        let user = (config.client_id.clone(), config.client_secret.clone());
        Some(Self {
            fetcher,
            url: config.introspection_url.clone(),
            user: Some(user).filter(|(name, _)| !name.is_empty()),
            answers: Cache::new(TRUST / 2, TRUST, REMEMBERED).lasting(Result::is_ok),
        })
    }

    /// `discovered`: the address by the issuer's own description. Without any address no token counts.
    pub async fn is_active(
        &self,
        token: &str,
        discovered: Option<Url>,
    ) -> Result<bool, TokenError> {
        let Some(url) = self.url.clone().or(discovered) else {
            tracing::warn!("the issuer of tokens has no introspection_endpoint");
            return Err(TokenError::Unavailable);
        };
        let (fetcher, user) = (self.fetcher.clone(), self.user.clone());
        let question = Secret::new(token);
        let load = || async move {
            let form = [("token", question.expose()), ("token_type_hint", "access_token")];
            let user = user.as_ref().map(|(name, secret)| (name.as_str(), secret.expose()));
            match fetcher.post(&url, &form, user).await {
                Ok(answer) => Ok(answer.get("active") == Some(&serde_json::Value::Bool(true))),
                Err(error) => {
                    tracing::warn!(%error, %url, "cannot ask whether a token is active");
                    Err(())
                }
            }
        };
        let name: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.answers.get(name, || 0, load).await.map_err(|()| TokenError::Unavailable)
    }
}
