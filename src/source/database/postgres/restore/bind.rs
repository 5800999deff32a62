//! What binds tables that stay to tables that are replaced, and what is bound so that it cannot.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{identifier, literal, qualified};
use super::super::sqlstate;
use super::Fault;
use super::journal::{Place, Swapped};

/// A row breaks a foreign key.
const BROKEN: &str = "23503";

/// Notes every foreign key and trigger, with all names as they are when all is at rest.
pub(super) async fn note(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let bound = place.table("bound");
    session
        .run(&format!(
            "INSERT INTO {bound} SELECT 'constraint', n.nspname, c.relname, k.conname, \
               pg_catalog.format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, \
                 pg_catalog.pg_get_constraintdef(k.oid)) \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0; \
             INSERT INTO {bound} SELECT 'trigger', n.nspname, c.relname, t.tgname, \
               pg_catalog.pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE \
                 pg_catalog.format('; ALTER TABLE %I.%I %s TRIGGER %I', n.nspname, c.relname, \
                   CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, \
                   t.tgname) END \
             FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal"
        ))
        .await?;
    Ok(())
}

/// A condition on a schema's name.
fn among(column: &str, schemas: &[String]) -> String {
    match schemas.is_empty() {
        true => "false".to_owned(),
        false => {
            let names: Vec<_> = schemas.iter().map(|schema| literal(schema)).collect();
            format!("{column} IN ({})", names.join(", "))
        }
    }
}

/// Makes again, as they were noted, the foreign keys and triggers of tables outside of the schemas `away` that point
/// into them. Those that were made meanwhile are dropped.
///
/// `strict`: a foreign key that the rows break is an error; else it is made for rows to come alone.
pub(super) async fn again(
    session: &mut Session,
    place: &Place,
    away: &[String],
    strict: bool,
) -> Result<(), Fault> {
    let bound = place.table("bound");
    let query = format!(
        "SELECT 'constraint', n.nspname::text, c.relname::text, k.conname::text FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {inside} AND NOT {outside} \
         UNION ALL SELECT 'trigger', n.nspname::text, c.relname::text, t.tgname::text FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace \
         WHERE NOT t.tgisinternal AND {inside} AND NOT {outside}",
        inside = among("m.nspname", away),
        outside = among("n.nspname", away),
    );
    for row in session.rows(&query).await? {
        let (kind, schema, table, name) =
            (text(&row, 0), text(&row, 1), text(&row, 2), text(&row, 3));
        let at = qualified(&schema, &table);
        let drop = match kind.as_str() {
            "trigger" => format!("DROP TRIGGER {} ON {at}", identifier(&name)),
            _ => format!("ALTER TABLE {at} DROP CONSTRAINT {}", identifier(&name)),
        };
        let make = session
            .value(&format!(
                "SELECT make FROM {bound} WHERE kind = {} AND schema = {} AND tbl = {} AND name = {}",
                literal(&kind),
                literal(&schema),
                literal(&table),
                literal(&name)
            ))
            .await?;
        session.run(&drop).await?;
        let Some(make) = make else { continue };
        session.run("SAVEPOINT bind").await?;
        match session.run(&make).await {
            Ok(()) => {}
            Err(error) if !strict && sqlstate(&error) == BROKEN => {
                session.run("ROLLBACK TO SAVEPOINT bind").await?;
                session.run(&format!("{make} NOT VALID")).await?;
            }
            Err(error) => {
                return Err(Fault::Server(error).at(&format!(
                    "{kind} {name} of table {schema}.{table}, which the archive does not have"
                )));
            }
        }
        session.run("RELEASE SAVEPOINT bind").await?;
    }
    Ok(())
}

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
    again(session, place, &away, true).await?;
    let needing = needing(session, &away).await?;
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

