//! Kills, full disks and storages that fail.

mod kill;
mod sources;
