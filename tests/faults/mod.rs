//! Kills, full disks and storages that fail.

mod altered;
mod cancel;
mod changing;
mod kill;
mod rekey;
mod restore;
mod sources;
mod swap;
