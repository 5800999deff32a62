//! What a backup reads and a restore writes: databases and filesystems.

pub mod cutter;
pub mod database;
pub mod files;
pub mod index;
pub mod restore;
