//! Extensions: there is one of each in a database, so they move along with their schema's name.

use std::collections::BTreeSet;

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::items::Item;
use super::super::names::{DEFAULT_SCHEMA, identifier, literal};
use super::Fault;
use super::journal::{Place, Swapped};
use crate::source::database::Trust;

async fn move_to(session: &mut Session, extension: &str, schema: &str) -> Result<(), Fault> {
    let (extension, schema) = (identifier(extension), identifier(schema));
    let statement = format!("ALTER EXTENSION {extension} SET SCHEMA {schema}");
    session
        .run(&statement)
        .await
        .map_err(|error| Fault::Server(error).at(&format!("extension {extension}")))
}

async fn note(session: &mut Session, place: &Place, name: &str, schema: &str) -> Result<(), Fault> {
    let statement = format!(
        "INSERT INTO {} VALUES ({}, {}) ON CONFLICT DO NOTHING",
        place.table("extensions"),
        literal(name),
        literal(schema)
    );
    Ok(session.run(&statement).await?)
}

/// Moves those of the schemas that were put aside into the new ones.
pub(super) async fn follow(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<(), Fault> {
    for swapped in schemas.iter().filter(|swapped| swapped.replaces) {
        let query = format!(
            "SELECT e.extname::text FROM pg_catalog.pg_extension e \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = {} ORDER BY 1",
            literal(&place.kept(swapped.number))
        );
        for extension in session.column(&query).await? {
            note(session, place, &extension, &swapped.name).await?;
            move_to(session, &extension, &swapped.name).await?;
        }
    }
    Ok(())
}

/// Why an extension of an archive that is not ours is refused: where it would lie is the archive's word alone.
pub(super) fn judge(item: &Item, schemas: &BTreeSet<String>) -> Result<(), String> {
    let usual = ["pg_catalog", DEFAULT_SCHEMA];
    match schema_of(&item.sql) {
        Some(schema) if !schemas.contains(&schema) && !usual.contains(&schema.as_str()) => {
            Err(format!("it names schema {schema:?}, which is not restored"))
        }
        _ => Ok(()),
    }
}

/// Has an extension that the archive names: made, or moved to where the archive has it. An archive that is not ours moves
/// none.
pub(super) async fn ensure(
    session: &mut Session,
    place: &Place,
    item: &Item,
    trust: Trust,
) -> Result<(), Fault> {
    let name = &item.name;
    let query = format!(
        "SELECT n.nspname::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n \
         ON n.oid = e.extnamespace WHERE e.extname = {}",
        literal(name)
    );
    let there = session.value(&query).await?;
    let wanted = schema_of(&item.sql);
    match there {
        None => {
            if trust == Trust::Foreign && !is_trusted(session, name).await? {
                return Err(Fault::Text(format!(
                    "the archive is not one of this service's own, and extension {name} is not one that anybody may \
                     install: install it first, or trust the archive"
                )));
            }
            let at = wanted.map(|schema| format!(" WITH SCHEMA {}", identifier(&schema)));
            let sql = format!("CREATE EXTENSION {}{}", identifier(name), at.unwrap_or_default());
            session
                .run(&sql)
                .await
                .map_err(|error| Fault::Server(error).at(&format!("extension {name}")))
        }
        Some(there) => match wanted.filter(|wanted| *wanted != there) {
            Some(wanted) if there != "pg_catalog" && trust == Trust::Foreign => {
                Err(Fault::Text(format!(
                    "the archive is not one of this service's own, and has extension {name} in schema {wanted}, while it \
                     lies in {there}: move it first, or trust the archive"
                )))
            }
            Some(wanted) if there != "pg_catalog" => {
                note(session, place, name, &there).await?;
                move_to(session, name, &wanted).await
            }
            _ => Ok(()),
        },
    }
}

/// Puts them back where they were, when the schemas have their names again.
pub(super) async fn put_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let query = format!(
        "SELECT x.name, x.schema FROM {} x JOIN pg_catalog.pg_extension e ON e.extname = x.name \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname <> x.schema",
        place.table("extensions")
    );
    for row in session.rows(&query).await? {
        move_to(session, &text(&row, 0), &text(&row, 1)).await?;
    }
    Ok(())
}

/// Whether anybody with rights on the database may install it: it runs no code that its user could not.
async fn is_trusted(session: &mut Session, name: &str) -> Result<bool, Fault> {
    let version = session.value("SELECT current_setting('server_version_num')").await?;
    if version.and_then(|version| version.parse().ok()).unwrap_or(0u32) < 130_000 {
        return Ok(false);
    }
    let query = format!(
        "SELECT bool_and(trusted)::text FROM pg_catalog.pg_available_extension_versions WHERE name = {}",
        literal(name)
    );
    Ok(session.value(&query).await?.as_deref() == Some("true"))
}

/// The schema in `CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA y;`.
fn schema_of(sql: &str) -> Option<String> {
    let (_, schema) = sql.split_once(" WITH SCHEMA ")?;
    let schema = schema.trim().strip_suffix(';')?.trim();
    match schema.strip_prefix('"') {
        Some(quoted) => Some(quoted.strip_suffix('"')?.replace("\"\"", "\"")),
        None => Some(schema.to_owned()),
    }
}
