//! What stays and is bound to what is replaced: foreign keys and triggers of other tables; event triggers, casts,
//! transforms and publications, which have no schema.

use super::super::catalog::{number, text};
use super::super::connect::Session;
use super::super::names::literal;
use super::super::sqlstate;
use super::journal::Place;
use super::lost::among;
use super::{BROKEN_KEY, Fault};

/// A publication has it already; or it is gone: a table, a column, a schema.
const MADE_OR_GONE: &[&str] = &["42710", "42P01", "42703", "3F000"];

/// The name of a cast `x`.
const CAST_NAME: &str = "pg_catalog.format('%s AS %s', pg_catalog.format_type(x.castsource, NULL), \
     pg_catalog.format_type(x.casttarget, NULL))";

/// The name of a transform `x` for a language `l`.
const TRANSFORM_NAME: &str =
    "pg_catalog.format('%s LANGUAGE %I', pg_catalog.format_type(x.trftype, NULL), l.lanname)";

/// A condition on a trigger `t`: a user's, and not that of a partition, which comes and goes with its table's.
const TRIGGER: &str = "NOT t.tgisinternal AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
     WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid \
     AND d.refclassid = 'pg_catalog.pg_trigger'::regclass)";

/// Since PostgreSQL 15 a publication may have whole schemas, and of a table some columns and rows.
async fn of_15(session: &mut Session) -> Result<bool, Fault> {
    let row = session.rows("SELECT current_setting('server_version_num')").await?;
    Ok(row.first().is_some_and(|row| number(row, 0) >= 150_000))
}

/// Notes all of them, with all names as they are when all is at rest.
pub(super) async fn note(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let of_15 = of_15(session).await?;
    let part = match of_15 {
        true => {
            "COALESCE(' (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) \
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])) || ')', \
               '') || COALESCE(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '')"
        }
        false => "''",
    };
    let mut queries = vec![
        "SELECT 'constraint', n.nspname, c.relname, k.conname, \
           pg_catalog.format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, \
             pg_catalog.pg_get_constraintdef(k.oid)) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0"
            .to_owned(),
        "SELECT 'constraint comment', n.nspname, c.relname, k.conname, \
           pg_catalog.format('COMMENT ON CONSTRAINT %I ON %I.%I IS %L', k.conname, n.nspname, c.relname, d.description) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_description d ON d.objoid = k.oid AND d.classoid = 'pg_catalog.pg_constraint'::regclass \
         WHERE k.contype = 'f' AND k.conparentid = 0"
            .to_owned(),
        // Those of its partitions come with the one of a partitioned table, and each is enabled or not by itself.
        format!(
            "SELECT 'trigger', n.nspname, c.relname, t.tgname, \
               pg_catalog.pg_get_triggerdef(t.oid) || COALESCE((SELECT pg_catalog.string_agg( \
                 pg_catalog.format('; ALTER TABLE ONLY %s %s TRIGGER %I', x.tgrelid::regclass, \
                   CASE x.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, \
                   x.tgname), '') FROM pg_catalog.pg_trigger x \
                 WHERE x.tgname = t.tgname AND NOT x.tgisinternal AND x.tgenabled <> 'O' AND (x.tgrelid = t.tgrelid \
                   OR x.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.tgrelid)))), '') \
             FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {TRIGGER}"
        ),
        format!(
            "SELECT 'trigger comment', n.nspname, c.relname, t.tgname, \
               pg_catalog.format('COMMENT ON TRIGGER %I ON %I.%I IS %L', t.tgname, n.nspname, c.relname, d.description) \
             FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_catalog.pg_trigger'::regclass \
             WHERE {TRIGGER}"
        ),
        format!(
            "SELECT 'cast', '', '', {CAST_NAME}, \
               pg_catalog.format('CREATE CAST (%s) WITH FUNCTION %I.%I(%s)%s%s', {CAST_NAME}, n.nspname, p.proname, \
                 pg_catalog.pg_get_function_identity_arguments(p.oid), \
                 CASE x.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END, \
                 '; COMMENT ON CAST (' || {CAST_NAME} || ') IS ' || \
                   pg_catalog.quote_literal(pg_catalog.obj_description(x.oid, 'pg_cast'))) \
             FROM pg_catalog.pg_cast x JOIN pg_catalog.pg_proc p ON p.oid = x.castfunc \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname <> 'pg_catalog'"
        ),
        // Functions need it, so it is changed, and keeps its comment.
        format!(
            "SELECT 'transform', '', '', {TRANSFORM_NAME}, \
               pg_catalog.format('CREATE OR REPLACE TRANSFORM FOR %s (%s)', {TRANSFORM_NAME}, ( \
                 SELECT pg_catalog.string_agg(pg_catalog.format('%s SQL WITH FUNCTION %I.%I(%s)', f.way, n.nspname, \
                   p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), ', ') \
                 FROM (VALUES ('FROM', x.trffromsql::oid), ('TO', x.trftosql::oid)) f (way, oid) \
                 JOIN pg_catalog.pg_proc p ON p.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace)) \
             FROM pg_catalog.pg_transform x JOIN pg_catalog.pg_language l ON l.oid = x.trflang"
        ),
        "SELECT 'event trigger', '', '', e.evtname, \
           pg_catalog.format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %I.%I()', e.evtname, e.evtevent, \
             ' WHEN TAG IN (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(t), ', ') \
               FROM pg_catalog.unnest(e.evttags) t) || ')', n.nspname, p.proname) || \
           CASE e.evtenabled WHEN 'O' THEN '' ELSE pg_catalog.format('; ALTER EVENT TRIGGER %I %s', e.evtname, \
             CASE e.evtenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END) END || \
           CASE pg_catalog.pg_get_userbyid(e.evtowner) WHEN current_user THEN '' ELSE pg_catalog.format( \
             '; ALTER EVENT TRIGGER %I OWNER TO %I', e.evtname, pg_catalog.pg_get_userbyid(e.evtowner)) END || \
           COALESCE('; COMMENT ON EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname) || ' IS ' || \
             pg_catalog.quote_literal(pg_catalog.obj_description(e.oid, 'pg_event_trigger')), '') \
         FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
            .to_owned(),
        format!(
            "SELECT 'publication', n.nspname, c.relname, p.pubname, \
               pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I%s', p.pubname, n.nspname, c.relname, {part}) \
             FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
             JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        ),
    ];
    if of_15 {
        queries.push(
            "SELECT 'publication', n.nspname, '', p.pubname, \
               pg_catalog.format('ALTER PUBLICATION %I ADD TABLES IN SCHEMA %I', p.pubname, n.nspname) \
             FROM pg_catalog.pg_publication_namespace r JOIN pg_catalog.pg_publication p ON p.oid = r.pnpubid \
             JOIN pg_catalog.pg_namespace n ON n.oid = r.pnnspid"
                .to_owned(),
        );
    }
    for query in queries {
        session.run(&format!("INSERT INTO {} {query}", place.table("bound"))).await?;
    }
    Ok(())
}

