//! The definitions of a snapshot, read by `pg_dump` while the first rows are read already.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::catalog::Relation;
use super::items::{self, Item};
use super::members::{self, Members};
use super::notnull::{self, NotNull};
use super::tool;
use super::url::Target;
use crate::source::database::DatabaseError;

/// What the definitions are made of, beside what `pg_dump` writes.
pub(super) struct Parts {
    pub relations: BTreeMap<String, Relation>,
    /// What sets the sequences, by their numbers in the catalog.
    pub values: HashMap<u64, Item>,
    /// What fills the materialised views, by their numbers in the catalog.
    pub refresh: HashMap<u64, Item>,
    pub odd_not_nulls: Vec<NotNull>,
    pub encoding: &'static str,
}

/// Dropping it ends `pg_dump`.
pub(super) struct Definitions {
    name: String,
    read: watch::Receiver<Option<Result<Arc<Members>, Failure>>>,
    _reader: JoinSet<()>,
}

#[derive(Clone)]
enum Failure {
    /// What the tool said.
    Tool(String),
    /// There is no definition of this table or view, any more.
    Without(String),
}

impl Failure {
    fn of_tool(message: String) -> Self {
        // The snapshot still has the table, the server has not.
        let gone = message.split_once("relation \"").and_then(|(_, rest)| {
            let (table, rest) = rest.split_once('"')?;
            rest.contains("does not exist").then(|| table.to_owned())
        });
        if let Some(table) = gone {
            return Self::Without(table);
        }
        // What is no table has no lock, and is gone between two questions.
        let vanished = ["could not open relation with OID ", "cache lookup failed for "];
        if let Some(at) = vanished.iter().find_map(|text| message.find(text)) {
            let what = message[at..].split(" pg_dump:").next().unwrap_or_default();
            return Self::Without(what.trim().to_owned());
        }
        let full = ["too many connections", "too many clients", "connection slots"];
        Self::Tool(match full.iter().any(|full| message.contains(full)) {
            true => {
                format!("{message}; it needs a connection beside the service's own: allow one more")
            }
            false => message,
        })
    }
}

impl Definitions {
    /// Begins to read those of the snapshot `exported` with the tools of `folder`.
    pub fn start(target: &Target, folder: PathBuf, exported: String, parts: Parts) -> Self {
        let (sender, read) = watch::channel(None);
        let mut reader = JoinSet::new();
        let of = target.clone();
        reader.spawn(async move {
            let members = read_all(&of, folder, &exported, parts).await;
            sender.send_replace(Some(members.map(Arc::new)));
        });
        Self { name: target.name.clone(), read, _reader: reader }
    }

    /// Waits until they are read.
    pub async fn get(&self) -> Result<Arc<Members>, DatabaseError> {
        let mut read = self.read.clone();
        let members = match read.wait_for(Option::is_some).await {
            Ok(members) => members.clone(),
            Err(_) => None,
        };
        let ended = || Err(Failure::Tool("their reader ended".to_owned()));
        members.unwrap_or_else(ended).map_err(|failure| match failure {
            Failure::Tool(message) => DatabaseError::Query {
                name: self.name.clone(),
                what: "reading the definitions".to_owned(),
                message,
            },
            Failure::Without(table) => {
                DatabaseError::DefinitionChanged { name: self.name.clone(), table }
            }
        })
    }
}

async fn read_all(
    target: &Target,
    folder: PathBuf,
    exported: &str,
    parts: Parts,
) -> Result<Members, Failure> {
    let Parts { relations, values, refresh, odd_not_nulls, encoding } = parts;
    let text = tool::definitions(target, &folder, exported, encoding).await;
    let text = text.map_err(Failure::of_tool)?;
    let items = items::parse(&notnull::quote(text, &odd_not_nulls));
    let members = members::divide(items, &relations, &values, &refresh, encoding);
    let missing = relations.into_keys().find(|name| !members.tables.contains_key(name));
    missing.map_or(Ok(members), |name| Err(Failure::Without(name)))
}
