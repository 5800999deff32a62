//! What cannot go because something outside needs it, and what goes because the archive does not have it.

use super::super::connect::Session;
use super::super::names::literal;
use super::Fault;
use super::journal::{Place, Swapped};

/// A condition on a schema's name.
pub(super) fn among(column: &str, schemas: &[String]) -> String {
    match schemas.is_empty() {
        true => "false".to_owned(),
        false => {
            let names: Vec<_> = schemas.iter().map(|schema| literal(schema)).collect();
            format!("{column} IN ({})", names.join(", "))
        }
    }
}

/// What is outside of some schemas and needs something in them.
pub(super) async fn needing(session: &mut Session, away: &[String]) -> Result<Vec<String>, Fault> {
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
               WHERE t.typtype IN ('e', 'd', 'r') \
             UNION ALL SELECT n.nspname, 'operator', x.oprname::text, x.oid, 'pg_catalog.pg_operator'::regclass \
               FROM pg_catalog.pg_operator x JOIN pg_catalog.pg_namespace n ON n.oid = x.oprnamespace \
             UNION ALL SELECT n.nspname, 'collation', x.collname::text, x.oid, 'pg_catalog.pg_collation'::regclass \
               FROM pg_catalog.pg_collation x JOIN pg_catalog.pg_namespace n ON n.oid = x.collnamespace \
             UNION ALL SELECT n.nspname, 'text search configuration', x.cfgname::text, x.oid, \
                 'pg_catalog.pg_ts_config'::regclass \
               FROM pg_catalog.pg_ts_config x JOIN pg_catalog.pg_namespace n ON n.oid = x.cfgnamespace \
             UNION ALL SELECT n.nspname, 'text search dictionary', x.dictname::text, x.oid, \
                 'pg_catalog.pg_ts_dict'::regclass \
               FROM pg_catalog.pg_ts_dict x JOIN pg_catalog.pg_namespace n ON n.oid = x.dictnamespace) \
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
