//! The HTTP APIs, as clients meet them.

mod docspace;
mod identity;
mod load;
mod tokens;
mod who;
