//! What cannot go because something outside needs it, and what goes because the archive does not have it.

use std::collections::HashSet;

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::literal;
use super::Fault;
use super::journal::{Place, Swapped};

/// The catalogs of what lies in schemas, and their columns that tell in which.
const CATALOGS: &[(&str, &str)] = &[
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
    let mut inside: Vec<String> = CATALOGS
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
         AND d.classid NOT IN ('pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_transform'::regclass) ORDER BY 1 LIMIT 20",
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
    let (kept, new): (Vec<_>, Vec<_>) = place.replaced(schemas).into_iter().unzip();
    let mut names = Vec::new();
    for name in &new {
        let quoted = format!("SELECT pg_catalog.quote_ident({})", literal(name));
        names.push(session.value(&quoted).await?.unwrap_or_default());
    }
    // What belongs to a table, a type or an extension goes and comes with it; so do statistics about tables here.
    let objects = CATALOGS.iter().filter(|(catalog, _)| {
        !matches!(*catalog, "pg_class" | "pg_statistic_ext" | "pg_default_acl")
    });
    let mut parts: Vec<String> = objects
        .map(|(catalog, column)| {
            format!(
                "SELECT 'pg_catalog.{catalog}'::regclass AS class, oid, {column} AS schema, false AS is_part \
                 FROM pg_catalog.{catalog}"
            )
        })
        .collect();
    parts.push(
        "SELECT 'pg_catalog.pg_class'::regclass, oid, relnamespace, relispartition FROM pg_catalog.pg_class \
         WHERE relkind IN ('v', 'm', 'S', 'f') OR (relkind IN ('r', 'p') AND relispartition)"
            .to_owned(),
    );
    let about: Vec<String> = kept.iter().chain(&new).cloned().collect();
    parts.push(format!(
        "SELECT 'pg_catalog.pg_statistic_ext'::regclass, s.oid, s.stxnamespace, false FROM pg_catalog.pg_statistic_ext s \
         JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT {}",
        among("n.nspname", &about)
    ));
    let query = format!(
        "SELECT CASE WHEN o.is_part THEN 'partition' ELSE i.type END || ' ' || i.identity, ({is_new})::text \
         FROM ({}) o JOIN pg_catalog.pg_namespace n ON n.oid = o.schema, \
         LATERAL pg_catalog.pg_identify_object(o.class, o.oid, 0) i \
         WHERE {is_new} OR ({} \
           AND (NOT o.is_part OR EXISTS (SELECT 1 FROM pg_catalog.pg_class r \
             JOIN pg_catalog.pg_class x ON x.relname = r.relname AND x.oid <> r.oid \
             JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace \
             WHERE r.oid = pg_catalog.pg_partition_root(o.oid) AND {})) \
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid \
             AND d.objsubid = 0 AND (d.deptype IN ('e', 'i') OR d.deptype = 'a' AND NOT o.is_part \
             AND o.class NOT IN ('pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_statistic_ext'::regclass)))) ORDER BY 1",
        parts.join(" UNION ALL "),
        among("n.nspname", &kept),
        among("m.nspname", &new),
        is_new = among("n.nspname", &new),
    );
    let rows = session.rows(&query).await?;
    let (there, gone): (Vec<_>, Vec<_>) = rows.iter().partition(|row| text(row, 1) == "true");
    let there: HashSet<String> = there.into_iter().map(|row| text(row, 0)).collect();
    let mut lost: Vec<String> = gone
        .into_iter()
        .map(|row| {
            // As everybody knows it; the last schema first, for its number may begin with that of another.
            let aside = kept.iter().zip(&names).rev();
            aside.fold(text(row, 0), |name, (kept, known)| name.replace(kept, known))
        })
        .filter(|name| !there.contains(name))
        .collect();
    lost.dedup();
    Ok(lost)
}
