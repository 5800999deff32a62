//! Changes to loaded tables before they go live.

use rusqlite::{Connection, Result, params_from_iter};

use super::OTHER;
use crate::source::database::Adjustment;
use crate::source::database::sqlite::render::identifier;

/// Makes a change to a table of the main database. The live one is attached as [`OTHER`], if there is one.
pub(super) fn adjust(db: &Connection, adjustment: &Adjustment, live: bool) -> Result<()> {
    let name = identifier(adjustment.table());
    match adjustment {
        Adjustment::Empty { .. } => db.execute(&format!("DELETE FROM main.{name}"), []),
        Adjustment::Delete { column, values, .. } => {
            let column = identifier(column);
            let marks = vec!["?"; values.len()].join(",");
            db.execute(
                &format!("DELETE FROM main.{name} WHERE CAST({column} AS TEXT) IN ({marks})"),
                params_from_iter(values),
            )
        }
        Adjustment::Replace { column, from, to, .. } => {
            let column = identifier(column);
            db.execute(
                &format!("UPDATE main.{name} SET {column} = ? WHERE CAST({column} AS TEXT) = ?"),
                [to, from],
            )
        }
        Adjustment::KeepNewer { table, key, of } if live => {
            keep_newer(db, table, key, of.as_deref())
        }
        Adjustment::KeepNewer { .. } => Ok(0),
    }?;
    Ok(())
}

fn keep_newer(db: &Connection, table: &str, key: &str, of: Option<&[String]>) -> Result<usize> {
    let here = writable(db, "main", table)?;
    let there = writable(db, OTHER, table)?;
    let both: Vec<String> = here
        .iter()
        .filter(|column| there.iter().any(|other| other.eq_ignore_ascii_case(column)))
        .map(|column| identifier(column))
        .collect();
    let key = identifier(key);
    if !both.iter().any(|column| column.eq_ignore_ascii_case(&key)) {
        return Ok(0);
    }
    let (name, columns) = (identifier(table), both.join(","));
    let among = of.map_or_else(String::new, |of| {
        format!(" AND CAST(live.{key} AS TEXT) IN ({})", vec!["?"; of.len()].join(","))
    });
    db.execute(
        &format!(
            "INSERT INTO main.{name} ({columns}) SELECT {columns} FROM {OTHER}.{name} AS live \
             WHERE NOT EXISTS (SELECT 1 FROM main.{name} AS loaded WHERE loaded.{key} IS live.{key}){among}"
        ),
        params_from_iter(of.unwrap_or_default()),
    )
}

/// The columns that are not generated; none if there is no such table.
fn writable(db: &Connection, schema: &str, table: &str) -> Result<Vec<String>> {
    let mut statement =
        db.prepare("SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden NOT IN (2, 3)")?;
    statement.query_map([table, schema], |row| row.get(0))?.collect()
}
