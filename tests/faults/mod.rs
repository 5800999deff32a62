//! Kills, full disks and storages that fail.

mod kill;
mod rekey;
mod restore;
mod sources;
