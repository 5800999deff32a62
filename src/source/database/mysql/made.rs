//! When tables were made. TRUNCATE and many kinds of ALTER TABLE make a table anew; to a snapshot from before, the
//! server refuses it only at first, and some seconds later shows the rows of now.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mysql_async::Error;

use super::connect::Session;
use super::render::identifier;
use super::restore::literal;
use crate::source::database::Table;

/// How often tables may be just made. A clock that is ahead would let us wait for ever.
const LOOKS: usize = 3;

/// What tables there were just before a snapshot.
#[derive(Debug)]
pub(super) struct Made {
    /// In the server's whole seconds.
    times: HashMap<String, Option<String>>,
    /// Those that have rows in the snapshot: MariaDB's TRUNCATE keeps the time.
    filled: HashSet<String>,
}

/// Reads them, and waits for the end of a second in which one was made: it could be made anew in that same second.
pub(super) async fn settled(session: &mut Session) -> Result<Made, Error> {
    let mut looks = 1;
    loop {
        let rows: Vec<(String, Option<String>, bool)> = session
            .rows(
                "SELECT TABLE_NAME, CAST(CREATE_TIME AS CHAR), COALESCE(CREATE_TIME >= NOW(), FALSE) \
                 FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE NOT IN ('VIEW', 'SEQUENCE')",
            )
            .await?;
        if looks == LOOKS || !rows.iter().any(|(.., just)| *just) {
            let times = rows.into_iter().map(|(name, time, _)| (name, time)).collect();
            return Ok(Made { times, filled: HashSet::new() });
        }
        looks += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl Made {
    pub fn knows(&self, table: &str) -> bool {
        self.times.contains_key(table)
    }

    /// One that is not among `tables`, which are in order: it was dropped or renamed since.
    pub fn gone(&self, tables: &[Table]) -> Option<&str> {
        let there =
            |name: &str| tables.binary_search_by(|table| table.name.as_str().cmp(name)).is_ok();
        self.times.keys().map(String::as_str).find(|name| !there(name))
    }

    /// Looks whether a table has rows in the session's snapshot.
    pub async fn look(&mut self, session: &mut Session, table: &str) -> Result<(), Error> {
        let query = format!("SELECT 1 FROM {} LIMIT 1", identifier(table));
        if session.rows::<u8>(&query).await?.pop().is_some() {
            self.filled.insert(table.to_owned());
        }
        Ok(())
    }

    /// Whether a table of which so many rows were read is still the one that was there.
    pub async fn is_still(
        &self,
        session: &mut Session,
        table: &str,
        rows: u64,
    ) -> Result<bool, Error> {
        if rows == 0 && self.filled.contains(table) {
            return Ok(false);
        }
        let query = format!(
            "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
            literal(table)
        );
        let now: Option<Option<String>> = session.rows(&query).await?.pop();
        Ok(now.as_ref() == self.times.get(table))
    }
}
