//! The table of API keys. A key is `sk-` and 64 hex digits; only its SHA-256 is stored, which is enough
//! for a secret of 256 random bits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::db::{Columns, to_word};
use super::{Cache, Catalog, CatalogError, Scope};
use crate::config::Secret;

const PREFIX: &str = "sk-";
/// How long an answer is trusted: a key revoked by another process works no longer than this.
const TRUST: Duration = Duration::from_millis(1500);
/// `last_used_on` is no finer than this, so that using a key does not mean writing.
const USED_PRECISION_MS: i64 = 60_000;

/// A key that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    pub scope: Scope,
}

/// A key as its owner lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyInfo {
    pub key: ApiKey,
    pub created_on: Timestamp,
    /// To the minute.
    pub last_used_on: Option<Timestamp>,
    pub revoked_on: Option<Timestamp>,
}

/// The API keys of a catalog.
#[derive(Debug, Clone, Copy)]
pub struct ApiKeys<'c> {
    pub(super) catalog: &'c Catalog,
}

impl ApiKeys<'_> {
    /// Makes a key and returns its text, which cannot be had again.
    pub async fn create(&self, name: &str, scope: Scope) -> Result<(ApiKey, Secret), CatalogError> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| CatalogError::Unreadable("the system's random numbers".to_owned()))?;
        let text = format!("{PREFIX}{}", hex::encode(random));
        let key = ApiKey { id: Uuid::new_v4(), name: name.to_owned(), scope };
        let (hash, row) = (hex::encode(digest(&text)), key.clone());
        self.catalog
            .run(move |db| {
                let (hash, row) = (hash.clone(), row.clone());
                async move {
                    let sql = db.sql(
                        "insert into portal_backup_api_keys (id, name, key_scope, key_hash, created_on) \
                         values (?, ?, ?, ?, {now})",
                    );
                    sqlx::query(sql)
                        .bind(row.id.to_string())
                        .bind(row.name)
                        .bind(to_word(&row.scope)?)
                        .bind(hash)
                        .execute(&db.pool)
                        .await?;
                    Ok(())
                }
            })
            .await?;
        Ok((key, Secret::new(text)))
    }

    /// The key that `presented` is, if it is one and was not revoked. Answers may be two seconds old.
    /// Costs no query for anything that is not shaped like a key.
    pub async fn verify(&self, presented: &str) -> Result<Option<ApiKey>, CatalogError> {
        if !is_shaped_like_a_key(presented) {
            return Ok(None);
        }
        let hash = digest(presented);
        let cache = &self.catalog.inner.api_keys;
        let epoch = || cache.epoch.load(Ordering::Acquire);
        let catalog = self.catalog.clone();
        let load = || async move { ApiKeys { catalog: &catalog }.look_up(hash).await };
        cache.answers.get(hash, epoch, load).await
    }

    async fn look_up(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "select id, name, key_scope, key_hash, created_on, last_used_on, revoked_on, \
                     {now} as present from portal_backup_api_keys where key_hash = ? and revoked_on is null",
                );
                let found =
                    sqlx::query(sql).bind(hex::encode(hash)).fetch_optional(&db.pool).await?;
                let Some(row) = found else { return Ok(None) };
                let stored = hex::decode(Columns(&row).text("key_hash")?).unwrap_or_default();
                if !bool::from(stored.ct_eq(&hash)) {
                    return Ok(None);
                }
                let info = read(&row)?;
                let present = Columns(&row).number("present")?;
                let due = info
                    .last_used_on
                    .is_none_or(|used| present - used.as_millisecond() >= USED_PRECISION_MS);
                if due {
                    let sql = db.sql("update portal_backup_api_keys set last_used_on = ? where id = ?");
                    let query = sqlx::query(sql).bind(present).bind(info.key.id.to_string());
                    // Nobody is refused because this could not be written down.
                    if let Err(error) = query.execute(&db.pool).await {
                        tracing::warn!(%error, "the use of an API key could not be noted");
                    }
                }
                Ok(Some(info.key))
            })
            .await
    }

    /// All keys, also revoked ones, oldest first.
    pub async fn list(&self) -> Result<Vec<ApiKeyInfo>, CatalogError> {
        self.catalog
            .run(|db| async move {
                let rows = sqlx::query(
                    "select id, name, key_scope, created_on, last_used_on, revoked_on \
                     from portal_backup_api_keys order by created_on, id",
                )
                .fetch_all(&db.pool)
                .await?;
                rows.iter().map(read).collect()
            })
            .await
    }

    /// Ends a key, at once in this process and within two seconds in others. False if there is none.
    pub async fn revoke(&self, id: Uuid) -> Result<bool, CatalogError> {
        let revoked = self
            .catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "update portal_backup_api_keys set revoked_on = {now} where id = ? and revoked_on is null",
                );
                let result = sqlx::query(sql).bind(id.to_string()).execute(&db.pool).await?;
                Ok(result.rows_affected() == 1)
            })
            .await?;
        self.catalog.inner.api_keys.epoch.fetch_add(1, Ordering::Release);
        Ok(revoked)
    }
}

/// Answers to `verify`, also the negative ones.
pub(super) struct KeyCache {
    answers: Cache<[u8; 32], Result<Option<ApiKey>, CatalogError>>,
    epoch: AtomicU64,
}

impl Default for KeyCache {
    fn default() -> Self {
        Self { answers: Cache::new(TRUST / 2, TRUST, 1024), epoch: AtomicU64::new(0) }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCache")
    }
}

fn is_shaped_like_a_key(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn read(row: &AnyRow) -> Result<ApiKeyInfo, CatalogError> {
    let row = Columns(row);
    Ok(ApiKeyInfo {
        key: ApiKey { id: row.id("id")?, name: row.text("name")?, scope: row.word("key_scope")? },
        created_on: row.time("created_on")?,
        last_used_on: row.optional_time("last_used_on")?,
        revoked_on: row.optional_time("revoked_on")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_are_looked_up() {
        assert!(is_shaped_like_a_key(&format!("sk-{}", "0a".repeat(32))));
        for text in ["", "sk-", "sk-00", &"0a".repeat(32), &format!("sk-{}", "0A".repeat(32))] {
            assert!(!is_shaped_like_a_key(text), "{text}");
        }
    }
}
