//! The HTTP APIs, as clients meet them.

mod copies;
mod docspace;
mod docspace_tables;
mod identity;
mod limits;
mod load;
mod restore;
mod schedules;
mod stores;
mod tokens;
pub mod upload;
mod who;
