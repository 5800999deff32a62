//! The tables that stay, among those that are replaced.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{identifier, literal, qualified};
use super::journal::{Place, Swapped};
use super::{Fault, bound, lost};

/// The tables of the schemas aside that the archive does not have: they stay. (Partitions of one that it has go.)
pub(super) async fn staying(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<Vec<(Swapped, String)>, Fault> {
    let mut staying = Vec::new();
    for swapped in schemas.iter().filter(|swapped| swapped.replaces) {
        let query = format!(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class x JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace \
               WHERE m.nspname = {} AND x.relname = c.relname) \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1",
            literal(&place.kept(swapped.number)),
            literal(&swapped.name)
        );
        let names = session.column(&query).await?;
        staying.extend(names.into_iter().map(|name| (swapped.clone(), name)));
    }
    Ok(staying)
}

/// Moves the tables that stay into the new schemas, with their foreign keys and triggers, and makes sure that nothing
/// that stays needs anything that goes.
pub(super) async fn move_over(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let schemas = place.schemas(session).await?;
    for (swapped, name) in staying(session, place, &schemas).await? {
        let from = qualified(&place.kept(swapped.number), &name);
        for (table, schema) in partitions(session, &from).await? {
            let to = schemas
                .iter()
                .find(|swapped| swapped.replaces && place.kept(swapped.number) == schema);
            if let Some(to) = to {
                session
                    .run(&format!("ALTER TABLE {table} SET SCHEMA {}", identifier(&to.name)))
                    .await?;
            }
        }
        let note = format!(
            "INSERT INTO {} VALUES ({}, {})",
            place.table("stays"),
            swapped.number,
            literal(&name)
        );
        session.run(&note).await?;
    }
    let away: Vec<String> = schemas
        .iter()
        .filter(|swapped| swapped.replaces)
        .map(|swapped| place.kept(swapped.number))
        .collect();
    bound::again(session, place, &away, true).await?;
    let needing = lost::needing(session, &away).await?;
    if needing.is_empty() {
        return Ok(());
    }
    // As everybody knows the schemas; the last first, for their numbers begin with those of others.
    let mut list = needing.join("; ");
    for swapped in schemas.iter().rev() {
        list = list.replace(&place.kept(swapped.number), &swapped.name);
    }
    Err(Fault::Text(format!("what the archive does not have needs what would be replaced: {list}")))
}

/// A table and its partitions in SQL, each with its schema.
async fn partitions(session: &mut Session, table: &str) -> Result<Vec<(String, String)>, Fault> {
    let query = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {table}::regclass \
         OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree({table}::regclass))",
        table = literal(table)
    );
    let rows = session.rows(&query).await?;
    Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect())
}

/// Moves them back, while the schemas still have the names of the swap.
pub(super) async fn move_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let schemas = place.schemas(session).await?;
    let query = format!(
        "SELECT m.name, s.name FROM {} m JOIN {} s ON s.number = m.number",
        place.table("stays"),
        place.table("schemas")
    );
    for row in session.rows(&query).await? {
        let from = qualified(&text(&row, 1), &text(&row, 0));
        let exists = format!("SELECT pg_catalog.to_regclass({})::text", literal(&from));
        if session.value(&exists).await?.is_none() {
            continue;
        }
        for (table, schema) in partitions(session, &from).await? {
            let to = schemas.iter().find(|swapped| swapped.replaces && swapped.name == schema);
            if let Some(to) = to {
                let to = identifier(&place.kept(to.number));
                session.run(&format!("ALTER TABLE {table} SET SCHEMA {to}")).await?;
            }
        }
    }
    Ok(())
}
