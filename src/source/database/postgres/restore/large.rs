//! Large objects have no schema: those that an archive has are replaced in place, and what they were is kept beside.

use std::collections::BTreeSet;

use super::super::connect::Session;
use super::super::large::grants;
use super::super::names::{identifier, literal};
use super::Fault;
use super::journal::Place;
use crate::source::database::Trust;

const CHUNK: u64 = 256 << 10;

/// Makes the objects of the archive, empty. Returns their numbers, and what could not be done.
pub(super) async fn replace(
    session: &mut Session,
    place: &Place,
    scheme: &str,
    trust: Trust,
) -> Result<(BTreeSet<u64>, Vec<String>), Fault> {
    let mut made = BTreeSet::new();
    let mut others = Vec::new();
    for line in scheme.lines() {
        let number = line
            .strip_prefix("SELECT pg_catalog.lo_create(")
            .and_then(|rest| rest.strip_suffix(");"));
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => drop(made.insert(number)),
            None if line.starts_with("SET client_encoding = ") || line.is_empty() => {}
            None => others.push(line),
        }
    }
    let table = place.table("large");
    let numbers: Vec<_> = made.iter().map(|number| format!("({number})")).collect();
    for some in numbers.chunks(1000) {
        session.run(&format!("INSERT INTO {table} VALUES {}", some.join(","))).await?;
    }
    keep(session, place).await?;
    session
        .run(&format!(
            "SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata m JOIN {table} l ON l.oid = m.oid; \
             SELECT pg_catalog.lo_create(oid) FROM {table}"
        ))
        .await?;
    let mut warnings = Vec::new();
    if trust == Trust::Own {
        // A comment may go over several lines.
        for statement in statements(&others) {
            session.run("SAVEPOINT large").await?;
            if let Err(error) = session.run(&statement).await {
                session.run("ROLLBACK TO SAVEPOINT large").await?;
                warnings
                    .push(format!("left out: {statement} ({})", super::super::describe(&error)));
            }
            session.run("RELEASE SAVEPOINT large").await?;
        }
    }
    Ok((made, warnings))
}

/// Lines that belong together: each statement begins with one of these words.
fn statements(lines: &[&str]) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    for line in lines {
        let begins = ["ALTER LARGE OBJECT ", "COMMENT ON LARGE OBJECT ", "GRANT "];
        match statements.last_mut() {
            Some(last) if !begins.iter().any(|begin| line.starts_with(begin)) => {
                last.push('\n');
                last.push_str(line);
            }
            _ => statements.push((*line).to_owned()),
        }
    }
    statements
}

/// Copies the live objects that will be replaced.
async fn keep(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let (table, data, sql) =
        (place.table("large"), place.table("large_data"), place.table("large_sql"));
    let query = format!(
        "SELECT count(*)::text FROM pg_catalog.pg_largeobject_metadata m JOIN {table} l ON l.oid = m.oid"
    );
    if session.value(&query).await?.as_deref() == Some("0") {
        return Ok(());
    }
    let among = format!("m.oid IN (SELECT oid FROM {table})");
    session
        .run(&format!(
            "INSERT INTO {sql} (sql) SELECT pg_catalog.format('SELECT pg_catalog.lo_create(%s); ALTER LARGE OBJECT %s \
               OWNER TO %I', m.oid, m.oid, pg_catalog.pg_get_userbyid(m.lomowner)) \
               FROM pg_catalog.pg_largeobject_metadata m WHERE {among}; \
             INSERT INTO {sql} (sql) SELECT pg_catalog.format('COMMENT ON LARGE OBJECT %s IS %L', m.oid, \
               pg_catalog.obj_description(m.oid, 'pg_largeobject')) FROM pg_catalog.pg_largeobject_metadata m \
               WHERE {among} AND pg_catalog.obj_description(m.oid, 'pg_largeobject') IS NOT NULL; \
             INSERT INTO {data} SELECT loid, chunk * {CHUNK}, pg_catalog.lo_get(loid, chunk * {CHUNK}, {CHUNK}) \
               FROM (SELECT DISTINCT loid, (pageno / ({CHUNK} / 2048))::bigint AS chunk FROM pg_catalog.pg_largeobject \
               WHERE loid IN (SELECT oid FROM {table})) p"
        ))
        .await?;
    for grant in grants(session, &among).await? {
        session.run(&format!("INSERT INTO {sql} (sql) VALUES ({})", literal(&grant))).await?;
    }
    Ok(())
}

/// Puts back what was kept.
pub(super) async fn put_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let (table, data, sql) =
        (place.table("large"), place.table("large_data"), place.table("large_sql"));
    session
        .run(&format!(
            "SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata m JOIN {table} l ON l.oid = m.oid"
        ))
        .await?;
    for statement in session.column(&format!("SELECT sql FROM {sql} ORDER BY number")).await? {
        session.run(&statement).await?;
    }
    session.run(&format!("SELECT pg_catalog.lo_put(oid, place, data) FROM {data}")).await?;
    // Done once: what is put back twice would be unlinked by the second time's first statement, and made again.
    Ok(session.run(&format!("DELETE FROM {table}; DELETE FROM {data}; DELETE FROM {sql}")).await?)
}

/// A condition on the pages of the attempt's objects.
pub(super) fn which(place: &Place) -> String {
    format!("loid IN (SELECT oid FROM {}.{})", identifier(&place.journal), identifier("large"))
}
