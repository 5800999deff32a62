//! Large objects have no schema: those that an archive has are replaced in place, and what they were is kept beside.
//!
//! To unlink one, or to give it away, takes a lock until the transaction ends, and a server has some thousands. So one
//! that is there is emptied, and one that is not is made in the role of its owner, wherever that will do.

use std::collections::BTreeSet;

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::describe;
use super::super::items::skip;
use super::super::large::{CHUNK, create, created, grants, pieces};
use super::super::names::{identifier, literal};
use super::Fault;
use super::journal::Place;
use crate::source::database::Trust;

/// How many are unlinked in one transaction.
const AT_ONCE: usize = 1000;

/// What a scheme says.
#[derive(Default)]
struct Scheme<'a> {
    /// The objects, with their owners in SQL.
    made: Vec<(Option<&'a str>, Vec<u64>)>,
    /// Comments and grants.
    others: Vec<&'a str>,
}

impl<'a> Scheme<'a> {
    fn read(text: &'a str) -> Self {
        let (mut scheme, mut owner) = (Self::default(), None);
        for statement in statements(text) {
            if let Some(numbers) = created(statement) {
                scheme.made.push((owner, numbers));
            } else if let Some(role) = statement.strip_prefix("SET ROLE ") {
                owner = role.strip_suffix(';');
            } else if statement == "RESET ROLE;" {
                owner = None;
            } else if !statement.starts_with("SET client_encoding = ") {
                scheme.others.push(statement);
            }
        }
        scheme
    }
}

/// Makes the objects of the archive, empty. Returns their numbers, and what could not be done.
pub(super) async fn replace(
    session: &mut Session,
    place: &Place,
    scheme: &str,
    trust: Trust,
) -> Result<(BTreeSet<u64>, Vec<String>), Fault> {
    let scheme = Scheme::read(scheme);
    let table = place.table("large");
    let user = session.value("SELECT current_user::text").await?.unwrap_or_default();
    for (owner, numbers) in &scheme.made {
        let owner = owner.filter(|_| trust == Trust::Own).and_then(unquoted);
        let owner = literal(&owner.unwrap_or_else(|| user.clone()));
        for some in numbers.chunks(1000) {
            let rows: Vec<_> = some.iter().map(|number| format!("({number}, {owner})")).collect();
            let insert = format!("INSERT INTO {table} (oid, owner) VALUES {}", rows.join(","));
            session.run(&insert).await?;
        }
    }
    keep(session, place).await?;
    let mut warnings = empty(session, place, "owner").await?;
    if trust == Trust::Own {
        for statement in &scheme.others {
            session.run("SAVEPOINT large").await?;
            if let Err(error) = session.run(statement).await {
                session.run("ROLLBACK TO SAVEPOINT large").await?;
                warnings.push(format!("left out: {statement} ({})", describe(&error)));
            }
            session.run("RELEASE SAVEPOINT large").await?;
        }
    }
    Ok((scheme.made.into_iter().flat_map(|(_, numbers)| numbers).collect(), warnings))
}

/// A quoted name's own text.
fn unquoted(name: &str) -> Option<String> {
    Some(name.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\""))
}

/// The statements of a text, each with its semicolon.
fn statements(text: &str) -> Vec<&str> {
    let (mut statements, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let ends = text.as_bytes()[at] == b';';
        at = skip(text, at);
        if ends {
            statements.push(text[start..at].trim());
            start = at;
        }
    }
    let rest = text[start..].trim();
    statements.extend((!rest.is_empty()).then_some(rest));
    statements
}

