//! The HTTP APIs, as clients meet them.

mod docspace;
mod docspace_tables;
mod restore;
mod schedules;
mod upload;
mod who;
