//! Credentials of consumers in DocSpace's settings (`facts.md` §7, last lines).

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::identity::Identity;
use super::tenants::decrypt_setting;
use crate::storage::ConsumerSecrets;

#[async_trait]
impl ConsumerSecrets for Identity {
    async fn secrets(&self, consumer: &str) -> Result<BTreeMap<String, String>, String> {
        // `_` stands for any letter in a pattern, so the beginning is compared instead.
        let prefix = format!("AuthKey_{consumer}");
        let sql = "SELECT id, value FROM core_settings \
                   WHERE tenant = -1 AND LOWER(LEFT(id, CHAR_LENGTH(?))) = LOWER(?)";
        let rows: Vec<(String, Vec<u8>)> = self
            .database()
            .rows(sql, (&prefix, &prefix))
            .await
            .map_err(|error| error.to_string())?;
        let mut secrets = BTreeMap::new();
        for (id, value) in rows {
            let Some(key) = id.get(prefix.len()..) else { continue };
            match decrypt_setting(&value) {
                Some(secret) if !secret.is_empty() => {
                    secrets.insert(key.to_owned(), secret);
                }
                Some(_) => {}
                None => tracing::warn!(id, "a setting of DocSpace's cannot be decrypted"),
            }
        }
        Ok(secrets)
    }
}
