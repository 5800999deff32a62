//! The HTTP APIs, as clients meet them.

mod docspace;
mod restore;
mod stores;
mod upload;
mod who;
