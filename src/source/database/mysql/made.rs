//! When tables were made. TRUNCATE and many kinds of ALTER TABLE make a table anew; to a snapshot from before, the
//! server refuses it only at first, and some seconds later shows the rows of now. EXCHANGE PARTITION it never refuses.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mysql_async::Error;

use super::connect::Session;
use super::render::identifier;
use super::restore::literal;
use super::scheme;
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
    /// InnoDB's numbers of tables and partitions, which an EXCHANGE PARTITION swaps and leaves the times as they are.
    /// None: no table has partitions, or we may not read them.
    numbers: Option<HashMap<String, u64>>,
    /// Tables with partitions, where the numbers may not be read.
    unwatched: Vec<String>,
}

/// Reads them, and waits for the end of a second in which one was made: it could be made anew in that same second.
pub(super) async fn settled(session: &mut Session) -> Result<Made, Error> {
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
            let numbers = match partitioned.is_empty() {
                true => None,
                false => numbers(session, None).await?,
            };
            let unwatched = if numbers.is_none() { partitioned } else { Vec::new() };
            return Ok(Made { times, filled: HashSet::new(), numbers, unwatched });
        }
        looks += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The numbers of one table and its partitions, or of all tables of the session's schema, by their names in files.
/// None: this user may not read them (for want of PROCESS), or the server does not tell.
async fn numbers(
    session: &mut Session,
    table: Option<&str>,
) -> Result<Option<HashMap<String, u64>>, Error> {
    for view in [MARIADB, MYSQL] {
        match session.rows::<(String, u64)>(&view.query(table)).await {
            Ok(rows) => return Ok(Some(rows.into_iter().collect())),
            Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Where a server shows InnoDB's numbers, and how names are compared there: in those of files, all but letters and
/// digits of ASCII is escaped.
struct View {
    name: &'static str,
    /// A name in a file, and a plain one, as both are compared; `{}` stands for it.
    of_file: &'static str,
    of_plain: &'static str,
}

const MARIADB: View = View {
    name: "INNODB_SYS_TABLES",
    of_file: "CAST({} AS BINARY)",
    of_plain: "CAST(CONVERT({} USING filename) AS BINARY)",
};

/// MySQL 8 has no such conversion any more, so whatever is escaped is taken for the same. (Should a table be taken for
/// another one, a dump is begun anew once too often.)
const MYSQL: View = View {
    name: "INNODB_TABLES",
    of_file: "REGEXP_REPLACE(REPLACE({}, '@@@', ''), '@([0-9a-f]{4}|..)', '?', 1, 0, 'c')",
    of_plain: "REGEXP_REPLACE({}, '[^A-Za-z0-9_]', '?', 1, 0, 'c')",
};

impl View {
    fn query(&self, table: Option<&str>) -> String {
        let (sign, plain) = match table {
            None => ("/", self.of_plain.replace("{}", "DATABASE()")),
            Some(table) => {
                let name = self.of_plain.replace("{}", &literal(table));
                let schema = self.of_plain.replace("{}", "DATABASE()");
                ("#", format!("CONCAT({schema}, '/', {name})"))
            }
        };
        let file = self.of_file.replace("{}", &format!("SUBSTRING_INDEX(NAME, '{sign}', 1)"));
        format!(
            "SELECT CAST(NAME AS CHAR), TABLE_ID FROM information_schema.{} WHERE {file} = {plain}",
            self.name
        )
    }
}

impl Made {
    /// Tables of which an EXCHANGE PARTITION would not be noticed.
    pub fn unwatched(&self) -> &[String] {
        &self.unwatched
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
        if let (Some(before), true) = (&self.numbers, rows > 0) {
            let now = numbers(session, Some(table)).await?.unwrap_or_default();
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
