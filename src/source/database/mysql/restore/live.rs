//! What a restore finds in the live database.

use std::path::Path;

use mysql_async::{Error, Row};

use super::super::connect::Session;
use super::super::grants::Grants;
use super::super::render::identifier;
use super::super::scheme::WRONG_MERGE;
use super::super::{failed, open, table_failed};
use super::place::Place;
use super::{admin, digest as digests, literal};
use crate::source::database::mysql::Target;
use crate::source::database::{DatabaseError, Engine, Live, LiveObject, LiveTable};
use crate::source::restore::{AttemptId, Space};

/// What a restore does in the live schema, and in those beside it.
const IN_LIVE: &[&str] = &["SELECT", "INSERT", "CREATE", "DROP", "ALTER"];
const BESIDE: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX"];

pub(in super::super) async fn live(target: &Target) -> Result<Live, DatabaseError> {
    let (mut session, server) = open(&target.name, &target.opts).await?;
    let found = async {
        let folds_case = admin::lower_case(&mut session).await? != 0;
        Ok((folds_case, read(&mut session, target, server.engine).await?))
    };
    let (folds_case, (tables, objects, space, problems)) = found
        .await
        .map_err(|error| failed(&target.name, "looking at the live database", &error))?;
    session.close().await;
    Ok(Live { server, tables, folds_case, objects, space, copied: 0, problems })
}

pub(in super::super) async fn count(
    target: &Target,
    tables: &[String],
) -> Result<Vec<Option<u64>>, DatabaseError> {
    let (mut session, _) = open(&target.name, &target.opts).await?;
    let kinds = admin::tables(&mut session, target.database()).await;
    let kinds = kinds.map_err(|error| failed(&target.name, "counting rows", &error))?;
    let mut counts = Vec::with_capacity(tables.len());
    for table in tables {
        // What was loaded into a table with a history are its rows of all times.
        let is_it = |name: &str| *name == **table || *name == table.to_lowercase();
        let history = match kinds.iter().find(|(name, _)| is_it(name)) {
            Some((_, kind)) if kind == admin::VERSIONED => " FOR SYSTEM_TIME ALL",
            _ => "",
        };
        let query = format!("SELECT COUNT(*) FROM {}{history}", identifier(table));
        let counted = match session.rows::<u64>(&query).await {
            // A MERGE table of which what it shows is not there.
            Err(Error::Server(error)) if error.code == WRONG_MERGE => Ok(Vec::new()),
            counted => counted,
        };
        let counted = counted.map_err(|error| table_failed(&target.name, table, &error))?;
        counts.push(counted.first().copied());
    }
    session.close().await;
    Ok(counts)
}

pub(in super::super) async fn digest(
    target: &Target,
    table: &str,
) -> Result<Option<[u8; 32]>, DatabaseError> {
    let digest = digests::digest(&target.opts, table).await;
    digest.map_err(|fault| fault.of(&target.name, &format!("table {table}")))
}

type Found = (Vec<LiveTable>, Vec<LiveObject>, Option<Space>, Vec<String>);

