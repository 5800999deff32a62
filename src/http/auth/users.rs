//! The ways in, one by one: own keys, DocSpace's keys and logins, and tokens of an issuer.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;

use super::jwt::TokenError;
use super::{Caller, Refusal, Role, tenant_for_installation, tenant_open_or_not, unanswered};
use crate::catalog::Scope;
use crate::http::credentials::{Credential, Source};
use crate::http::{Client, HttpState};
use crate::portal::PortalError;

/// How long a credential waits for others to be hashed: a crowd of guesses must not fill the memory.
const PATIENCE: Duration = Duration::from_secs(15);

/// One request, while it is found out who sends it.
pub struct Asking<'a> {
    pub state: &'a HttpState,
    pub request: &'a HttpRequest,
    pub client: Client,
    /// Whether a tenant that is closed (being restored, moved, …) will do.
    pub also_closed: bool,
}

impl Asking<'_> {
    pub async fn who(&self, credential: Credential) -> Result<Caller, Refusal> {
        match credential {
            Credential::ApiKey(key) => self.api_key(&key).await,
            Credential::Jwt(token) => self.jwt(&token).await,
            Credential::Login { token, from } => self.login(&token, from).await,
            // Nobody is let in by it, so nothing can be guessed.
            Credential::Basic => Err(Refusal::Unauthorized),
        }
    }

    async fn api_key(&self, key: &str) -> Result<Caller, Refusal> {
        // Own keys are found by one cheap look, so they are never made to wait.
        let own = self.state.app.catalog.api_keys().verify(key).await.map_err(|error| {
            tracing::error!(%error, "cannot look up an API key");
            Refusal::Unavailable("The catalog does not answer")
        })?;
        if let Some(own) = own {
            return self.installation(Some(own.scope)).await;
        }
        let Some(identity) = self.state.app.portal.identity() else { return Err(self.wrong()) };
        let tenant_id = self.tenant().await?;
        let owner = self.slowed(key, true, identity.authenticate(key, tenant_id)).await?;
        let reach = match (owner.scopes.can_read(), owner.scopes.can_write()) {
            (_, true) => Some(Scope::Write),
            (true, false) => Some(Scope::Read),
            (false, false) => None,
        };
        self.user(owner.user_id, reach).await
    }

    async fn login(&self, token: &str, from: Source) -> Result<Caller, Refusal> {
        let Some(identity) = self.state.app.portal.identity() else { return Err(self.wrong()) };
        if from == Source::Cookie && self.is_forged() {
            return Err(Refusal::Forbidden);
        }
        let tenant_id = self.tenant().await?;
        let user_id =
            self.slowed(token, !identity.is_login(token), identity.login(token, tenant_id)).await?;
        self.user(user_id, Some(Scope::Write)).await
    }

    /// Nobody can guess a signature, so tokens are checked also of those who guessed something else, and wrong
    /// ones are not counted.
    async fn jwt(&self, token: &str) -> Result<Caller, Refusal> {
        let Some(tokens) = &self.state.tokens else { return Err(Refusal::Unauthorized) };
        let subject = match tokens.verify(token).await {
            Ok(subject) => subject,
            Err(TokenError::Unavailable) => {
                return Err(Refusal::Unavailable("The issuer of the token does not answer"));
            }
            Err(TokenError::Invalid(reason)) => {
                tracing::info!(reason, "a token was refused");
                return Err(Refusal::Unauthorized);
            }
        };
        let Some(_) = self.state.app.portal.identity() else {
            return self.installation(subject.reach).await;
        };
        let tenant_id = self.tenant().await?;
        // Right, but for another portal.
        if subject.tenant.is_some_and(|tenant| tenant != tenant_id.to_string()) {
            return Err(Refusal::Unauthorized);
        }
        self.user(subject.id, subject.reach).await
    }

    /// A wrong credential is counted.
    pub fn wrong(&self) -> Refusal {
        let wait = self.state.failures.count(self.client.address);
        wait.map_or(Refusal::Unauthorized, Refusal::TooMany)
    }

    async fn tenant(&self) -> Result<i64, Refusal> {
        match tenant_open_or_not(&self.state.app, self.request, &self.client).await? {
            (id, is_open) if is_open || self.also_closed => Ok(id),
            _ => Err(Refusal::TenantClosed),
        }
    }

    async fn user(&self, id: String, reach: Option<Scope>) -> Result<Caller, Refusal> {
        let reach = reach.ok_or(Refusal::Forbidden)?;
        let tenant_id = self.tenant().await?;
        Ok(Caller { tenant_id, role: Role::User { id }, reach, address: self.client.address })
    }

    async fn installation(&self, reach: Option<Scope>) -> Result<Caller, Refusal> {
        let reach = reach.ok_or(Refusal::Forbidden)?;
        let found = tenant_for_installation(&self.state.app, self.request, &self.client).await;
        let (role, address) = (Role::Installation, self.client.address);
        Ok(Caller { tenant_id: found?, role, reach, address })
    }

    /// Checks what can be guessed, or costs much to check (100,000 rounds of hashing for DocSpace's keys):
    /// who guesses waits before that. What was right lately never waits. `guess`: a wrong one is counted.
    async fn slowed<T>(
        &self,
        credential: &str,
        guess: bool,
        check: impl Future<Output = Result<Option<T>, PortalError>>,
    ) -> Result<T, Refusal> {
        let failures = &self.state.failures;
        let _permit = if failures.is_known(credential) {
            None
        } else {
            // Who is blocked already does not even stand in the way of others.
            if let Some(wait) = failures.wait(self.client.address) {
                return Err(Refusal::TooMany(wait));
            }
            let turn = tokio::time::timeout(PATIENCE, failures.turn(credential)).await;
            let turn =
                turn.map_err(|_| Refusal::Unavailable("Too many credentials are being checked"))?;
            if let (Some(_), Some(wait)) = (&turn, failures.wait(self.client.address)) {
                return Err(Refusal::TooMany(wait));
            }
            turn
        };
        match check.await.map_err(unanswered)? {
            Some(right) => {
                failures.remember(credential);
                Ok(right)
            }
            None => {
                failures.forget(credential);
                Err(if guess { self.wrong() } else { Refusal::Unauthorized })
            }
        }
    }

    /// Whether another site made the browser send this: a browser says so itself, and adds the cookie
    /// unasked. Looking at something is harmless, because that site cannot read the answer.
    fn is_forged(&self) -> bool {
        let site = self.request.headers().get("sec-fetch-site").and_then(|site| site.to_str().ok());
        let looks = [Method::GET, Method::HEAD].contains(self.request.method());
        site == Some("cross-site") && !looks
    }
}
