//! Who asks, and what they may: DocSpace's own tables answer (`facts.md` §1).

mod credentials;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::keys::{self, KeyHasher, Scopes};
use super::login::{LoginReader, LoginToken};
use super::mysql::PortalDatabase;
use super::tenants::{Directory, RequestHosts, TenantError, decrypt_setting};
use mysql_async::params;

use crate::catalog::Cache;
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
    logins: LoginReader,
    directory: Answers<(), Arc<Directory>>,
    /// The last one that was read.
    known: Mutex<Option<Arc<Directory>>>,
    owners: Answers<(i64, String), Option<LiveKey>>,
    live_logins: Answers<LoginToken, bool>,
    admins: Answers<(i64, String), bool>,
    limited: Answers<i64, bool>,
    /// Raised when the database was replaced: all answers are of before.
    epoch: AtomicU64,
    fingerprint: OnceLock<String>,
}

/// What the database said, or the message of its failure. However many ask, it is asked once.
type Answers<K, V> = Cache<K, Result<V, String>>;

/// A key's owner, and when the key ends if that is soon.
#[derive(Debug, Clone)]
struct LiveKey {
    owner: KeyOwner,
    ends: Option<Instant>,
}

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
            hasher: KeyHasher::new(
                portal.docspace.machine_key.clone(),
                &portal.docspace.password_salt,
            ),
            configured_domain: portal.docspace.base_domain.clone(),
            host_name: host_name.trim().to_owned(),
            logins: LoginReader::new(&portal.docspace.machine_key),
            directory: answers(),
            known: Mutex::default(),
            owners: answers(),
            live_logins: answers(),
            admins: answers(),
            limited: answers(),
            epoch: AtomicU64::new(0),
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

    /// What tells DocSpace that a request is for this tenant, in the header `Origin`. None: nothing does.
    pub async fn origin_of(&self, tenant: i64) -> Option<String> {
        self.directory().await.ok()?.origin(tenant)
    }

    async fn directory(&self) -> Result<Arc<Directory>, PortalError> {
        let read = |own: Self| async move {
            let directory = Arc::new(own.read_directory().await?);
            *own.known() = Some(Arc::clone(&directory));
            Ok(directory)
        };
        self.ask(&self.0.directory, (), read).await
    }

    /// The tenant by what was known last, whether it is in service or not.
    pub fn last_tenant_of(&self, hosts: &RequestHosts<'_>) -> Option<i64> {
        match self.known().as_ref()?.tenant(hosts) {
            Ok(tenant) => Some(tenant.id),
            Err(TenantError::Busy(tenant)) => Some(tenant.id),
            Err(TenantError::NotFound | TenantError::Portal(_)) => None,
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Directory>>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known already, else what the database says.
    async fn ask<K, V, F, A>(&self, known: &Answers<K, V>, key: K, ask: F) -> Result<V, PortalError>
    where
        K: std::hash::Hash + Eq + Clone,
        V: Clone + Send + 'static,
        F: FnOnce(Self) -> A,
        A: Future<Output = Result<V, PortalError>> + Send + 'static,
    {
        let identity = self.clone();
        let load = || {
            let answer = ask(identity);
            async move {
                answer.await.map_err(|error| match error {
                    PortalError::Database(message) | PortalError::Refused(message) => message,
                    other => other.to_string(),
                })
            }
        };
        let epoch = || self.0.epoch.load(Ordering::Acquire);
        known.get(key, epoch, load).await.map_err(PortalError::Database)
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

    /// Whether a user may manage the tenant's backups: an active user who owns it, is in the group of its
    /// administrators, or is allowed the action itself. The answer may be 5 seconds old.
    pub async fn is_admin(&self, tenant: i64, user_id: &str) -> Result<bool, PortalError> {
        let name = (tenant, user_id.to_ascii_lowercase());
        let user_id = name.1.clone();
        let read = move |own: Self| async move { own.read_admin(tenant, &user_id).await };
        self.ask(&self.0.admins, name, read).await
    }

    async fn read_admin(&self, tenant: i64, user_id: &str) -> Result<bool, PortalError> {
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
        Ok(rows.into_iter().next().flatten().unwrap_or(false))
    }

    /// Whether the administrators of this tenant may back up and restore the whole installation.
    pub async fn may_dump(&self, tenant: i64) -> Result<bool, PortalError> {
        Ok(self.is_standalone() && !self.is_limited(tenant).await?)
    }

    /// DocSpace's `LimitedAccessSpace`. The answer may be 5 seconds old.
    pub async fn is_limited(&self, tenant: i64) -> Result<bool, PortalError> {
        let read = move |own: Self| async move { own.read_limited(tenant).await };
        self.ask(&self.0.limited, tenant, read).await
    }

    async fn read_limited(&self, tenant: i64) -> Result<bool, PortalError> {
        let sql =
            "SELECT Data FROM webstudio_settings WHERE TenantID = ? AND ID = ? AND UserID = ?";
        let rows: Vec<String> =
            self.0.database.rows(sql, (tenant, ACCESS_SETTINGS, NOBODY)).await?;
        Ok(rows.first().is_some_and(|data| limits(data)))
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
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`keys::fingerprint`]; None without a machine key.
    pub fn machine_key_fingerprint(&self) -> Option<String> {
        let key = self.0.hasher.machine_key();
        let made = || keys::fingerprint(key.expose());
        (!key.is_empty()).then(|| self.0.fingerprint.get_or_init(made).clone())
    }
}

/// Half as long an answer is used as it is; then it is given out while the next one is fetched.
fn answers<K: std::hash::Hash + Eq + Clone, V: Clone + Send + 'static>() -> Answers<K, V> {
    Cache::new(FRESH / 2, FRESH, REMEMBERED).lasting(Result::is_ok)
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
