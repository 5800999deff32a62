//! Incremental backups.

mod chains;
mod front_door;