async fn read(session: &mut Session, target: &Target, engine: Engine) -> Result<Found, Error> {
    let live = literal(target.database());
    let query = format!(
        "SELECT TABLE_NAME, TABLE_TYPE, TABLE_ROWS, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = {live} ORDER BY 1"
    );
    let (mut tables, mut objects) = (Vec::new(), Vec::new());
    for (name, kind, rows, bytes) in
        session.rows::<(String, String, Option<u64>, Option<u64>)>(&query).await?
    {
        if admin::is_base_table(&kind) {
            tables.push(LiveTable { name, rows: rows.unwrap_or(0), bytes: bytes.unwrap_or(0) });
        } else {
            let kind = if kind == "SEQUENCE" { "sequence" } else { "view" };
            objects.push(LiveObject { kind, name });
        }
    }
    for (kind, what) in [
        ("trigger", "TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA"),
        (
            "procedure",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PROCEDURE' AND ROUTINE_SCHEMA",
        ),
        (
            "function",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_SCHEMA",
        ),
        (
            "package",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PACKAGE' AND ROUTINE_SCHEMA",
        ),
        (
            "package_body",
            "ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PACKAGE BODY' AND ROUTINE_SCHEMA",
        ),
        ("event", "EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA"),
    ] {
        let names: Vec<String> =
            session.rows(&format!("SELECT DISTINCT {what} = {live} ORDER BY 1")).await?;
        objects.extend(names.into_iter().map(|name| LiveObject { kind, name }));
    }
    if let Ok(names) = session
        .rows::<String>(&format!(
            "SELECT LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = {live} ORDER BY 1"
        ))
        .await
    {
        // Only MySQL has these, since 9.2.
        objects.extend(names.into_iter().map(|name| LiveObject { kind: "library", name }));
    }
    let triggers = objects.iter().any(|object| object.kind == "trigger");
    let problems = problems(session, target, engine, triggers).await?;
    Ok((tables, objects, space(session).await?, problems))
}

async fn problems(
    session: &mut Session,
    target: &Target,
    engine: Engine,
    triggers: bool,
) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for row in session.rows::<Row>("SHOW GRANTS").await? {
        lines.extend(row.get_opt::<String, _>(0).and_then(Result::ok));
    }
    let grants = Grants::parse(&lines);
    // Rights are given by patterns of names: any attempt's shows which there are.
    let attempt = AttemptId::new("0123456789abcdef");
    let place = attempt.map(|attempt| Place::new(target.database(), &attempt));
    let mut more = Vec::new();
    if triggers {
        more.push("TRIGGER");
    }
    if engine == Engine::MySql {
        more.push("REFERENCES"); // MariaDB does not ask for it.
    }
    let mut needed = vec![(target.database().to_owned(), [IN_LIVE, &more].concat())];
    needed.extend(place.into_iter().flat_map(|place| {
        [place.staging, place.kept].map(|schema| (schema, [BESIDE, &more].concat()))
    }));
    for (schema, wanted) in needed {
        let missing = grants.missing(&schema, &wanted);
        if missing.is_empty() {
            continue;
        }
        let list = missing.join(", ");
        if schema == target.database() {
            problems.push(format!("the database's user lacks rights on {schema}: {list}"));
        } else {
            let (live, grant) =
                (target.database(), admin::grant_beside(session, target.database()));
            problems.push(format!(
                "the database's user lacks rights on schemas beside {live} ({list}), where the new state is made: {}",
                grant.await?
            ));
            break;
        }
    }
    for (variable, rights) in [
        ("read_only", &["SUPER", "READ_ONLY ADMIN", "READ ONLY ADMIN", "CONNECTION_ADMIN"][..]),
        ("super_read_only", &[]),
        ("innodb_read_only", &[]),
    ] {
        let query = format!("SHOW GLOBAL VARIABLES LIKE '{variable}'");
        let value: Option<(String, String)> = session.rows(&query).await?.pop();
        let set = value.is_some_and(|(_, value)| !matches!(value.as_str(), "OFF" | "0" | "NO"));
        // (A schema that no pattern names: only rights on everything count.)
        let exempt = grants.missing("", rights).len() < rights.len();
        if set && !exempt {
            problems.push(format!("the server is read-only ({variable} is on)"));
        }
    }
    Ok(problems)
}

/// Only a server of this machine has its disk here.
async fn space(session: &mut Session) -> Result<Option<Space>, Error> {
    let place: Option<(String, String)> = session.rows("SELECT @@hostname, @@datadir").await?.pop();
    let Some((host, folder)) = place else { return Ok(None) };
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if own.trim() != host || !Path::new(&folder).is_absolute() {
        return Ok(None);
    }
    Ok(Space::of(Path::new(&folder)))
}
