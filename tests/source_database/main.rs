//! Dumps of real databases: what is loaded from a dump equals what was dumped, and shows one moment.

mod mysql;
mod mysql_live;
mod postgres;
mod postgres_restore;
mod sqlite;
mod support;
