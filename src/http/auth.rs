//! Who a request is from, which tenant it is for, and whether that suffices.

use std::time::Duration;

use actix_web::HttpRequest;

use super::credentials::{self, Credential};
use super::docspace::query;
use super::{Client, HttpState};
use crate::app::App;
use crate::catalog::Scope;
use crate::ops::OpError;
use crate::portal::PortalError;
use crate::portal::docspace::identity::{Identity, KeyOwner};
use crate::portal::docspace::tenants::{RequestHosts, TenantError};

/// The tenant of the plain layout.
const PLAIN_TENANT: i64 = 1;

/// Somebody whose credential was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that the request's host names.
    pub tenant_id: i64,
    pub role: Role,
    /// How far the credential reaches.
    pub reach: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// An own key: an administrator of the installation.
    Installation,
    /// A user of DocSpace; whether they are an administrator is yet to be asked.
    User { id: String },
}

/// Why a request is turned away before anything of it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Unauthorized,
    /// The key lacks the scope.
    Forbidden,
    /// Too many wrong credentials from this address.
    TooMany(Duration),
    /// No tenant of that name.
    NoTenant,
    /// The tenant is being moved or restored.
    TenantClosed,
    /// What we would check with does not answer.
    Unavailable,
}

/// Checks the credential of a request, and that it reaches as far as `need`.
pub async fn authenticate(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<Caller, Refusal> {
    let client = state.client(request);
    let Some(Credential::ApiKey(key)) = credentials::read(request.headers()) else {
        // Nothing shown is nothing guessed: only what looks like a credential is counted.
        let shown = request.headers().contains_key(actix_web::http::header::AUTHORIZATION);
        let wait = if shown { state.failures.count(client.address) } else { None };
        return Err(wait.map_or(Refusal::Unauthorized, Refusal::TooMany));
    };
    let tenant = tenant(&state.app, request, &client);
    identify(state, &client, &key, need, tenant).await
}

/// Who asks how far a restore is: anybody may, also while the tenant is closed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    /// None: the portal's database cannot tell just now, as may be in the middle of a restore.
    pub tenant_id: Option<i64>,
    /// Whether a key was shown that may read.
    pub has_key: bool,
}

/// Finds out what a request without need of a credential is for. As in DocSpace, a key that is sent with
/// `Bearer` must reach as far as reading nevertheless.
pub async fn visit(state: &HttpState, request: &HttpRequest) -> Result<Visitor, Refusal> {
    let client = state.client(request);
    let tenant = match tenant_open_or_not(&state.app, request, &client).await {
        Ok((id, _)) => Ok(id),
        Err(Refusal::Unavailable) => Err(Refusal::Unavailable),
        Err(refusal) => return Err(refusal),
    };
    let mut visitor = Visitor { tenant_id: tenant.as_ref().ok().copied(), has_key: false };
    let Some(Credential::ApiKey(key)) = credentials::read(request.headers()) else {
        return Ok(visitor);
    };
    let tenant = std::future::ready(tenant);
    match identify(state, &client, &key, Scope::Read, tenant).await {
        Ok(_) => visitor.has_key = true,
        Err(refusal @ Refusal::TooMany(_)) => return Err(refusal),
        Err(refusal) if credentials::is_bearer(request.headers()) => {
            let unknown = refusal == Refusal::Unauthorized;
            return Err(if unknown { Refusal::Forbidden } else { refusal });
        }
        Err(_) => {}
    }
    Ok(visitor)
}

/// Whose key it is. `tenant`: the one that the request is for, asked only when it matters.
async fn identify(
    state: &HttpState,
    client: &Client,
    key: &str,
    need: Scope,
    tenant: impl Future<Output = Result<i64, Refusal>>,
) -> Result<Caller, Refusal> {
    // Own keys are found by one cheap look, so they are never made to wait.
    let own = state.app.catalog.api_keys().verify(key).await.map_err(|error| {
        tracing::error!(%error, "cannot look up an API key");
        Refusal::Unavailable
    })?;
    if let Some(own) = own {
        if own.scope < need {
            return Err(Refusal::Forbidden);
        }
        let tenant_id = tenant.await?;
        return Ok(Caller { tenant_id, role: Role::Installation, reach: own.scope });
    }
    let Some(identity) = state.app.portal.identity() else {
        let wait = state.failures.count(client.address);
        return Err(wait.map_or(Refusal::Unauthorized, Refusal::TooMany));
    };
    let tenant_id = tenant.await?;
    let owner = docspace_key(state, identity, client, key, tenant_id).await?;
    let reaches = match need {
        Scope::Read => owner.scopes.can_read(),
        Scope::Write => owner.scopes.can_write(),
    };
    if !reaches {
        return Err(Refusal::Forbidden);
    }
    let reach = if owner.scopes.can_write() { Scope::Write } else { Scope::Read };
    Ok(Caller { tenant_id, role: Role::User { id: owner.user_id }, reach })
}

