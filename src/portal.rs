//! The portal: which tenants it has, which files belong to a backup, and under which names.

pub mod docspace;
mod indexes;
mod placing;
mod plain;
pub mod restore_info;
mod sources;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Zoned;
use url::Url;

use crate::config::{Config, LayoutKind};
use crate::source::files::{Content, FileMeta, FilesError, Filesystem, Opened};
use docspace::identity::Identity;
use sources::Source;

pub use indexes::{EXTRA_INDEX, INDEXES, IndexSource};
pub use placing::{FilePlace, KeptBackups, Placed, Placing};

/// One file as the archive carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalFile {
    /// Which of the configured filesystems holds it.
    pub filesystem: usize,
    pub file: FileMeta,
    /// The archive member.
    pub member: String,
    /// How DocSpace calls it; None in the plain layout and for members that DocSpace must not see.
    pub stored: Option<StoredFile>,
}

impl PortalFile {
    /// The file in DocSpace's words, also where `stored` is None, for `storage/missing_info`: outside
    /// DocSpace's modules a file has nothing but its path.
    pub fn described(&self) -> StoredFile {
        let known = self.stored.clone();
        let known = known.or_else(|| docspace::layout::stored_of_other_member(&self.member));
        known.unwrap_or_else(|| StoredFile {
            module: String::new(),
            domain: String::new(),
            path: self.file.path.clone(),
            tenant: 1,
        })
    }
}

/// A file as `storage/restore_info` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub module: String,
    pub domain: String,
    pub path: String,
    pub tenant: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalEntry {
    File(PortalFile),
    /// A sentence for the job's warnings.
    Skipped(String),
    /// See [`Listed::Denied`](crate::source::files::Listed::Denied).
    Denied(PortalFile, String),
}

#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The text never holds the password.
    #[error("the portal's database: {0}")]
    Database(String),
    /// It answers, and takes one statement not.
    #[error("the portal's database: {0}")]
    Refused(String),
    /// Others held a table for too long; nothing was changed.
    #[error(
        "a table of the portal's database was in use by another connection for more than {0} s (an open transaction \
         or a long statement)"
    )]
    Locked(u64),
    /// The configuration cannot work.
    #[error("{0}")]
    Invalid(String),
}

pub type PortalFiles = BoxStream<'static, Result<PortalEntry, PortalError>>;

/// One tenant. The plain layout has a single one, with id 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: i64,
    pub alias: String,
    /// Of `tenants_tenants.status`.
    pub status: TenantStatus,
    pub owner_id: Option<String>,
    /// An IANA name, or what Windows calls it; None means UTC.
    pub timezone: Option<String>,
    pub mapped_domain: Option<String>,
}

/// DocSpace's `TenantStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantStatus {
    Active,
    Suspended,
    RemovePending,
    Transferring,
    Restoring,
    Migrating,
    Encryption,
    /// A number that this version of DocSpace does not know.
    Other(i64),
}

impl From<i64> for TenantStatus {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Active,
            1 => Self::Suspended,
            2 => Self::RemovePending,
            3 => Self::Transferring,
            4 => Self::Restoring,
            5 => Self::Migrating,
            6 => Self::Encryption,
            other => Self::Other(other),
        }
    }
}

/// The portal that the configuration names.
pub struct Portal {
    layout: LayoutKind,
    name: String,
    timezone: String,
    sources: Arc<[Source]>,
    indexes: Vec<IndexSource>,
    identity: Option<Identity>,
}

impl Portal {
    /// Checks the configuration; connects to nothing yet. Storages and the catalog that lie inside a
    /// filesystem are left out of its listings: those of the configuration, and what `exclude` names beside.
    pub fn open(config: &Config, exclude: &[Url]) -> Result<Self, PortalError> {
        let portal = &config.portal;
        let identity = match portal.layout {
            LayoutKind::Plain => None,
            LayoutKind::Docspace => Some(Identity::open(portal)?),
        };
        Ok(Self {
            layout: portal.layout,
            name: portal.name.clone(),
            timezone: portal.timezone.clone(),
            sources: sources::open(config, exclude)?.into(),
            indexes: indexes::open(config, exclude)?,
            identity,
        })
    }

    pub fn layout(&self) -> LayoutKind {
        self.layout
    }

