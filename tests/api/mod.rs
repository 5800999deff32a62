//! The HTTP APIs, as clients meet them.

mod docspace;
mod identity;
mod load;
mod restore;
mod tokens;
mod upload;
mod who;
