//! Who asks, and what they may: DocSpace's own tables answer (`facts.md` §1).

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::cache::TtlCache;
use super::keys::{self, KeyHasher, Scopes};
use super::mysql::PortalDatabase;
use super::tenants::{Directory, RequestHosts, TenantError, decrypt_setting};
use mysql_async::params;

use crate::config::PortalConfig;
use crate::portal::{PortalError, Tenant};

/// The group of administrators, the same in every installation.
const ADMIN_GROUP: &str = "cd84e66b-b803-40fc-99f9-b2969a54a1de";
/// The action that backups need.
const EDIT_PORTAL_SETTINGS: &str = "60db830e-80a8-4997-8b83-3d6ea525749b";
/// The settings that say whether administrators of spaces may manage the installation.
const ACCESS_SETTINGS: &str = "880585c4-52cd-4ae2-8da4-3b8e2772753b";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// How long answers of the database hold: a poll every half second must not be a query each, and a key
/// that is revoked must not work for long.
const FRESH: Duration = Duration::from_secs(5);
/// How long a failure to read the tenants is repeated to those who wait for the same.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 1024;

/// The owner of a valid API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    pub key_id: String,
    /// `core_user.id`.
    pub user_id: String,
    pub tenant: i64,
    pub scopes: Scopes,
}

/// DocSpace's tenants, users and keys. Cheap to clone; connects with the first question.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    database: PortalDatabase,
    hasher: KeyHasher,
    configured_domain: String,
    host_name: String,
    directory: tokio::sync::Mutex<Option<KeptDirectory>>,
    owners: TtlCache<(i64, String), KeyOwner>,
    admins: TtlCache<(i64, String), bool>,
    limited: TtlCache<i64, bool>,
    fingerprint: OnceLock<String>,
}

/// What was read, or the message of the failure, and until when it holds.
type KeptDirectory = (Instant, Result<Arc<Directory>, String>);
type TenantRow = (i64, String, i64, Option<String>, Option<String>, Option<String>);