/// What is outside of some schemas and needs something in them.
async fn needing(session: &mut Session, away: &[String]) -> Result<Vec<String>, Fault> {
    let catalogs = [
        ("pg_class", "relnamespace"),
        ("pg_type", "typnamespace"),
        ("pg_proc", "pronamespace"),
        ("pg_operator", "oprnamespace"),
        ("pg_opclass", "opcnamespace"),
        ("pg_opfamily", "opfnamespace"),
        ("pg_collation", "collnamespace"),
        ("pg_conversion", "connamespace"),
        ("pg_ts_config", "cfgnamespace"),
        ("pg_ts_dict", "dictnamespace"),
        ("pg_ts_parser", "prsnamespace"),
        ("pg_ts_template", "tmplnamespace"),
        ("pg_statistic_ext", "stxnamespace"),
        ("pg_default_acl", "defaclnamespace"),
    ];
    let mut inside: Vec<String> = catalogs
        .iter()
        .map(|(catalog, column)| {
            format!(
                "SELECT 'pg_catalog.{catalog}'::regclass::oid AS class, x.oid FROM pg_catalog.{catalog} x \
                 WHERE x.{column} IN (SELECT oid FROM away)"
            )
        })
        .collect();
    for (catalog, column) in [
        ("pg_constraint", "conrelid"),
        ("pg_attrdef", "adrelid"),
        ("pg_trigger", "tgrelid"),
        ("pg_policy", "polrelid"),
        ("pg_rewrite", "ev_class"),
    ] {
        inside.push(format!(
            "SELECT 'pg_catalog.{catalog}'::regclass::oid, x.oid FROM pg_catalog.{catalog} x \
             JOIN pg_catalog.pg_class c ON c.oid = x.{column} WHERE c.relnamespace IN (SELECT oid FROM away)"
        ));
    }
    inside.push(
        "SELECT 'pg_catalog.pg_constraint'::regclass::oid, x.oid FROM pg_catalog.pg_constraint x \
         JOIN pg_catalog.pg_type t ON t.oid = x.contypid WHERE t.typnamespace IN (SELECT oid FROM away)"
            .to_owned(),
    );
    inside.push(
        "SELECT 'pg_catalog.pg_amop'::regclass::oid, x.oid FROM pg_catalog.pg_amop x \
         JOIN pg_catalog.pg_opfamily f ON f.oid = x.amopfamily WHERE f.opfnamespace IN (SELECT oid FROM away)"
            .to_owned(),
    );
    inside.push(
        "SELECT 'pg_catalog.pg_amproc'::regclass::oid, x.oid FROM pg_catalog.pg_amproc x \
         JOIN pg_catalog.pg_opfamily f ON f.oid = x.amprocfamily WHERE f.opfnamespace IN (SELECT oid FROM away)"
            .to_owned(),
    );
    let query = format!(
        "WITH away AS (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE {}), \
         old AS ({}), target AS (SELECT class, oid FROM old UNION ALL \
           SELECT 'pg_catalog.pg_namespace'::regclass::oid, oid FROM away) \
         SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' needs ' || \
           pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) \
         FROM pg_catalog.pg_depend d JOIN target t ON t.class = d.refclassid AND t.oid = d.refobjid \
         LEFT JOIN old o ON o.class = d.classid AND o.oid = d.objid \
         WHERE o.oid IS NULL AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND EXISTS (SELECT 1 \
           FROM pg_catalog.pg_class x JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace \
           WHERE x.oid = d.objid AND n.nspname LIKE 'pg\\_toast%')) \
         AND d.classid <> 'pg_catalog.pg_cast'::regclass ORDER BY 1 LIMIT 20",
        among("n.nspname", away),
        inside.join(" UNION ALL ")
    );
    Ok(session.column(&query).await?)
}

/// What else is in the schemas aside and not in the new ones: it goes.
pub(super) async fn lost(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<Vec<String>, Fault> {
    let mut lost = Vec::new();
    let new: Vec<String> = schemas.iter().map(|swapped| swapped.name.clone()).collect();
    for swapped in schemas.iter().filter(|swapped| swapped.replaces) {
        let query = format!(
            "WITH o AS (SELECT n.nspname AS schema, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view' \
                 WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'partition' END AS kind, \
                 c.relname::text AS name, c.oid, 'pg_catalog.pg_class'::regclass AS class \
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('v', 'm', 'S', 'f', 'c') OR (c.relkind IN ('r', 'p') AND c.relispartition) \
             UNION ALL SELECT n.nspname, 'function', p.proname::text, p.oid, 'pg_catalog.pg_proc'::regclass \
               FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             UNION ALL SELECT n.nspname, 'type', t.typname::text, t.oid, 'pg_catalog.pg_type'::regclass \
               FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
               WHERE t.typtype IN ('e', 'd', 'r')) \
             SELECT DISTINCT kind || ' ' || name FROM o WHERE schema = {kept} \
             AND (kind <> 'partition' OR EXISTS (SELECT 1 FROM pg_catalog.pg_class r \
               JOIN pg_catalog.pg_class x ON x.relname = r.relname AND x.oid <> r.oid \
               JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace \
               WHERE r.oid = pg_catalog.pg_partition_root(o.oid) AND {among_new})) \
             AND NOT EXISTS (SELECT 1 FROM o x WHERE x.schema = {new} AND x.kind = o.kind AND x.name = o.name) \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid \
               AND d.deptype IN ('e', 'a', 'i') AND NOT (kind = 'partition' AND d.deptype = 'a')) ORDER BY 1",
            kept = literal(&place.kept(swapped.number)),
            new = literal(&swapped.name),
            among_new = among("m.nspname", &new)
        );
        let names = session.column(&query).await?;
        lost.extend(names.into_iter().map(|name| format!("{name} (schema {})", swapped.name)));
    }
    Ok(lost)
}
