//! Tables that stay and bring a name that the archive has too: those that were renamed since keep the names of their
//! indexes and sequences, and one may have got a table of the archive's as a partition.

use std::collections::HashSet;

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{literal, qualified};
use super::journal::{Place, Swapped};
use super::{Fault, bind};

/// Refuses them before they are moved to what the archive made, with the names of both.
pub(super) async fn refuse(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<(), Fault> {
    let found = session.rows(&clashing(place)).await?;
    let found: HashSet<_> = found.iter().map(|row| (text(row, 0), text(row, 1))).collect();
    for (swapped, name) in bind::staying(session, place, schemas).await? {
        let kept = place.kept(swapped.number);
        let table = qualified(&kept, &name);
        if !found.contains(&(kept, name.clone())) {
            continue;
        }
        let rows = session.rows(&taken(place, &table)).await?;
        let sentences = |is_part: bool| -> Vec<String> {
            let some = rows.iter().filter(|row| (text(row, 0) == "partition") == is_part);
            some.map(|row| {
                format!("its {} {} has the name of {}", text(row, 0), text(row, 1), text(row, 2))
            })
            .collect()
        };
        // What belongs to a partition in the way need not be told.
        let (said, help) = match (sentences(true), sentences(false)) {
            (parts, others) if parts.is_empty() && others.is_empty() => continue,
            (parts, others) if parts.is_empty() => (others, "rename what is named"),
            (parts, _) => (parts, "detach what is named"),
        };
        return Err(Fault::Text(format!(
            "table {}.{name}, which the archive does not have, cannot stay: {}; {help}, or drop the table",
            swapped.name,
            said.join(", ")
        )));
    }
    Ok(())
}

/// A query of the tables aside, with their schemas, of which something has the name of what is new: mostly they are
/// replaced.
fn clashing(place: &Place) -> String {
    format!(
        "WITH clash AS (SELECT c.oid, c.relkind FROM {schemas} s \
           JOIN pg_catalog.pg_namespace n ON n.nspname = {journal} || '_' || s.number \
           JOIN pg_catalog.pg_namespace m ON m.nspname = s.name JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid \
           JOIN pg_catalog.pg_class o ON o.relnamespace = m.oid AND o.relname = c.relname), \
         of AS (SELECT x.indrelid AS oid FROM clash JOIN pg_catalog.pg_index x ON x.indexrelid = clash.oid \
           UNION SELECT d.refobjid FROM clash JOIN pg_catalog.pg_depend d ON d.objid = clash.oid \
             AND d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = d.classid AND d.deptype IN ('a', 'i') \
             WHERE clash.relkind = 'S' \
           UNION SELECT oid FROM clash WHERE relkind IN ('r', 'p', 'f')) \
         SELECT DISTINCT n.nspname::text, c.relname::text FROM of \
         JOIN pg_catalog.pg_class c ON c.oid = COALESCE(pg_catalog.pg_partition_root(of.oid), of.oid) \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        schemas = place.table("schemas"),
        journal = literal(&place.journal)
    )
}

/// A query of what comes along with a table and has the name of something that is there: its kind and name, and what that
/// is.
fn taken(place: &Place, table: &str) -> String {
    format!(
        "WITH part AS (SELECT {table}::regclass::oid AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree({table})), \
         owned AS (SELECT x.indexrelid AS oid, x.indrelid AS rel, 'index' AS kind FROM pg_catalog.pg_index x \
           UNION ALL SELECT d.objid, d.refobjid, 'sequence' FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = d.classid AND d.deptype IN ('a', 'i')), \
         along AS (SELECT oid, kind FROM owned WHERE rel IN (SELECT oid FROM part) \
           UNION SELECT oid, 'partition' FROM part WHERE oid <> {table}::regclass) \
         SELECT a.kind, c.relname::text, CASE WHEN o.relkind IN ('r', 'p') THEN 'a table of the archive''s' \
           WHEN w.oid IS NULL THEN 'something of the archive''s' \
           ELSE pg_catalog.format('the %s of the archive''s table %s', w.kind, r.relname) END \
         FROM along a JOIN pg_catalog.pg_class c ON c.oid = a.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN {schemas} s ON n.nspname = {journal} || '_' || s.number JOIN pg_catalog.pg_namespace m ON m.nspname = s.name \
         JOIN pg_catalog.pg_class o ON o.relnamespace = m.oid AND o.relname = c.relname \
         LEFT JOIN owned w ON w.oid = o.oid LEFT JOIN pg_catalog.pg_class r ON r.oid = w.rel ORDER BY 1, 2",
        table = literal(table),
        schemas = place.table("schemas"),
        journal = literal(&place.journal)
    )
}