/// Has every object for which `column` of the journal names an owner: empty, its owner's, with no grant or comment.
async fn empty(session: &mut Session, place: &Place, column: &str) -> Result<Vec<String>, Fault> {
    let table = place.table("large");
    let objects = format!("pg_catalog.pg_largeobject_metadata m JOIN {table} l ON l.oid = m.oid");
    let right = format!(
        "m.lomacl IS NULL AND pg_catalog.obj_description(m.oid, 'pg_largeobject') IS NULL \
         AND pg_catalog.pg_get_userbyid(m.lomowner) = l.{column}"
    );
    session
        .run(&format!(
            "SELECT pg_catalog.lo_unlink(m.oid) FROM {objects} WHERE l.{column} IS NOT NULL AND NOT ({right}); \
             SELECT pg_catalog.lo_close(fd) FROM (SELECT fd, pg_catalog.lo_truncate64(fd, 0) FROM \
             (SELECT pg_catalog.lo_open(m.oid, 131072) AS fd FROM {objects} WHERE {right} OFFSET 0) a OFFSET 0) b"
        ))
        .await?;
    let missing = format!(
        "SELECT owner, pg_catalog.string_agg(oid::text, ',') FROM (SELECT l.{column} AS owner, l.oid, \
         pg_catalog.row_number() OVER (PARTITION BY l.{column}) / 1000 AS part FROM {table} l WHERE l.{column} IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = l.oid)) n GROUP BY owner, part"
    );
    let user = session.value("SELECT current_user::text").await?;
    let mut warnings = Vec::new();
    for row in session.rows(&missing).await? {
        let (owner, create) = (text(&row, 0), create(&text(&row, 1)));
        session.run("SAVEPOINT large").await?;
        let role = format!("SET LOCAL ROLE {}", identifier(&owner));
        if user.as_deref() != Some(owner.as_str())
            && let Err(error) = session.run(&role).await
        {
            session.run("ROLLBACK TO SAVEPOINT large").await?;
            let warning = format!("they cannot be given to role {owner} ({})", describe(&error));
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        session.run(&create).await?;
        session.run("RESET ROLE; RELEASE SAVEPOINT large").await?;
    }
    Ok(warnings)
}

/// Copies the live objects that will be replaced.
async fn keep(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let (table, data, sql) =
        (place.table("large"), place.table("large_data"), place.table("large_sql"));
    session
        .run(&format!(
            "UPDATE {table} l SET was = pg_catalog.pg_get_userbyid(m.lomowner) \
               FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = l.oid; \
             INSERT INTO {sql} (sql) SELECT pg_catalog.format('COMMENT ON LARGE OBJECT %s IS %L', oid, \
               pg_catalog.obj_description(oid, 'pg_largeobject')) FROM {table} \
               WHERE was IS NOT NULL AND pg_catalog.obj_description(oid, 'pg_largeobject') IS NOT NULL"
        ))
        .await?;
    let kept = format!("SELECT oid FROM {table} WHERE was IS NOT NULL");
    let pieces = pieces(session, Some(&kept)).await?;
    session
        .run(&format!(
            "INSERT INTO {data} SELECT loid, chunk * {CHUNK}, pg_catalog.lo_get(loid, chunk * {CHUNK}, {CHUNK}) \
             FROM ({pieces}) p"
        ))
        .await?;
    for grant in grants(session, &format!("m.oid IN ({kept})")).await? {
        session.run(&format!("INSERT INTO {sql} (sql) VALUES ({})", literal(&grant))).await?;
    }
    Ok(())
}

/// Puts back what was kept. Those that were not there before are left to [`drop_new`].
pub(super) async fn put_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let (table, data, sql) =
        (place.table("large"), place.table("large_data"), place.table("large_sql"));
    for warning in empty(session, place, "was").await? {
        tracing::warn!(%warning, "large objects are put back");
    }
    for statement in session.column(&format!("SELECT sql FROM {sql} ORDER BY number")).await? {
        session.run(&statement).await?;
    }
    session.run(&format!("SELECT pg_catalog.lo_put(oid, place, data) FROM {data}")).await?;
    let done = format!("DELETE FROM {table} WHERE was IS NOT NULL; TRUNCATE {data}, {sql}");
    Ok(session.run(&done).await?)
}

/// Unlinks the objects that were not there before, when all else was put back and committed.
pub(super) async fn drop_new(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let table = place.table("large");
    let some = format!(
        "WITH gone AS (DELETE FROM {table} WHERE oid IN (SELECT oid FROM {table} LIMIT {AT_ONCE}) RETURNING oid) \
         SELECT (SELECT count(pg_catalog.lo_unlink(m.oid)) FROM pg_catalog.pg_largeobject_metadata m \
           JOIN gone ON gone.oid = m.oid)::text WHERE EXISTS (SELECT 1 FROM gone)"
    );
    while session.value(&some).await?.is_some() {}
    Ok(())
}

/// A query of the attempt's objects.
pub(super) fn numbers(place: &Place) -> String {
    format!("SELECT oid FROM {}", place.table("large"))
}
