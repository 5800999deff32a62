//! DocSpace's layout: several tenants in one MySQL database, files in modules and domains.
//! Everything here is from DocSpace's observable behaviour: `facts.md` §1, §4, §6 and §7.

pub mod audit;
pub mod backups;
mod cache;
mod consumers;
mod elsewhere;
pub(super) mod files;
pub mod identity;
pub mod keys;
pub mod layout;
pub mod login;
mod moment;
mod mysql;
mod random;
pub mod restoring;
pub mod schedules;
pub(super) mod stored;
pub mod tenants;

pub use mysql::QUERIES;
