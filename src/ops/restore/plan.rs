//! What a restore would do, before it does anything.

use serde::Serialize;

/// Shown by `--dry-run` and `{"dryRun":true}`.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestorePlan {
    /// The archive's name.
    pub archive: String,
    /// `framed`, `gzipTar` or `plainTar`.
    pub format: String,
    pub size: u64,
    pub dump: bool,
    pub created_on: Option<String>,
    /// The tables it would load.
    pub tables: Vec<TablePlan>,
    pub rows: u64,
    /// Tables of the live databases that the archive does not know: they stay.
    pub tables_kept: Vec<String>,
    pub filesystems: Vec<FilesystemPlan>,
    /// Bytes needed beside the live portal while it is staged, and how many there are, where it can be told.
    pub space_needed: u64,
    pub space_available: Option<u64>,
    /// A guess.
    pub seconds: u64,
    /// Whether the archive's bytes were read and found whole.
    pub verified: bool,
    pub warnings: Vec<String>,
    /// Why the restore would be refused; empty: it can be run.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TablePlan {
    pub database: String,
    pub name: String,
    /// As the archive says; None in those that DocSpace wrote.
    pub rows: Option<u64>,
    /// Bytes of statements.
    pub bytes: u64,
    pub action: TableAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableAction {
    Create,
    Replace,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemPlan {
    pub name: String,
    pub files: u64,
    pub bytes: u64,
    /// The folders whose content is replaced, relative to the root (`""`: all of it).
    pub replaced: Vec<String>,
    /// Live files in them that the archive does not have: they would be removed.
    pub removed: u64,
}
