//! Backups and restores of one database or filesystem by its name, into and from folders that are laid out as RavenDB
//! lays them out; the texts that their clients are told are RavenDB's (`Storage/BaseBackupOperation.cs`,
//! `Storage/BaseRestoreOperation.cs`, `Actions/MaintenanceActions.cs` of its version 3).
//!
//! Such a source is taken for a portal of its own, so that the work is done by the same code as a whole portal's.

pub mod backup;
pub mod document;
pub mod folder;
pub mod location;
pub mod operations;
pub mod remove;
pub mod restore;
pub mod sources;
mod target;
mod telling;

/// Whose jobs and archives these are: no tenant's, so that no tenant's history shows them.
pub const NO_TENANT: i64 = -2;
