//! The HTTP APIs, as clients meet them.

mod docspace;
mod restore;
mod upload;
mod who;