/// Lets no event trigger run whose function is about to be replaced: what that needs may not be there meanwhile.
/// [`again`] makes it as it was noted.
pub(super) async fn silence(session: &mut Session, schemas: &[String]) -> Result<(), Fault> {
    let query = format!(
        "SELECT pg_catalog.format('ALTER EVENT TRIGGER %I DISABLE', e.evtname) FROM pg_catalog.pg_event_trigger e \
         JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE e.evtenabled <> 'D' AND {}",
        among("n.nspname", schemas)
    );
    for statement in session.column(&query).await? {
        session.run(&statement).await?;
    }
    Ok(())
}

/// Makes again, as they were noted, those that are outside of the schemas `away` and point into them. Those that were
/// made meanwhile are dropped; on the way to the swap, so are foreign keys out of the schemas: [`put_back`] has them
/// again.
///
/// `strict`: a foreign key that the rows break is an error; else it is made for rows to come alone.
pub(super) async fn again(
    session: &mut Session,
    place: &Place,
    away: &[String],
    strict: bool,
) -> Result<(), Fault> {
    let bound = place.table("bound");
    if strict {
        for statement in session.column(&leaving(away)).await? {
            session.run(&statement).await?;
        }
    }
    let pointing = pointing(of_15(session).await?, away);
    for row in session.rows(&pointing).await? {
        let (kind, schema, table, name) =
            (text(&row, 0), text(&row, 1), text(&row, 2), text(&row, 3));
        let noted = session
            .column(&format!(
                "SELECT make FROM {bound} WHERE kind IN ({}, {}) AND schema = {} AND tbl = {} AND name = {} ORDER BY kind",
                literal(&kind),
                literal(&format!("{kind} comment")),
                literal(&schema),
                literal(&table),
                literal(&name)
            ))
            .await?;
        session.run(&text(&row, 4)).await?;
        let Some((make, comments)) = noted.split_first() else { continue };
        make_noted(session, make, comments, strict).await.map_err(|fault| {
            let of = match table.as_str() {
                "" => String::new(),
                _ => format!(" of table {schema}.{table}"),
            };
            fault.at(&format!("{kind} {name}{of}, which the archive does not have"))
        })?;
    }
    publish(session, &bound).await
}

/// Makes what was noted, and its comment. `strict`: as [`again`] has it.
async fn make_noted(
    session: &mut Session,
    make: &str,
    comments: &[String],
    strict: bool,
) -> Result<(), Fault> {
    session.run("SAVEPOINT bind").await?;
    match session.run(make).await {
        Err(error) if !strict && sqlstate(&error) == BROKEN_KEY => {
            session.run("ROLLBACK TO SAVEPOINT bind").await?;
            session.run(&format!("{make} NOT VALID")).await?;
        }
        made => made?,
    }
    session.run("RELEASE SAVEPOINT bind").await?;
    for comment in comments {
        session.run(comment).await?;
    }
    Ok(())
}

