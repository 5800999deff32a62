//! What a backup reads: databases and filesystems.

pub mod database;
pub mod files;
