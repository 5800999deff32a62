//! The HTTP APIs, as clients meet them.

mod docspace;
mod docspace_tables;
mod schedules;
mod who;
