//! Changes to staged tables before they go live.

use super::super::connect::Session;
use super::super::render::identifier;
use super::place::Place;
use super::{Fault, foreign, literal};
use crate::source::database::Adjustment;

pub(super) async fn adjust(
    session: &mut Session,
    place: &Place,
    adjustment: &Adjustment,
) -> Result<(), Fault> {
    let table = adjustment.table();
    if columns(session, &place.staging, table).await?.is_empty() {
        return Ok(());
    }
    let staged = place.in_staging(table);
    let statement = match adjustment {
        Adjustment::Empty { .. } => format!("DELETE FROM {staged}"),
        Adjustment::Delete { values, .. } if values.is_empty() => return Ok(()),
        Adjustment::Delete { column, values, .. } => {
            let values: Vec<_> = values.iter().map(|value| literal(value)).collect();
            format!("DELETE FROM {staged} WHERE {} IN ({})", identifier(column), values.join(","))
        }
        Adjustment::Replace { column, from, to, .. } => {
            let column = identifier(column);
            format!(
                "UPDATE {staged} SET {column} = {} WHERE {column} = {}",
                literal(to),
                literal(from)
            )
        }
        Adjustment::KeepNewer { of: Some(of), .. } if of.is_empty() => return Ok(()),
        Adjustment::KeepNewer { key, of, .. } => {
            let live = columns(session, &place.live, table).await?;
            if live.is_empty() {
                return Ok(());
            }
            let both: Vec<_> = columns(session, &place.staging, table)
                .await?
                .into_iter()
                .filter(|name| live.iter().any(|other| other.eq_ignore_ascii_case(name)))
                .map(|name| identifier(&name))
                .collect();
            let selected: Vec<_> = both.iter().map(|name| format!("l.{name}")).collect();
            let parents = parents(session, place, table, &both).await?;
            let key = identifier(key);
            let among = of.as_ref().map_or_else(String::new, |of| {
                let of: Vec<_> = of.iter().map(|value| literal(value)).collect();
                format!(" AND l.{key} IN ({})", of.join(","))
            });
            format!(
                "INSERT INTO {staged} ({}) SELECT {} FROM {} l LEFT JOIN {staged} s ON s.{key} = l.{key} \
                 WHERE s.{key} IS NULL{among}{parents}",
                both.join(","),
                selected.join(","),
                place.in_live(table)
            )
        }
    };
    // No lock on the rows that are read in the live database.
    session.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    Ok(session.run(&statement).await?)
}

/// The condition that what a row of the live table refers to is staged too: without its tenant, say, none of it stays.
async fn parents(
    session: &mut Session,
    place: &Place,
    table: &str,
    columns: &[String],
) -> Result<String, mysql_async::Error> {
    let mut conditions = String::new();
    for key in foreign::of_table(session, &place.staging, table).await? {
        let own: Vec<_> = key.columns.iter().map(|name| identifier(name)).collect();
        if key.parent_schema != place.staging || own.iter().any(|name| !columns.contains(name)) {
            continue;
        }
        let unset: Vec<_> = own.iter().map(|name| format!("l.{name} IS NULL")).collect();
        let same = own.iter().zip(&key.parent_columns);
        let same: Vec<_> =
            same.map(|(name, parent)| format!("p.{} = l.{name}", identifier(parent))).collect();
        conditions += &format!(
            " AND ({} OR EXISTS (SELECT 1 FROM {} p WHERE {}))",
            unset.join(" OR "),
            place.in_staging(&key.parent),
            same.join(" AND ")
        );
    }
    Ok(conditions)
}

/// A table's columns that are not generated; none: there is no such table.
async fn columns(
    session: &mut Session,
    schema: &str,
    table: &str,
) -> Result<Vec<String>, mysql_async::Error> {
    let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(schema), literal(table));
    let query = format!(
        "SELECT COLUMN_NAME, COALESCE(EXTRA, ''), COALESCE(GENERATION_EXPRESSION, '') \
         FROM information_schema.COLUMNS WHERE {of} \
         AND (SELECT TABLE_TYPE FROM information_schema.TABLES WHERE {of}) IN ('BASE TABLE', 'SYSTEM VERSIONED') \
         ORDER BY ORDINAL_POSITION"
    );
    let rows: Vec<(String, String, String)> = session.rows(&query).await?;
    Ok(rows
        .into_iter()
        .filter(|(_, extra, generation)| !super::super::scheme::is_generated(extra, generation))
        .map(|(name, ..)| name)
        .collect())
}