    /// The configured filesystems, in their order.
    pub fn filesystem(&self, position: usize) -> Option<&Filesystem> {
        self.sources.get(position).map(|source| &source.filesystem)
    }

    /// DocSpace's users and keys; None in the plain layout.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What tells DocSpace that a request is for this tenant. None: nothing does, or nothing need.
    pub async fn origin_of(&self, tenant: i64) -> Option<String> {
        self.identity.as_ref()?.origin_of(tenant).await
    }

    /// All tenants, in the order of their ids; DocSpace's -1 (settings of the installation) is one.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, PortalError> {
        match &self.identity {
            Some(identity) => identity.tenants_now().await,
            None => Ok(vec![Tenant {
                id: 1,
                alias: self.name.clone(),
                status: TenantStatus::Active,
                owner_id: None,
                timezone: Some(self.timezone.clone()),
                mapped_domain: None,
            }]),
        }
    }

    /// Every file that belongs to a dump of these tenants, as a stream that can be made again: the same
    /// portal lists the same.
    ///
    /// In the docspace layout these are the files that DocSpace itself backs up. Others under its root
    /// (user photos, `Studio/…/backup`, temporary files, thumbnails) are left out as DocSpace leaves them out.
    pub fn files(&self, tenants: &[Tenant]) -> PortalFiles {
        match &self.identity {
            None => plain::files(self.sources.clone()),
            Some(identity) => docspace::files::files(self.sources.clone(), identity, tenants),
        }
    }

    /// The content of a file; see [`Filesystem::read`].
    pub async fn read(&self, file: &PortalFile) -> Result<Opened<Content>, FilesError> {
        self.source(file)?.read(&file.file).await
    }

    /// The contents of small files, in their order; see [`Filesystem::read_small`].
    pub async fn read_small(
        &self,
        files: &[PortalFile],
    ) -> Vec<Result<Opened<Option<Bytes>>, FilesError>> {
        let mut contents = Vec::with_capacity(files.len());
        for run in files.chunk_by(|a, b| a.filesystem == b.filesystem) {
            let metas: Vec<_> = run.iter().map(|file| file.file.clone()).collect();
            match self.source(&run[0]) {
                Ok(filesystem) => contents.extend(filesystem.read_small(&metas).await),
                Err(_) => contents.extend(metas.into_iter().map(|meta| Err(unknown(meta.path)))),
            }
        }
        contents
    }

    fn source(&self, file: &PortalFile) -> Result<&Filesystem, FilesError> {
        self.filesystem(file.filesystem).ok_or_else(|| unknown(file.file.path.clone()))
    }

    /// Tries whether a filesystem answers.
    pub async fn check_filesystem(&self, position: usize) -> Result<(), FilesError> {
        match self.filesystem(position) {
            Some(filesystem) => filesystem.check().await,
            None => Err(unknown(position.to_string())),
        }
    }

    /// The last migration of DocSpace's database; None in the plain layout and where there is none.
    pub async fn last_migration(&self) -> Result<Option<String>, PortalError> {
        match &self.identity {
            Some(identity) => identity.last_migration().await,
            None => Ok(None),
        }
    }

    /// Tells whether two archives come from installations with one machine key, without giving it away.
    /// The first call costs some 50 ms.
    pub fn machine_key_fingerprint(&self) -> Option<String> {
        self.identity.as_ref()?.machine_key_fingerprint()
    }
}

fn unknown(path: String) -> FilesError {
    FilesError::Read { path, message: "its filesystem is not configured".to_owned() }
}

/// DocSpace's name of an archive: `{alias}_{yyyy-MM-dd_HH-mm-ss}.tar.gz`, `workspace` without an alias.
/// The caller chooses the time zone.
pub fn archive_name(alias: &str, at: &Zoned) -> String {
    let alias = if alias.is_empty() { "workspace" } else { alias };
    format!("{alias}_{}.tar.gz", at.strftime("%Y-%m-%d_%H-%M-%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_named_as_docspace_names_them() {
        let at: Zoned = "2026-03-01T02:05:09[Europe/Paris]".parse().unwrap();
        assert_eq!(archive_name("acme", &at), "acme_2026-03-01_02-05-09.tar.gz");
        assert_eq!(archive_name("", &at), "workspace_2026-03-01_02-05-09.tar.gz");
    }
}
