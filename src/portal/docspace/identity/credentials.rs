//! Whether a key or a login is valid (`facts.md` §1).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mysql_async::params;

use super::{FRESH, Identity, KeyOwner, LiveKey, NOBODY};
use crate::config::Secret;
use crate::portal::PortalError;
use crate::portal::docspace::keys::{self, Scopes};
use crate::portal::docspace::login::{self, LoginToken};

/// The settings with the number that logins must have.
const COOKIE_SETTINGS: &str = "16fb8e67-e96d-4b22-b217-c80f25c5de1b";

impl Identity {
    /// Whose key this is, if it is a valid one of this tenant. A revoked key is refused within 5 seconds.
    pub async fn authenticate(
        &self,
        key: &str,
        tenant: i64,
    ) -> Result<Option<KeyOwner>, PortalError> {
        if !keys::is_key(key) || self.0.hasher.machine_key().is_empty() {
            return Ok(None);
        }
        let Some(hash) = self.0.hasher.hash(key).await else { return Ok(None) };
        let name = (tenant, hash.clone());
        let key = Secret::new(key);
        let look_up = move |own: Self| async move {
            let found = own.look_up(&hash, tenant).await?;
            if found.is_some() {
                // While a key is in use its hash is never made again.
                own.0.hasher.remember(key.expose(), hash);
            }
            Ok(found)
        };
        let found = self.ask(&self.0.owners, name, look_up).await?;
        let live = found.filter(|found| found.ends.is_none_or(|ends| Instant::now() < ends));
        Ok(live.map(|found| found.owner))
    }

    async fn look_up(&self, hash: &str, tenant: i64) -> Result<Option<LiveKey>, PortalError> {
        let asked = Instant::now();
        let sql = "SELECT Id, create_by, permissions, \
                   TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), expires_at), \
                   last_used IS NULL OR last_used < UTC_TIMESTAMP() - INTERVAL 60 SECOND \
                   FROM core_user_api_key WHERE tenant_id = ? AND hashed_key = ? AND IsActive = 1 \
                   AND (expires_at IS NULL OR expires_at > UTC_TIMESTAMP())";
        type KeyRow = (String, String, Option<String>, Option<i64>, bool);
        let rows: Vec<KeyRow> = self.0.database.rows(sql, (tenant, hash)).await?;
        let Some((key_id, user_id, permissions, left, unused)) = rows.into_iter().next() else {
            return Ok(None);
        };
        if unused {
            let sql = "UPDATE core_user_api_key SET last_used = UTC_TIMESTAMP() WHERE Id = ?";
            // Only for the list that people see; a read-only account must not make keys useless.
            if let Err(error) = self.0.database.execute(sql, (&key_id,)).await {
                tracing::debug!(%error, "the time of a key's use could not be stored");
            }
        }
        let left = left.map(|seconds| Duration::from_secs(seconds.max(0) as u64));
        let ends = left.filter(|left| *left < 2 * FRESH).map(|left| asked + left);
        let scopes = Scopes::of(permissions.as_deref());
        Ok(Some(LiveKey { owner: KeyOwner { key_id, user_id, tenant, scopes }, ends }))
    }

    /// Whether DocSpace made this token, for whomever and however long ago.
    pub fn is_login(&self, token: &str) -> bool {
        self.0.logins.read(token).is_some()
    }

    /// The user whose login this token is, if it is a valid one of this tenant. A login that was ended is
    /// refused within 5 seconds.
    pub async fn login(&self, token: &str, tenant: i64) -> Result<Option<String>, PortalError> {
        let Some(login) = self.0.logins.read(token) else { return Ok(None) };
        if login.tenant != tenant || login.expires <= Timestamp::now() {
            return Ok(None);
        }
        let asked = login.clone();
        let check = |own: Self| async move { own.is_live(&asked).await };
        let is_live = self.ask(&self.0.live_logins, login.clone(), check).await?;
        Ok(is_live.then_some(login.user_id))
    }

    /// Whether the login was not ended since, by itself or with all others.
    async fn is_live(&self, login: &LoginToken) -> Result<bool, PortalError> {
        let sql = "SELECT             (SELECT Data FROM webstudio_settings \
                WHERE TenantID = :tenant AND ID = :settings AND UserID = :nobody), \
            (SELECT Data FROM webstudio_settings \
                WHERE TenantID = :tenant AND ID = :settings AND UserID = :user), \
            COALESCE((SELECT active FROM login_events \
                WHERE tenant_id = :tenant AND id = :event), 0)";
        let params = params! {
            "tenant" => login.tenant,
            "settings" => COOKIE_SETTINGS,
            "nobody" => NOBODY,
            "user" => &login.user_id,
            "event" => login.event.unwrap_or(0),
        };
        type Settings = (Option<String>, Option<String>, bool);
        let rows: Vec<Settings> = self.0.database.rows(sql, params).await?;
        let Some((tenant, user, active)) = rows.into_iter().next() else { return Ok(false) };
        Ok(login::index(tenant.as_deref()) == Some(login.tenant_index)
            && login::index(user.as_deref()) == Some(login.user_index)
            && (active || login.event.is_none()))
    }
}
