//! The HTTP APIs, as clients meet them.

mod away;
mod connections;
mod copies;
mod docspace;
mod docspace_import;
mod docspace_swaps;
mod docspace_tables;
mod facts;
mod identity;
mod limits;
mod load;
mod progress;
mod removal;
mod restore;
mod schedules;
mod stores;
mod tokens;
mod told;
pub mod upload;
mod who;
