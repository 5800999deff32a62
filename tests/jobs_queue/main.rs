//! The queue and its worker on SQLite, PostgreSQL and MariaDB.

#[path = "../support/catalogs.rs"]
mod catalogs;
mod killed;
mod running;
mod script;
mod stopping;
