//! The HTTP APIs, as clients meet them.

mod docspace;
mod who;
