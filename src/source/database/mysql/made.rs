//! When tables were made. TRUNCATE and many kinds of ALTER TABLE make a table anew; to a snapshot from before, the
//! server refuses it only at first, and some seconds later shows the rows of now. EXCHANGE PARTITION it never refuses.
//! MySQL refuses more, but neither a RENAME nor what drops a partition; and within a snapshot its information schema is
//! that of the snapshot, so there another connection looks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mysql_async::Error;

use super::connect::Session;
use super::render::identifier;
use super::restore::literal;
use super::scheme;
use crate::source::database::{Engine, Table};

/// How often tables may be just made. A clock that is ahead would let us wait for ever.
const LOOKS: usize = 3;

/// What tables there were just before a snapshot.
#[derive(Debug)]
pub(super) struct Made {
    /// In the server's whole seconds.
    times: HashMap<String, Option<String>>,
    /// Those that have rows in the snapshot: MariaDB's TRUNCATE keeps the time.
    filled: HashSet<String>,
    /// InnoDB's numbers of tables and partitions, which an EXCHANGE PARTITION or a RENAME swaps and leaves the times as
    /// they are. None: MariaDB's tables have no partitions, or we may not read them.
    numbers: Option<HashMap<String, u64>>,
    engine: Engine,
    /// Tables with partitions, where the numbers may not be read.
    unwatched: Vec<String>,
}

/// Reads them, and waits for the end of a second in which one was made: it could be made anew in that same second.
pub(super) async fn settled(session: &mut Session, engine: Engine) -> Result<Made, Error> {
    let mut looks = 1;
    loop {
        let rows: Vec<(String, Option<String>, bool, Option<String>)> = session
            .rows(
                "SELECT TABLE_NAME, CAST(CREATE_TIME AS CHAR), COALESCE(CREATE_TIME >= NOW(), FALSE), ENGINE \
                 FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE NOT IN ('VIEW', 'SEQUENCE')",
            )
            .await?;
        if looks == LOOKS || !rows.iter().any(|(_, _, just, _)| *just) {
            let mut times = HashMap::new();
            for (name, time, _, engine) in rows {
                if !scheme::is_hollow(session, &name, engine.as_deref()).await? {
                    times.insert(name, time);
                }
            }
            let partitioned: Vec<String> = session
                .rows(
                    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                     AND CREATE_OPTIONS LIKE '%partitioned%' ORDER BY 1",
                )
                .await?;
            // (MariaDB has no index for them.)
            let numbers = match engine == Engine::MariaDb && partitioned.is_empty() {
                true => None,
                false => numbers(session, engine, None).await?,
            };
            let unwatched = if numbers.is_none() { partitioned } else { Vec::new() };
            return Ok(Made { times, filled: HashSet::new(), numbers, engine, unwatched });
        }
        looks += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The numbers of one table and its partitions, or of all tables of the session's schema, by InnoDB's names of them.
/// None: this user may not read them (for want of PROCESS).
async fn numbers(
    session: &mut Session,
    engine: Engine,
    table: Option<&str>,
) -> Result<Option<HashMap<String, u64>>, Error> {
    let query = match engine {
        Engine::MariaDb => of_tables(table),
        _ => of_files(table),
    };
    match session.rows::<(String, u64)>(&query).await {
        Ok(rows) => Ok(Some(rows.into_iter().collect())),
        Err(Error::Server(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// MariaDB: its names are those of files, where every other `#` and `/` is escaped.
fn of_tables(table: Option<&str>) -> String {
    const SCHEMA: &str = "CAST(CONVERT(DATABASE() USING filename) AS BINARY)";
    let filter = match table {
        None => format!("CAST(SUBSTRING_INDEX(NAME, '/', 1) AS BINARY) = {SCHEMA}"),
        Some(table) => format!(
            "CAST(SUBSTRING_INDEX(NAME, '#', 1) AS BINARY) \
             = CONCAT({SCHEMA}, '/', CAST(CONVERT({} USING filename) AS BINARY))",
            literal(table)
        ),
    };
    format!(
        "SELECT CAST(NAME AS CHAR), TABLE_ID FROM information_schema.INNODB_SYS_TABLES WHERE {filter}"
    )
}

/// MySQL: each table and each partition has a file, unless it was told otherwise; the names have an index.
fn of_files(table: Option<&str>) -> String {
    let filter = match table {
        None => "SUBSTRING_INDEX(NAME, '/', 1) = DATABASE()".to_owned(),
        Some(table) => {
            let name = |after: &str| {
                let name = format!("CONCAT(DATABASE(), '/', {}, '{after}')", literal(table));
                format!("CONVERT({name} USING utf8mb3) COLLATE utf8mb3_bin")
            };
            let (whole, first, end) = (name(""), name("#p#"), name("#p$"));
            format!("NAME = {whole} OR NAME >= {first} AND NAME < {end}")
        }
    };
    format!(
        "SELECT NAME, CAST(SPACE AS UNSIGNED) FROM information_schema.INNODB_TABLESPACES_BRIEF WHERE {filter}"
    )
}

impl Made {
    /// Tables of which an EXCHANGE PARTITION would not be noticed.
    pub fn unwatched(&self) -> &[String] {
        &self.unwatched
    }

    /// Whether looking at tables needs a connection that is in no snapshot.
    pub fn needs_watcher(&self) -> bool {
        self.engine != Engine::MariaDb
    }

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

    /// Whether a table of which so many rows were read is still the one that was there. The session is
    /// in no snapshot, where [`Self::needs_watcher`] says so.
    pub async fn is_still(
        &self,
        session: &mut Session,
        table: &str,
        rows: u64,
    ) -> Result<bool, Error> {
        if rows == 0 && self.filled.contains(table) {
            return Ok(false);
        }
        if let (Some(before), true) = (&self.numbers, rows > 0) {
            let now = numbers(session, self.engine, Some(table)).await?.unwrap_or_default();
            if now.iter().any(|(name, number)| before.get(name) != Some(number)) {
                return Ok(false);
            }
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
