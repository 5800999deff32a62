//! Putting a SQLite database back: loaded into a file beside the live one, then copied into that through SQLite's
//! backup API, so that whoever has it open sees the old state or the new one.
//!
//! A table of our own says in a file what it is: in the staged one, that it is complete; in the live one, that it has
//! been swapped. It is written in the same transaction as everything else, so there is nothing else to keep in step.

mod adjust;
mod beside;
mod carry;
mod definition;
mod digest;
mod literal;
mod live;
mod load;
mod mark;
mod staging;
mod swap;
#[cfg(test)]
mod tests;

pub(super) use definition::judge;
pub(super) use digest::digest;
pub(super) use live::{count, live};
pub(super) use staging::stage;
pub(super) use swap::staged;

/// The name under which the other file is attached to a connection.
const OTHER: &str = "portal_backup_other";
