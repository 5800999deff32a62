//! The service's own database: archives, jobs, API keys. SQL that SQLite, PostgreSQL and MySQL share.

use jiff::Timestamp;
use uuid::Uuid;

use crate::storage::{StorageParams, StorageType};

/// An archive that was stored, read back and found whole.
#[derive(Debug, Clone)]
pub struct ArchiveRecord {
    pub id: Uuid,
    pub tenant_id: i64,
    pub name: String,
    pub storage_type: StorageType,
    /// As requested; secrets among them are sealed in the catalog.
    pub storage_params: StorageParams,
    /// Where it lies, without credentials.
    pub url: String,
    pub size: u64,
    /// Lowercase hex.
    pub sha256: String,
    pub created_on: Timestamp,
    pub expires_on: Option<Timestamp>,
    pub dump: bool,
    pub mode: String,
    pub parent_id: Option<Uuid>,
    pub verified_on: Option<Timestamp>,
    pub proved_on: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Sees status and history.
    Read,
    /// Also starts, cancels, deletes, restores and reads contents.
    Write,
}

// Stand-ins for signatures that the catalog's own branch brings; the merge drops them.

#[derive(Debug, thiserror::Error)]
#[error("the catalog: {0}")]
pub struct CatalogError(pub String);

pub struct Catalog;

/// An own API key, without its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    pub scope: Scope,
}

pub struct ApiKeys;

impl Catalog {
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys
    }
}

impl ApiKeys {
    pub async fn verify(&self, _key: &str) -> Result<Option<ApiKey>, CatalogError> {
        todo!()
    }
}
