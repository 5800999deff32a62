//! Dumps of real databases: what is loaded from a dump equals what was dumped, and shows one moment.

mod mysql;
mod mysql_live;
mod sqlite;
mod sqlite_restore;
mod support;
