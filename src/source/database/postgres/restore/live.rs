//! What a restore finds in the live database.

use std::path::Path;

use sqlx::Error;

use super::super::catalog::{self, text};
use super::super::connect::Session;
use super::super::large;
use super::super::names::LARGE_OBJECTS;
use super::super::url::Target;
use super::super::{failed, open};
use super::{Fault, digest as digests};
use crate::source::database::{DatabaseError, Live, LiveTable, warning};
use crate::source::restore::Space;

pub(in super::super) async fn live(target: &Target) -> Result<Live, DatabaseError> {
    let (mut session, server) = open(target).await?;
    let found = read(&mut session).await;
    let (tables, space, problems) =
        found.map_err(|error| failed(&target.name, "looking at the live database", &error))?;
    session.close().await;
    // Everything in the schemas of the archive is replaced along with the tables; nothing of it stays.
    let (server, objects) = (server.info(), Vec::new());
    Ok(Live { server, tables, folds_case: false, objects, space, copied: 0, problems })
}

pub(in super::super) async fn count(
    target: &Target,
    tables: &[String],
) -> Result<Vec<Option<u64>>, DatabaseError> {
    let (mut session, _) = open(target).await?;
    let counted = async {
        let relations = catalog::relations(&mut session).await?;
        let mut counts = Vec::with_capacity(tables.len());
        for table in tables {
            if table == LARGE_OBJECTS {
                counts.push(None);
                continue;
            }
            let missing = || Fault::Text(format!("table {table} is not there"));
            let relation = relations.get(table).ok_or_else(missing)?;
            if relation.spread_by.is_some() {
                counts.push(None);
                continue;
            }
            let from = relation.sql();
            let row = session.rows(&format!("SELECT count(*)::text FROM ONLY {from}")).await?.pop();
            counts.push(text(&row.unwrap_or_default(), 0).parse().ok());
        }
        Ok::<_, Fault>(counts)
    };
    let counts = counted.await.map_err(|fault| fault.of(&target.name, "counting rows"))?;
    session.close().await;
    Ok(counts)
}

pub(in super::super) async fn digest(
    target: &Target,
    table: &str,
) -> Result<Option<[u8; 32]>, DatabaseError> {
    let (mut session, server) = open(target).await?;
    let read = async {
        match catalog::relations(&mut session).await?.get(table) {
            Some(relation) => {
                digests::digest(&mut session, relation, server.client_encoding()).await
            }
            None => Ok(None),
        }
    };
    let digest = read.await.map_err(|fault| fault.of(&target.name, &format!("table {table}")))?;
    session.close().await;
    Ok(digest)
}

async fn read(
    session: &mut Session,
) -> Result<(Vec<LiveTable>, Option<Space>, Vec<String>), Error> {
    let relations = catalog::relations(session).await?;
    let mut tables: Vec<LiveTable> = relations
        .into_iter()
        .map(|(name, relation)| LiveTable { name, rows: relation.rows, bytes: relation.bytes })
        .collect();
    if let Some(table) = large::find(session).await?.table {
        tables.push(LiveTable { name: table.name, rows: 0, bytes: table.estimated_bytes / 2 });
    }
    Ok((tables, space(session).await?, problems(session).await?))
}

async fn problems(session: &mut Session) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    let row = session
        .rows(
            "SELECT pg_catalog.pg_is_in_recovery()::text, current_setting('transaction_read_only'), \
             pg_catalog.has_database_privilege(current_database(), 'CREATE')::text",
        )
        .await?
        .pop()
        .unwrap_or_default();
    if text(&row, 0) == "true" {
        problems.push("the server is a read-only replica".to_owned());
    }
    if text(&row, 1) == "on" && text(&row, 0) != "true" {
        problems.push("the database is read-only".to_owned());
    }
    if text(&row, 2) != "true" {
        problems
            .push("the database's user may not make schemas (GRANT CREATE ON DATABASE)".to_owned());
    }
    for (about, query) in [
        (
            "event triggers of others call functions that would be replaced, and cannot be made again",
            "SELECT e.evtname::text FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public' \
             AND NOT pg_catalog.pg_has_role(e.evtowner, 'USAGE') \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 1",
        ),
        (
            "the database's user does not own these schemas, so they cannot be replaced",
            "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' \
             AND n.nspname <> 'information_schema' AND NOT pg_catalog.pg_has_role(n.nspowner, 'USAGE') \
             AND EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))",
        ),
        (
            "extensions that cannot be moved lie in schemas that would be replaced: make them in a schema of their own",
            "SELECT e.extname || ' in ' || n.nspname FROM pg_catalog.pg_extension e \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
             WHERE NOT e.extrelocatable AND n.nspname !~ '^pg_' \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::regclass \
               AND d.objid = n.oid AND d.deptype = 'e') \
             AND (n.nspname = 'public' OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.refobjid = n.oid \
               AND d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.classid <> 'pg_catalog.pg_extension'::regclass \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend m \
                 WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e'))) ORDER BY 1",
        ),
    ] {
        problems.extend(warning(about, &session.column(query).await?));
    }
    Ok(problems)
}

/// Only a server of this machine has its disk here.
async fn space(session: &mut Session) -> Result<Option<Space>, Error> {
    let query = "SELECT setting, COALESCE(pg_catalog.host(pg_catalog.inet_server_addr()), '127.0.0.1') \
         FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
    let Some(row) = session.rows(query).await?.pop() else { return Ok(None) };
    let (folder, host) = (text(&row, 0), text(&row, 1));
    if !matches!(host.as_str(), "127.0.0.1" | "::1") || !Path::new(&folder).is_absolute() {
        return Ok(None);
    }
    Ok(Space::of(Path::new(&folder)))
}