/// DocSpace's keys cost 100,000 rounds of hashing: who guesses waits before that.
async fn docspace_key(
    state: &HttpState,
    identity: &Identity,
    client: &Client,
    key: &str,
    tenant_id: i64,
) -> Result<KeyOwner, Refusal> {
    let failures = &state.failures;
    let known = failures.is_known(key);
    let _permit = if known {
        None
    } else {
        // Who is blocked already does not even stand in the way of others.
        if let Some(wait) = failures.wait(client.address) {
            return Err(Refusal::TooMany(wait));
        }
        let permit = failures.hashing.acquire().await.map_err(|_| Refusal::Unavailable)?;
        if let Some(wait) = failures.wait(client.address) {
            return Err(Refusal::TooMany(wait));
        }
        Some(permit)
    };
    let owner = identity.authenticate(key, tenant_id).await.map_err(unanswered)?;
    match owner.filter(|owner| owner.tenant == tenant_id) {
        Some(owner) => {
            failures.remember(key);
            Ok(owner)
        }
        None => {
            failures.forget(key);
            let wait = failures.count(client.address);
            Err(wait.map_or(Refusal::Unauthorized, Refusal::TooMany))
        }
    }
}

async fn tenant(app: &App, request: &HttpRequest, client: &Client) -> Result<i64, Refusal> {
    match tenant_open_or_not(app, request, client).await? {
        (id, true) => Ok(id),
        (_, false) => Err(Refusal::TenantClosed),
    }
}

/// The tenant that a request is for, and whether it is in service.
async fn tenant_open_or_not(
    app: &App,
    request: &HttpRequest,
    client: &Client,
) -> Result<(i64, bool), Refusal> {
    let Some(identity) = app.portal.identity() else { return Ok((PLAIN_TENANT, true)) };
    let origin = request.headers().get(actix_web::http::header::ORIGIN);
    let origin_query = query::first(request.query_string(), "origin");
    let hosts = RequestHosts {
        host: Some(&client.host),
        origin: origin.and_then(|origin| origin.to_str().ok()),
        origin_query: origin_query.as_deref(),
    };
    match identity.tenant_of(&hosts).await {
        Ok(tenant) => Ok((tenant.id, true)),
        Err(TenantError::NotFound) => Err(Refusal::NoTenant),
        Err(TenantError::Busy(tenant)) => Ok((tenant.id, false)),
        Err(TenantError::Portal(error)) => Err(unanswered(error)),
    }
}

impl Caller {
    /// Whose archives and jobs the caller may look at. None: everybody's.
    pub fn tenant_filter(&self) -> Option<i64> {
        match self.role {
            Role::Installation => None,
            Role::User { .. } => Some(self.tenant_id),
        }
    }

    /// Refuses users of DocSpace who do not administer their portal.
    pub async fn demand_administrator(&self, app: &App) -> Result<(), OpError> {
        match &self.role {
            Role::Installation => Ok(()),
            Role::User { id } => {
                let identity = app.portal.identity().ok_or(OpError::Forbidden)?;
                if identity.is_admin(self.tenant_id, id).await.map_err(portal_down)? {
                    Ok(())
                } else {
                    Err(OpError::Forbidden)
                }
            }
        }
    }

    /// Whether the caller may do what concerns the whole installation.
    pub async fn may_dump(&self, app: &App) -> Result<bool, OpError> {
        match self.role {
            Role::Installation => Ok(true),
            Role::User { .. } => {
                let identity = app.portal.identity().ok_or(OpError::Forbidden)?;
                identity.may_dump(self.tenant_id).await.map_err(portal_down)
            }
        }
    }

    pub async fn demand_dump(&self, app: &App) -> Result<(), OpError> {
        if self.may_dump(app).await? { Ok(()) } else { Err(OpError::Forbidden) }
    }

    /// Whether the caller may start a backup or restore; only a standalone installation is backed up or
    /// restored whole, and DocSpace calls a request for that wrong rather than forbidden.
    pub async fn demand_start(&self, app: &App, dump: bool) -> Result<(), OpError> {
        if !dump || self.may_dump(app).await? {
            return Ok(());
        }
        if is_standalone(app) {
            return Err(OpError::Forbidden);
        }
        let text = "dump: only a standalone installation can be backed up or restored whole";
        Err(OpError::Invalid(text.to_owned()))
    }

    /// Which of dumps and tenants' own backups the caller gets to see, of those asked for.
    pub async fn visible(&self, app: &App, dump: Option<bool>) -> Result<Option<bool>, OpError> {
        match dump {
            Some(true) => self.demand_dump(app).await.map(|()| dump),
            Some(false) => Ok(dump),
            None => Ok(if self.may_dump(app).await? { None } else { Some(false) }),
        }
    }
}

/// DocSpace calls an installation with this base domain standalone.
pub fn is_standalone(app: &App) -> bool {
    app.config.portal.docspace.base_domain == "localhost"
}

fn unanswered(error: PortalError) -> Refusal {
    tracing::error!(%error, "cannot check a credential");
    Refusal::Unavailable
}

fn portal_down(error: PortalError) -> OpError {
    tracing::error!(%error, "cannot check a permission");
    OpError::Unavailable("The portal's database does not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_see_all_tenants() {
        let own = Caller { tenant_id: 3, role: Role::Installation, reach: Scope::Read };
        assert_eq!(own.tenant_filter(), None);
        let user =
            Caller { tenant_id: 3, role: Role::User { id: "u".to_owned() }, reach: Scope::Read };
        assert_eq!(user.tenant_filter(), Some(3));
    }
}
