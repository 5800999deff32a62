//! Who a request is from, which tenant it is for, and whether that suffices.

mod fetch;
mod introspection;
pub mod jwt;
mod keys;
mod provider;
mod users;

use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpRequest;

use super::credentials::{self, Credential};
use super::docspace::query;
use super::{Client, HttpState};
use crate::app::App;
use crate::catalog::Scope;
use crate::ops::{Actor, OpError};
use crate::portal::PortalError;
use crate::portal::docspace::backups::INSTALLATION;
use crate::portal::docspace::tenants::{RequestHosts, TenantError};
use users::Asking;

/// The tenant of the plain layout.
const PLAIN_TENANT: i64 = 1;
pub const PORTAL_AWAY: &str = "The portal's database does not answer";

/// Somebody whose credential was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that the request's host names.
    pub tenant_id: i64,
    pub role: Role,
    /// How far the credential reaches.
    pub reach: Scope,
    pub address: Option<IpAddr>,
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
    /// What we would check with does not answer; a sentence for people.
    Unavailable(&'static str),
}

/// Checks the credential of a request, and that it reaches as far as `need`.
pub async fn authenticate(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<Caller, Refusal> {
    let has_logins = state.app.portal.identity().is_some();
    let credential = credentials::read(request.headers(), has_logins);
    let is_shown = credentials::is_shown(request.headers());
    by(state, request, need, credential, is_shown).await
}

/// The same, with the key also where sensenet's clients put it: a header or parameter `apikey`.
pub async fn authenticate_sensenet(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<Caller, Refusal> {
    let header = request.headers().get("apikey").and_then(|key| key.to_str().ok());
    let key = header.map(str::to_owned).or_else(|| query::first(request.query_string(), "apikey"));
    if let Some(key) = key
        && !credentials::is_shown(request.headers())
    {
        return by(state, request, need, credentials::api_key(key.trim()), true).await;
    }
    authenticate(state, request, need).await
}

async fn by(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
    credential: Option<Credential>,
    is_shown: bool,
) -> Result<Caller, Refusal> {
    let client = state.client(request);
    let asking = Asking { state, request, client, also_closed: false };
    let caller = match credential {
        Some(credential) => asking.who(credential).await?,
        // Nothing shown is nothing guessed: only what looks like a credential is counted.
        None if is_shown => return Err(asking.wrong()),
        None => return Err(Refusal::Unauthorized),
    };
    if caller.reach < need {
        return Err(Refusal::Forbidden);
    }
    Ok(caller)
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
    let tenant_id = match tenant_open_or_not(&state.app, request, &client).await {
        Ok((id, _)) => Some(id),
        Err(Refusal::Unavailable(_)) => None,
        Err(refusal) => return Err(refusal),
    };
    let mut visitor = Visitor { tenant_id, has_key: false };
    let has_logins = state.app.portal.identity().is_some();
    let Some(credential) = credentials::read(request.headers(), has_logins) else {
        return Ok(visitor);
    };
    let is_key = matches!(credential, Credential::ApiKey(_));
    let asking = Asking { state, request, client, also_closed: true };
    match asking.who(credential).await {
        // Every reach includes reading.
        Ok(_) => visitor.has_key = true,
        // A restore ends logins, and whoever watches it with such a one must see its end.
        Err(refusal @ Refusal::TooMany(_)) if is_key => return Err(refusal),
        Err(refusal) if credentials::is_bearer(request.headers()) => {
            let unknown = refusal == Refusal::Unauthorized;
            return Err(if unknown { Refusal::Forbidden } else { refusal });
        }
        Err(_) => {}
    }
    Ok(visitor)
}

/// The tenant that a request is for, and whether it is in service.
async fn tenant_open_or_not(
    app: &App,
    request: &HttpRequest,
    client: &Client,
) -> Result<(i64, bool), Refusal> {
    let Some(identity) = app.portal.identity() else { return Ok((PLAIN_TENANT, true)) };
    let origin_query = query::first(request.query_string(), "origin");
    match identity.tenant_of(&hosts(request, client, origin_query.as_deref())).await {
        Ok(tenant) => Ok((tenant.id, true)),
        Err(TenantError::NotFound) => Err(Refusal::NoTenant),
        Err(TenantError::Busy(tenant)) => Ok((tenant.id, false)),
        Err(TenantError::Portal(error)) => Err(unanswered(error)),
    }
}

/// The tenant for an administrator of the installation, who may come also while it is closed, and while the portal's
/// database is away: then it is the one that was known last.
async fn tenant_for_installation(
    app: &App,
    request: &HttpRequest,
    client: &Client,
) -> Result<i64, Refusal> {
    match (tenant_open_or_not(app, request, client).await, app.portal.identity()) {
        (Err(Refusal::Unavailable(_)), Some(identity)) => {
            let origin_query = query::first(request.query_string(), "origin");
            let known = identity.last_tenant_of(&hosts(request, client, origin_query.as_deref()));
            Ok(known.unwrap_or(INSTALLATION))
        }
        (found, _) => found.map(|(id, _)| id),
    }
}

fn hosts<'a>(
    request: &'a HttpRequest,
    client: &'a Client,
    origin_query: Option<&'a str>,
) -> RequestHosts<'a> {
    let origin = request.headers().get(actix_web::http::header::ORIGIN);
    RequestHosts {
        host: Some(&client.host),
        origin: origin.and_then(|origin| origin.to_str().ok()),
        origin_query,
    }
}

impl Caller {
    /// As a job remembers who asked for it.
    pub fn actor(&self) -> Actor {
        let user_id = match &self.role {
            Role::Installation => None,
            Role::User { id } => Some(id.clone()),
        };
        Actor { user_id, address: self.address }
    }

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
    Refusal::Unavailable(PORTAL_AWAY)
}

fn portal_down(error: PortalError) -> OpError {
    tracing::error!(%error, "cannot check a permission");
    OpError::Unavailable(PORTAL_AWAY.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_see_all_tenants() {
        let own =
            Caller { tenant_id: 3, role: Role::Installation, reach: Scope::Read, address: None };
        assert_eq!(own.tenant_filter(), None);
        let user = Caller {
            tenant_id: 3,
            role: Role::User { id: "u".to_owned() },
            reach: Scope::Read,
            address: None,
        };
        assert_eq!(user.tenant_filter(), Some(3));
    }
}
