//! The tables that stay, among those that are replaced.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{identifier, literal, qualified};
use super::journal::{Place, Swapped};
use super::{Fault, bound, lost};

/// The tables of the schemas aside that the archive does not have: they stay. (Partitions of one that it has go.) What
/// it has of another kind under the name of one is in its way.
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
               WHERE m.nspname = {} AND x.relname = c.relname AND x.relkind IN ('r', 'p')) \
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
    let moves = place.replaced(&schemas);
    for (swapped, name) in staying(session, place, &schemas).await? {
        let from = qualified(&place.kept(swapped.number), &name);
        move_table(session, &from, &moves).await.map_err(|fault| {
            fault.at(&format!(
                "table {}.{name}, which is no table of the archive's, cannot stay beside what that has",
                swapped.name
            ))
        })?;
        let note = format!(
            "INSERT INTO {} VALUES ({}, {})",
            place.table("stays"),
            swapped.number,
            literal(&name)
        );
        session.run(&note).await?;
    }
    let away: Vec<String> = moves.into_iter().map(|(kept, _)| kept).collect();
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

/// Moves a table, its partitions, and the statistics about them from schemas to others, as `moves` pairs them.
async fn move_table(
    session: &mut Session,
    table: &str,
    moves: &[(String, String)],
) -> Result<(), Fault> {
    let query = format!(
        "WITH t AS (SELECT {table}::regclass::oid AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree({table}::regclass)) \
         SELECT pg_catalog.format('ALTER TABLE %I.%I', n.nspname, c.relname), n.nspname::text FROM t \
         JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         UNION ALL SELECT pg_catalog.format('ALTER STATISTICS %I.%I', n.nspname, s.stxname), n.nspname::text FROM t \
         JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace",
        table = literal(table)
    );
    for row in session.rows(&query).await? {
        let schema = text(&row, 1);
        if let Some((_, to)) = moves.iter().find(|(from, _)| *from == schema) {
            session.run(&format!("{} SET SCHEMA {}", text(&row, 0), identifier(to))).await?;
        }
    }
    Ok(())
}

/// Moves them back, while the schemas still have the names of the swap.
pub(super) async fn move_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let schemas = place.schemas(session).await?;
    let replaced = place.replaced(&schemas).into_iter();
    let moves: Vec<_> = replaced.map(|(kept, name)| (name, kept)).collect();
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
        move_table(session, &from, &moves).await?;
    }
    Ok(())
}