impl Identity {
    /// Reads only the configuration: the first database must be DocSpace's.
    pub fn open(portal: &PortalConfig) -> Result<Self, PortalError> {
        let url = portal.database.first().map(|database| database.url.expose()).unwrap_or_default();
        if !url.starts_with("mysql://") && !url.starts_with("mariadb://") {
            return Err(PortalError::Invalid(
                "portal.layout is docspace, so the first portal.database must be DocSpace's, with a mysql:// url"
                    .to_owned(),
            ));
        }
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self(Arc::new(Inner {
            database: PortalDatabase::open(url)?,
            hasher: KeyHasher::new(portal.docspace.machine_key.clone()),
            configured_domain: portal.docspace.base_domain.clone(),
            host_name: host_name.trim().to_owned(),
            directory: tokio::sync::Mutex::default(),
            owners: TtlCache::new(REMEMBERED),
            admins: TtlCache::new(REMEMBERED),
            limited: TtlCache::new(REMEMBERED),
            fingerprint: OnceLock::new(),
        })))
    }

    /// One installation of its owner's, as opposed to a hosted one.
    pub fn is_standalone(&self) -> bool {
        self.0.configured_domain == "localhost"
    }

    /// The tenant that a request is for. The answer may be 5 seconds old.
    pub async fn tenant_of(&self, hosts: &RequestHosts<'_>) -> Result<Tenant, TenantError> {
        Ok(self.directory().await?.tenant(hosts)?.clone())
    }

    async fn directory(&self) -> Result<Arc<Directory>, PortalError> {
        let mut kept = self.0.directory.lock().await;
        let now = Instant::now();
        if let Some((until, directory)) = &*kept
            && now < *until
        {
            return directory.clone().map_err(PortalError::Database);
        }
        let read = self.read_directory().await.map(Arc::new);
        let kept_for = if read.is_ok() { FRESH } else { FAILURE_HOLDS };
        let remembered = match &read {
            Ok(directory) => Ok(directory.clone()),
            Err(PortalError::Database(message)) => Err(message.clone()),
            Err(other) => Err(other.to_string()),
        };
        *kept = Some((Instant::now() + kept_for, remembered));
        read
    }

    async fn read_directory(&self) -> Result<Directory, PortalError> {
        let tenants = self.tenants_now().await?;
        let sql = "SELECT value FROM core_settings WHERE tenant = -1 AND id = 'BaseDomain'";
        let setting: Vec<Vec<u8>> = self.0.database.rows(sql, ()).await?;
        let stored = setting.first().and_then(|value| decrypt_setting(value));
        let stored = stored.map(|domain| domain.trim().to_owned()).filter(|d| !d.is_empty());
        Ok(Directory {
            tenants,
            base_domain: stored.unwrap_or_else(|| self.0.configured_domain.clone()),
            standalone: self.is_standalone(),
            host_name: self.0.host_name.clone(),
        })
    }

    /// All tenants as they are now, in the order of their ids.
    pub async fn tenants_now(&self) -> Result<Vec<Tenant>, PortalError> {
        let sql = "SELECT id, alias, status, owner_id, timezone, mappeddomain \
                   FROM tenants_tenants ORDER BY id";
        let rows: Vec<TenantRow> = self.0.database.rows(sql, ()).await?;
        let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let tenants = rows.into_iter().map(|(id, alias, status, owner, timezone, mapped)| Tenant {
            id,
            alias,
            status: status.into(),
            owner_id: text(owner),
            timezone: text(timezone),
            mapped_domain: text(mapped),
        });
        Ok(tenants.collect())
    }

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
        let name = (tenant, hash);
        if let Some(owner) = self.0.owners.get(&name) {
            return Ok(Some(owner));
        }
        let Some((owner, lifetime)) = self.look_up(&name.1, tenant).await? else {
            return Ok(None);
        };
        self.0.hasher.remember(key, name.1.clone());
        self.0.owners.insert(name, owner.clone(), lifetime);
        Ok(Some(owner))
    }

    /// The owner, and for how long that may be remembered.
    async fn look_up(
        &self,
        hash: &str,
        tenant: i64,
    ) -> Result<Option<(KeyOwner, Duration)>, PortalError> {
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
        let left = left.map_or(FRESH, |seconds| Duration::from_secs(seconds.max(0) as u64));
        let scopes = Scopes::of(permissions.as_deref());
        Ok(Some((KeyOwner { key_id, user_id, tenant, scopes }, left.min(FRESH))))
    }

    /// Whether a user may manage the tenant's backups: an active user who owns it, is in the group of its
    /// administrators, or is allowed the action itself. The answer may be 5 seconds old.
    pub async fn is_admin(&self, tenant: i64, user_id: &str) -> Result<bool, PortalError> {
        let name = (tenant, user_id.to_ascii_lowercase());
        if let Some(known) = self.0.admins.get(&name) {
            return Ok(known);
        }
        // A row that denies (acetype 1) outweighs one that allows, but neither counts against administrators.
        let sql = "SELECT u.id = t.owner_id \
            OR EXISTS (SELECT 1 FROM core_usergroup g WHERE g.tenant = u.tenant AND g.userid = u.id \
                AND g.groupid = :admins AND g.ref_type = 0 AND g.removed = 0) \
            OR (SELECT COALESCE(MIN(a.acetype = 0), 0) FROM core_acl a \
                WHERE a.tenant = u.tenant AND a.action = :action AND COALESCE(a.object, '') = '' \
                AND (a.subject = u.id OR a.subject IN (SELECT m.groupid FROM core_usergroup m \
                    WHERE m.tenant = u.tenant AND m.userid = u.id AND m.ref_type = 0 \
                    AND m.removed = 0))) \
            FROM core_user u JOIN tenants_tenants t ON t.id = u.tenant \
            WHERE u.tenant = :tenant AND u.id = :user AND u.removed = 0 AND u.status = 1";
        let params = params! {
            "admins" => ADMIN_GROUP,
            "action" => EDIT_PORTAL_SETTINGS,
            "tenant" => tenant,
            "user" => user_id,
        };
        let rows: Vec<Option<bool>> = self.0.database.rows(sql, params).await?;
        let is_admin = rows.into_iter().next().flatten().unwrap_or(false);
        self.0.admins.insert(name, is_admin, FRESH);
        Ok(is_admin)
    }

    /// Whether the administrators of this tenant may back up and restore the whole installation.
    pub async fn may_dump(&self, tenant: i64) -> Result<bool, PortalError> {
        Ok(self.is_standalone() && !self.is_limited(tenant).await?)
    }

    /// DocSpace's `LimitedAccessSpace`. The answer may be 5 seconds old.
    pub async fn is_limited(&self, tenant: i64) -> Result<bool, PortalError> {
        if let Some(known) = self.0.limited.get(&tenant) {
            return Ok(known);
        }
        let sql =
            "SELECT Data FROM webstudio_settings WHERE TenantID = ? AND ID = ? AND UserID = ?";
        let rows: Vec<String> =
            self.0.database.rows(sql, (tenant, ACCESS_SETTINGS, NOBODY)).await?;
        let is_limited = rows.first().is_some_and(|data| limits(data));
        self.0.limited.insert(tenant, is_limited, FRESH);
        Ok(is_limited)
    }

    /// The files that hold earlier backups, removed ones included: tenant and `storage_path`.
    pub async fn backup_files(&self) -> Result<Vec<(i64, String)>, PortalError> {
        let sql = "SELECT DISTINCT tenant_id, storage_path FROM backup_backup \
                   WHERE storage_type = 0 AND storage_path <> ''";
        self.0.database.rows(sql, ()).await
    }

    /// The last migration that DocSpace applied; None where it keeps no list.
    pub async fn last_migration(&self) -> Result<Option<String>, PortalError> {
        let sql =
            "SELECT MigrationId FROM `__EFMigrationsHistory` ORDER BY MigrationId DESC LIMIT 1";
        let rows = self.0.database.rows_if_table::<String>(sql).await?;
        Ok(rows.and_then(|rows| rows.into_iter().next()))
    }

    /// The portal's database, for what a restore changes.
    pub(super) fn database(&self) -> &PortalDatabase {
        &self.0.database
    }

    /// Forgets what was read of the database: a restore has replaced it.
    pub(super) async fn forget(&self) {
        *self.0.directory.lock().await = None;
        self.0.owners.clear();
        self.0.admins.clear();
        self.0.limited.clear();
    }

    /// See [`keys::fingerprint`]; None without a machine key.
    pub fn machine_key_fingerprint(&self) -> Option<String> {
        let key = self.0.hasher.machine_key();
        let made = || keys::fingerprint(key.expose());
        (!key.is_empty()).then(|| self.0.fingerprint.get_or_init(made).clone())
    }
}

/// What the settings say; what cannot be read limits.
fn limits(data: &str) -> bool {
    match serde_json::from_str::<serde_json::Value>(data) {
        Ok(serde_json::Value::Object(settings)) => settings
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("LimitedAccessSpace"))
            .is_some_and(|(_, value)| value != &serde_json::Value::Bool(false)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_limited_when_the_settings_say_so() {
        assert!(limits(r#"{"LimitedAccessSpace":true}"#));
        assert!(!limits(r#"{"LimitedAccessSpace":false}"#));
        assert!(!limits("{}"));
        assert!(limits("garbage"));
    }
}
