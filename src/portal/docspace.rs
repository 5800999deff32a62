//! DocSpace's layout: several tenants in one MySQL database, files in modules and domains.
//! Everything here is from DocSpace's observable behaviour: `facts.md` §1, §4, §6 and §7.

mod cache;
mod consumers;
pub(super) mod files;
pub mod identity;
pub mod keys;
pub mod layout;
mod mysql;
pub mod restoring;
pub(super) mod stored;
pub mod tenants;
