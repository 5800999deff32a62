//! Putting a PostgreSQL database back.
//!
//! An attempt does everything in one transaction on one connection: the live schemas are renamed aside, which nobody
//! else sees, schemas of their names are made anew, and filled with the archive's own text, in which no name needs to
//! be changed. The swap is the commit. An attempt that dies before it has left nothing; after it, the old schemas
//! are beside the new ones under names of the attempt's, with a journal that was committed along with them.

mod aside;
mod belonging;
mod bind;
mod bound;
mod build;
mod clash;
mod defaults;
mod definitions;
mod digest;
mod extensions;
mod guard;
mod journal;
mod judge;
mod large;
mod live;
mod load;
mod lost;
mod opclasses;
mod staging;
mod swap;
mod warnings;

use sqlx::Error;

use super::failed;
use crate::source::database::DatabaseError;

pub(super) use judge::judge;
pub(super) use live::{count, digest, live};
pub(super) use staging::stage;
pub(super) use swap::staged;

/// The right to give things to a role, in SQL: since PostgreSQL 16 a member may lack it, as whoever made the role does.
const MAY_GIVE: &str = "CASE WHEN pg_catalog.current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END";

/// A row breaks a foreign key.
const BROKEN_KEY: &str = "23503";

/// Why a step failed, before it is known which step it was.
#[derive(Debug)]
enum Fault {
    Server(Error),
    /// A sentence of ours.
    Text(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Fault {
    /// `what` says what was being done.
    fn of(self, name: &str, what: &str) -> DatabaseError {
        match self {
            Self::Server(error) => failed(name, what, &error),
            Self::Text(message) => {
                DatabaseError::Query { name: name.to_owned(), what: what.to_owned(), message }
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Server(error) => super::describe(error),
            Self::Text(text) => text.clone(),
        }
    }

    /// The same, with what it was about.
    fn at(self, what: &str) -> Self {
        Self::Text(format!("{what}: {}", self.text()))
    }
}
