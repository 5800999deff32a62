//! Search indexes: captured while others write them, in portal backups, and by sensenet's API.

mod capture;
mod portal;
mod sensenet;
#[path = "../support/mod.rs"]
mod support;