/// Makes the foreign keys again that [`again`] took from tables which are back.
pub(super) async fn put_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let query = format!(
        "SELECT b.make, c.make FROM {bound} b LEFT JOIN {bound} c ON c.kind = 'constraint comment' \
           AND (c.schema, c.tbl, c.name) = (b.schema, b.tbl, b.name), \
         LATERAL (SELECT pg_catalog.to_regclass(pg_catalog.format('%I.%I', b.schema, b.tbl)) AS oid) t \
         WHERE b.kind = 'constraint' AND t.oid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k \
           WHERE k.conrelid = t.oid AND k.conname = b.name) \
         AND b.schema IN (SELECT name FROM {schemas} WHERE replaces)",
        bound = place.table("bound"),
        schemas = place.table("schemas")
    );
    for row in session.rows(&query).await? {
        let comments: Vec<String> = row.get(1).cloned().flatten().into_iter().collect();
        // The portal was at work meanwhile: what a key needs may be gone, and that must not keep all else from its place.
        session.run("SAVEPOINT back").await?;
        match make_noted(session, &text(&row, 0), &comments, false).await {
            Ok(()) => {}
            Err(fault) if session.is_broken() => return Err(fault),
            Err(fault) => {
                session.run("ROLLBACK TO SAVEPOINT back").await?;
                let (key, why) = (text(&row, 0), fault.text());
                tracing::warn!(key, why, "a foreign key could not be put back");
            }
        }
        session.run("RELEASE SAVEPOINT back").await?;
    }
    Ok(())
}

/// A query of what drops foreign keys out of schemas: they would go on watching the tables that stay.
fn leaving(away: &[String]) -> String {
    format!(
        "SELECT pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, k.conname) \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {} AND NOT {}",
        among("n.nspname", away),
        among("m.nspname", away)
    )
}

/// A query of what points into schemas: its kind, schema, table and name, and what drops it
/// (nothing where making it again replaces it). Event triggers come last,
/// so that they see nothing of the rest.
fn pointing(of_15: bool, away: &[String]) -> String {
    let (inside, outside) = (among("m.nspname", away), among("n.nspname", away));
    let mut query = format!(
        "SELECT 1, 'constraint', n.nspname::text, c.relname::text, k.conname::text, \
           pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, k.conname) \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {inside} AND NOT {outside} \
         UNION ALL SELECT 2, 'trigger', n.nspname::text, c.relname::text, t.tgname::text, \
           pg_catalog.format('DROP TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname) FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace \
         WHERE {TRIGGER} AND {inside} AND NOT {outside} \
         UNION ALL SELECT 3, 'cast', '', '', {CAST_NAME}, pg_catalog.format('DROP CAST (%s)', {CAST_NAME}) \
         FROM pg_catalog.pg_cast x JOIN pg_catalog.pg_proc p ON p.oid = x.castfunc \
         JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace WHERE {inside} AND NOT EXISTS (SELECT 1 \
           FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
           WHERE t.oid IN (x.castsource, x.casttarget) AND {outside}) \
         UNION ALL SELECT 3, 'transform', '', '', {TRANSFORM_NAME}, 'SELECT' \
         FROM pg_catalog.pg_transform x JOIN pg_catalog.pg_language l ON l.oid = x.trflang \
         WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace \
           WHERE p.oid IN (x.trffromsql, x.trftosql) AND {inside}) AND NOT EXISTS (SELECT 1 \
           FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
           WHERE t.oid = x.trftype AND {outside}) \
         UNION ALL SELECT 4, 'publication', '', '', '', pg_catalog.format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', \
           b.pubname, m.nspname, c.relname) \
         FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication b ON b.oid = r.prpubid \
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace \
         WHERE {inside} \
         UNION ALL SELECT 6, 'event trigger', '', '', e.evtname::text, pg_catalog.format('DROP EVENT TRIGGER %I', e.evtname) \
         FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid \
         JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace WHERE {inside}"
    );
    if of_15 {
        query += &format!(
            " UNION ALL SELECT 5, 'publication', '', '', '', \
               pg_catalog.format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %I', b.pubname, m.nspname) \
             FROM pg_catalog.pg_publication_namespace r JOIN pg_catalog.pg_publication b ON b.oid = r.pnpubid \
             JOIN pg_catalog.pg_namespace m ON m.oid = r.pnnspid WHERE {inside}"
        );
    }
    let columns = "kind, schema, tbl, name, make";
    format!("SELECT {columns} FROM ({query}) AS found (place, {columns}) ORDER BY place")
}

/// Has publications hold what they held, as far as it is there and the archive has not said otherwise.
async fn publish(session: &mut Session, bound: &str) -> Result<(), Fault> {
    let noted = format!("SELECT make FROM {bound} WHERE kind = 'publication'");
    for make in session.column(&noted).await? {
        session.run("SAVEPOINT bind").await?;
        match session.run(&make).await {
            Err(error) if MADE_OR_GONE.contains(&sqlstate(&error).as_str()) => {
                session.run("ROLLBACK TO SAVEPOINT bind").await?;
            }
            other => other.map_err(|error| Fault::Server(error).at(&make))?,
        }
        session.run("RELEASE SAVEPOINT bind").await?;
    }
    Ok(())
}
