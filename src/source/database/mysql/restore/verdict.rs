//! What the server's warnings about loaded rows mean.

use mysql_async::Error;

use super::super::connect::Session;

/// Warnings of a server that stored something else than it was given.
pub(super) const CHANGED: &[u16] =
    &[1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1441, 1526, 1586];
pub(super) const OUT_OF_RANGE: u16 = 1264;
pub(super) const TRUNCATED: u16 = 1265;

/// Those that say, at their end, of which column they are.
const OF_A_COLUMN: &[u16] = &[OUT_OF_RANGE, TRUNCATED, 1292, 1366, 1406];

/// What the server warned of in its last statement.
pub(super) struct Warnings {
    pub all: Vec<(u16, String)>,
    /// It counts all, and keeps so many (`max_error_count`).
    pub total: u64,
}

impl Warnings {
    pub async fn read(session: &mut Session) -> Result<Self, Error> {
        // The other way round the list would be that of the count.
        let total: Option<u64> = session.rows("SHOW COUNT(*) WARNINGS").await?.pop();
        let all = session.rows::<(String, u16, String)>("SHOW WARNINGS").await?;
        let all: Vec<_> = all.into_iter().map(|(_, code, message)| (code, message)).collect();
        Ok(Self { total: total.unwrap_or(u64::MAX), all })
    }

    pub fn is_cut(&self) -> bool {
        self.total != self.all.len() as u64
    }
}

/// The one of a table's columns that a message names, and the row of the statement. What names none may mean any.
pub(super) fn of_column<'a>(
    columns: impl Iterator<Item = &'a str>,
    code: u16,
    message: &str,
) -> Option<(&'a str, u64)> {
    let (about, row) = message.rsplit_once(" at row ").filter(|_| OF_A_COLUMN.contains(&code))?;
    let row = row.parse().ok()?;
    // Names may have quotes in them, so that one ends like another: the longest is meant.
    let is_named = |name: &&str| {
        let plain = about.ends_with(&format!(" for column '{name}'"));
        plain || about.contains(" for column `") && about.ends_with(&format!("`.`{name}`"))
    };
    let name = columns.filter(is_named).max_by_key(|name| name.len())?;
    Some((name, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> Option<(&'static str, u64)> {
        of_column(["n", "p", "x for column 'n", "q`.`n"].into_iter(), code, message)
    }

    #[test]
    fn a_message_names_a_column_at_its_end() {
        assert_eq!(of(1265, "Data truncated for column 'n' at row 12"), Some(("n", 12)));
        let refused = "Incorrect integer value: 'z' for column";
        assert_eq!(of(1366, &format!("{refused} `d`.`t`.`n` at row 3")), Some(("n", 3)));
        assert_eq!(of(1366, &format!("{refused} 'n' at row 3")), Some(("n", 3)));
        for other in ["x for column 'n", "p"] {
            assert_eq!(of(1366, &format!("{refused} '{other}' at row 3")), Some((other, 3)));
        }
        assert_eq!(of(1366, &format!("{refused} `d`.`t`.`q`.`n` at row 3")), Some(("q`.`n", 3)));
        for other in ["INTEGER value: 'z for column 'n' at row 3'", "INTEGER value: '5x'"] {
            assert_eq!(of(1292, &format!("Truncated incorrect {other}")), None);
        }
        assert_eq!(of(1062, "Duplicate entry 'a' for column 'n' at row 3"), None);
    }
}
