//! Incremental backups.

mod chains;
mod encrypted;
mod front_door;
