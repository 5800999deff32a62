//! Schemas: put aside, made anew, put back, dropped.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::names::{DEFAULT_SCHEMA, identifier, literal};
use super::journal::{Place, Swapped};
use super::{Fault, MAY_GIVE};

pub(super) async fn rename(session: &mut Session, from: &str, to: &str) -> Result<(), Fault> {
    let statement = format!("ALTER SCHEMA {} RENAME TO {}", identifier(from), identifier(to));
    Ok(session.run(&statement).await?)
}

pub(super) async fn exists(session: &mut Session, schema: &str) -> Result<bool, Fault> {
    let query = format!(
        "SELECT '1'::text FROM pg_catalog.pg_namespace WHERE nspname = {}",
        literal(schema)
    );
    Ok(session.value(&query).await?.is_some())
}

/// Whether a schema is the server's or ours, by its name.
pub(super) fn is_reserved(schema: &str) -> bool {
    let name = schema.to_ascii_lowercase();
    name.starts_with("pg_") || name == "information_schema" || name.starts_with("portal_backup_")
}

/// Whether a schema is the server's, an extension's, or ours: never replaced.
pub(super) async fn is_fixed(session: &mut Session, schema: &str) -> Result<bool, Fault> {
    if is_reserved(schema) {
        return Ok(true);
    }
    let query = format!(
        "SELECT '1'::text FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_depend d ON d.objid = n.oid \
         AND d.classid = 'pg_catalog.pg_namespace'::regclass AND d.deptype = 'e' WHERE n.nspname = {}",
        literal(schema)
    );
    Ok(session.value(&query).await?.is_some())
}

/// Whether an extension lies in a schema that cannot be moved to another.
pub(super) async fn holds_fixed(session: &mut Session, schema: &str) -> Result<bool, Fault> {
    let query = format!(
        "SELECT '1'::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
         WHERE NOT e.extrelocatable AND n.nspname = {}",
        literal(schema)
    );
    Ok(session.value(&query).await?.is_some())
}

/// Renames a live schema, if there is one, and makes an empty one of its name, with its owner and comment.
///
/// `grants`: it gets the live one's grants too; else those that a new database has.
pub(super) async fn replace(
    session: &mut Session,
    place: &Place,
    swapped: &Swapped,
    grants: bool,
) -> Result<(), Fault> {
    let name = identifier(&swapped.name);
    place.add_schema(session, swapped).await?;
    if !swapped.replaces {
        return Ok(session.run(&format!("CREATE SCHEMA {name}")).await?);
    }
    let kept = place.kept(swapped.number);
    rename(session, &swapped.name, &kept).await?;
    session.run(&format!("CREATE SCHEMA {name}")).await?;
    let query = format!(
        "SELECT r.rolname::text, pg_catalog.obj_description(n.oid, 'pg_namespace'), \
         pg_catalog.pg_has_role(r.oid, {MAY_GIVE})::text \
         FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname = {}",
        literal(&kept)
    );
    let row = session.rows(&query).await?.pop().unwrap_or_default();
    if let Some(Some(comment)) = row.get(1) {
        session.run(&format!("COMMENT ON SCHEMA {name} IS {}", literal(comment))).await?;
    }
    // Before the owner is another, who may have the right alone.
    if grants {
        copy_grants(session, &kept, &swapped.name).await?;
    } else if swapped.name == DEFAULT_SCHEMA {
        let version = session.value("SELECT current_setting('server_version_num')").await?;
        let old = version.and_then(|version| version.parse().ok()).unwrap_or(0u32) < 150_000;
        let rights = if old { "ALL" } else { "USAGE" };
        session.run(&format!("GRANT {rights} ON SCHEMA {name} TO PUBLIC")).await?;
    }
    if text(&row, 2) == "true" {
        session
            .run(&format!("ALTER SCHEMA {name} OWNER TO {}", identifier(&text(&row, 0))))
            .await?;
    }
    Ok(())
}

async fn copy_grants(session: &mut Session, from: &str, to: &str) -> Result<(), Fault> {
    let query = format!(
        "SELECT COALESCE(r.rolname, '')::text, a.privilege_type::text, a.is_grantable::text \
         FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a \
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE n.nspname = {} AND a.grantee <> n.nspowner",
        literal(from)
    );
    for row in session.rows(&query).await? {
        let role = text(&row, 0);
        let role = if role.is_empty() { "PUBLIC".to_owned() } else { identifier(&role) };
        let option = if text(&row, 2) == "true" { " WITH GRANT OPTION" } else { "" };
        let grant =
            format!("GRANT {} ON SCHEMA {} TO {role}{option}", text(&row, 1), identifier(to));
        session.run(&grant).await?;
    }
    Ok(())
}

/// Drops a schema, if it is there: its tables a few at a time, because each needs several of the server's locks.
pub(super) async fn drop(session: &mut Session, schema: &str) -> Result<(), Fault> {
    if !exists(session, schema).await? {
        return Ok(());
    }
    let query = format!(
        "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
        literal(schema)
    );
    let mut statements: Vec<String> = Vec::new();
    for some in session.column(&query).await?.chunks(50) {
        statements.push(format!("DROP TABLE IF EXISTS {} CASCADE", some.join(", ")));
    }
    statements.push(format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema)));
    quietly(session, &statements).await
}

/// Runs statements, each in a transaction of its own, in which no event trigger runs: one may forbid to drop anything,
/// or do something with what is dropped, and to a portal nothing is dropped here.
pub(super) async fn quietly(session: &mut Session, statements: &[String]) -> Result<(), Fault> {
    // Those of others cannot be silenced.
    let query = "SELECT pg_catalog.format('ALTER EVENT TRIGGER %I DISABLE', evtname), \
         pg_catalog.format('ALTER EVENT TRIGGER %I ENABLE%s', evtname, \
           CASE evtenabled WHEN 'R' THEN ' REPLICA' WHEN 'A' THEN ' ALWAYS' ELSE '' END) \
         FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D' AND pg_catalog.pg_has_role(evtowner, 'USAGE')";
    let triggers = session.rows(query).await?;
    let join =
        |column: usize| -> String { triggers.iter().map(|row| text(row, column) + "; ").collect() };
    let (silence, again) = (join(0), join(1));
    for statement in statements {
        // One message is one transaction.
        session.run(&format!("{silence}{statement}; {again}")).await?;
    }
    Ok(())
}
