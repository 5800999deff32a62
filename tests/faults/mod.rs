//! Kills, full disks and storages that fail.

mod kill;
mod restore;
mod sources;
