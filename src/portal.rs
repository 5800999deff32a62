//! The portal: which tenants it has, which files belong to a backup, and under which names.

pub mod docspace;
mod plain;

use futures::stream::BoxStream;

use crate::source::files::{FileMeta, FilesError};

/// One file as the archive carries it.
#[derive(Debug, Clone)]
pub struct PortalFile {
    /// Which of the configured filesystems holds it.
    pub filesystem: usize,
    pub file: FileMeta,
    /// The archive member.
    pub member: String,
    /// How DocSpace calls it; None in the plain layout and for members that DocSpace must not see.
    pub stored: Option<StoredFile>,
}

/// A file as `storage/restore_info` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub module: String,
    pub domain: String,
    pub path: String,
    pub tenant: i64,
}

#[derive(Debug, Clone)]
pub enum PortalEntry {
    File(PortalFile),
    /// A sentence for the job's warnings.
    Skipped(String),
}

#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the portal's database: {0}")]
    Database(String),
    #[error("{0}")]
    Invalid(String),
}

pub type PortalFiles = BoxStream<'static, Result<PortalEntry, PortalError>>;

// Stand-ins for signatures that the portal's own branch brings; the merge drops them.

pub struct Portal;

/// What of a request tells which tenant it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRequest {
    /// The host the client asked for, with its port if it gave one.
    pub host: String,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// `?origin=`.
    pub query_origin: Option<String>,
    pub path: String,
}

#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantRefusal {
    NotFound,
    Forbidden,
    /// The portal's database does not answer.
    Unavailable,
}

/// Whose DocSpace API key it is.
#[derive(Debug, Clone)]
pub struct KeyOwner {
    pub user_id: String,
    pub tenant_id: i64,
    pub scopes: Vec<String>,
}

impl Portal {
    pub async fn authenticate(
        &self,
        _key: &str,
        _tenant_id: i64,
    ) -> Result<Option<KeyOwner>, PortalError> {
        todo!()
    }

    pub async fn is_administrator(
        &self,
        _tenant_id: i64,
        _user_id: &str,
    ) -> Result<bool, PortalError> {
        todo!()
    }

    /// DocSpace's `LimitedAccessSpace` is off for the tenant.
    pub async fn may_dump(&self, _tenant_id: i64) -> Result<bool, PortalError> {
        todo!()
    }

    pub async fn tenant_of(&self, _request: HostRequest) -> Result<Tenant, TenantRefusal> {
        todo!()
    }
}
