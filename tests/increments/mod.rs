//! Incremental backups.

mod chains;
mod docspace;
mod encrypted;
pub mod front_door;
