//! Incremental backups.

mod chains;
mod encrypted;
pub mod front_door;
