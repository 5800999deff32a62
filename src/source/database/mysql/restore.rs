//! Putting a MySQL or MariaDB database back.
//!
//! An attempt stages its tables in a schema of its own beside the live one, with the live schema's defaults. The swap
//! is one `RENAME TABLE`: the live tables go to a second schema of the attempt, the staged ones take their place.
//! What cannot be renamed along (triggers, foreign keys of tables that stay) is dropped before and made again after,
//! and then the archive's views, routines and events take the place of those of their names, all from a journal in the
//! staging schema. How far a dead attempt came is read from that journal and from where the
//! tables are.

mod adjust;
mod admin;
mod bulk;
mod digest;
mod exempt;
mod foreign;
mod journal;
mod live;
mod load;
mod long;
mod objects;
mod other;
mod place;
mod plan;
mod ready;
mod refused;
mod sequences;
mod settings;
mod staging;
mod swap;
mod triggers;
mod verdict;

use mysql_async::Error;

use super::failed;
use crate::source::database::DatabaseError;

pub(super) use live::{count, digest, live};
pub(super) use staging::{judge, stage};
pub(super) use swap::staged;

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

    /// The same as a sentence that begins with what it is about.
    fn about(self, what: &str) -> Self {
        let message = match self {
            Self::Server(error) => super::describe(&error),
            Self::Text(text) => text,
        };
        Self::Text(format!("{what}: {message}"))
    }

    /// The number of the server's error; 0 for any other.
    fn code(&self) -> u16 {
        match self {
            Self::Server(Error::Server(error)) => error.code,
            _ => 0,
        }
    }
}

/// A string literal that means the same whatever the session's modes are.
pub(super) fn literal(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    format!("_utf8mb4 0x{}", hex::encode_upper(text))
}
