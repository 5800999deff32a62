//! Dumps of real databases: what is loaded from a dump equals what was dumped, and shows one moment.

mod mysql;
mod mysql_11;
mod mysql_broken;
mod mysql_cut;
mod mysql_live;
mod mysql_objects;
mod mysql_objects_restore;
mod mysql_proper;
mod mysql_restore;
mod mysql_restore_faults;
mod mysql_restore_load;
mod mysql_tls;
mod postgres;
mod postgres_18;
mod postgres_bound;
mod postgres_database;
mod postgres_large;
mod postgres_lost;
mod postgres_order;
mod postgres_restore;
mod postgres_restore_faults;
mod sqlite;
mod sqlite_objects;
mod sqlite_restore;
mod support;
