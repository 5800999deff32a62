//! Putting a database back: loaded beside the live one, then swapped in.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::{DatabaseError, ObjectText, ServerInfo};
use crate::source::restore::{Space, Staged};

/// What a restore finds.
#[derive(Debug, Clone)]
pub struct Live {
    pub server: ServerInfo,
    pub tables: Vec<LiveTable>,
    /// Names that differ in case only are one.
    pub folds_case: bool,
    /// Views, triggers, routines, events and the like.
    pub objects: Vec<LiveObject>,
    /// The room on its volume, where that can be found out.
    pub space: Option<Space>,
    /// Bytes that the live state takes a second time while it is kept; none where it is moved aside.
    pub copied: u64,
    /// Why a restore into it would fail (permissions, read-only …), each a sentence.
    pub problems: Vec<String>,
}

impl Live {
    /// A name as it is the same for all that are one table here.
    pub fn folded(&self, name: &str) -> String {
        if self.folds_case { name.to_lowercase() } else { name.to_owned() }
    }
}

#[derive(Debug, Clone)]
pub struct LiveTable {
    pub name: String,
    /// A guess.
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone)]
pub struct LiveObject {
    /// As in [`ObjectText::kind`].
    pub kind: &'static str,
    pub name: String,
}

/// How far an archive's SQL is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only the definition and the rows of the member's own table.
    Foreign,
    /// The archive is the one that the catalog recorded, or the operator said so.
    Own,
}

/// A change that a restore makes to the loaded tables before they go live. Tables that were not loaded are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjustment {
    /// Deletes all rows.
    Empty { table: String },
    /// Deletes the rows whose `column` has one of `values`.
    Delete { table: String, column: String, values: Vec<String> },
    /// Copies from the live table the rows whose `key` the loaded one lacks (columns that both have), in MySQL without
    /// those that refer to rows that were not loaded. `of`: only those whose key is one of these.
    KeepNewer { table: String, key: String, of: Option<Vec<String>> },
    /// Sets `column` from one value to another.
    Replace { table: String, column: String, from: String, to: String },
}

impl Adjustment {
    pub fn table(&self) -> &str {
        match self {
            Self::Empty { table }
            | Self::Delete { table, .. }
            | Self::KeepNewer { table, .. }
            | Self::Replace { table, .. } => table,
        }
    }
}

/// The pieces of one member, in order.
pub type Statements = BoxStream<'static, std::io::Result<Bytes>>;

/// A place beside the live database that tables are loaded into. Dropping it leaves what is there for
/// [`super::Database::staged`].
#[async_trait]
pub trait Staging: Send + Sync {
    /// How many tables should be loaded at once.
    fn loaders(&self) -> usize;

    /// Takes the definitions that belong to no one table, before the first table is made. By default they are left out.
    async fn objects(&self, _objects: Vec<ObjectText>, _trust: Trust) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// Makes an empty table from the text of its scheme member. Foreign keys may name tables that do not exist yet.
    async fn scheme(&self, table: &str, sql: &str, trust: Trust) -> Result<(), DatabaseError>;

    /// Loads a table's data member, of any size, in bounded memory; returns how many rows the table has then, counted
    /// in the database. `loaded` is told the bytes of statements that were run. Any failing statement fails it.
    async fn data(
        &self,
        table: &str,
        statements: Statements,
        trust: Trust,
        loaded: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, DatabaseError>;

    async fn adjust(&self, adjustment: &Adjustment) -> Result<(), DatabaseError>;

    /// A digest of a loaded table's rows in this archive's own rendering of them: that of its data member when it is
    /// dumped again. None for a table without rows.
    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError>;

    /// Whether a loaded table is one of several that its rows and theirs are spread over anew, so that none of them has
    /// the rows of its member.
    async fn is_spread(&self, _table: &str) -> bool {
        false
    }

    /// Completes what had to wait (foreign keys, indexes) and checks that all can be swapped. What users should know
    /// comes back as sentences.
    async fn ready(self: Box<Self>) -> Result<(Box<dyn Staged>, Vec<String>), DatabaseError>;
}
