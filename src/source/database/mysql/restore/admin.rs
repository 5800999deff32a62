//! The one connection that may change anything of an attempt at a time.

use std::time::Duration;

use mysql_async::{Error, Opts};

use super::super::connect::Session;
use super::super::render::identifier;
use super::place::Place;
use super::{Fault, literal};

/// How long whoever holds the lock may take after it was told to stop.
const TAKE_OVER: u32 = 120;

/// How tables are made and altered: as their text says or not at all. Foreign keys may name what is not there yet.
pub(super) const SETTINGS: &str = "SET SESSION foreign_key_checks=0, \
    sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

/// Not every server has these, or lets everybody set them.
pub(super) const WELCOME: &[&str] = &[
    "SET SESSION innodb_strict_mode=1",
    // What the server warns of is read.
    "SET SESSION lc_messages='en_US'",
    // A TIMESTAMP without a default has none.
    "SET SESSION explicit_defaults_for_timestamp=1",
    "SET SESSION auto_increment_increment=1, auto_increment_offset=1",
    "SET SESSION sql_generate_invisible_primary_key=0",
    "SET SESSION sql_require_primary_key=0",
    // Tables may be older than the rule that a foreign key needs a unique one.
    "SET SESSION restrict_fk_on_non_standard_key=0",
    // Rows may be older than a check, or were written without it.
    "SET SESSION check_constraint_checks=0",
    // Tables with a history may still be given foreign keys.
    "SET SESSION system_versioning_alter_history=KEEP",
];

/// Sets a connection up for making and loading tables.
pub(super) async fn prepare(session: &mut Session) -> Result<(), Error> {
    session.run(SETTINGS).await?;
    for statement in WELCOME {
        session.try_run(statement).await?;
    }
    Ok(())
}

/// Connects, and takes the attempt's lock, which goes with the connection. A connection that a dead process left may
/// still have a RENAME running or waiting, which must not take place later on: it is ended, and waited for.
/// The place comes back as this server spells it.
pub(super) async fn open(opts: &Opts, place: &Place) -> Result<(Session, Place), Fault> {
    let mut session = Session::open(opts).await?;
    prepare(&mut session).await?;
    let place = if lower_case(&mut session).await? == 1 { place.lowered() } else { place.clone() };
    let name = literal(&place.staging);
    if !take(&mut session, &name, 2).await? {
        let holders: Vec<Option<u64>> =
            session.rows(&format!("SELECT IS_USED_LOCK({name})")).await?;
        if let Some(Some(holder)) = holders.first() {
            tracing::warn!(schema = %place.staging, "ending the connection that an earlier attempt left");
            session.try_run(&format!("KILL {holder}")).await?;
        }
        if !take(&mut session, &name, TAKE_OVER).await? {
            return Err(Fault::Text(
                "another connection is changing what the same restore staged".to_owned(),
            ));
        }
    }
    Ok((session, place))
}

/// How the server tells names of tables apart: 0, by every letter; else not by case.
pub(super) async fn lower_case(session: &mut Session) -> Result<u8, Error> {
    let lower: Option<u8> = session.rows("SELECT @@lower_case_table_names").await?.pop();
    Ok(lower.unwrap_or_default())
}

async fn take(session: &mut Session, name: &str, seconds: u32) -> Result<bool, Error> {
    let taken: Vec<Option<i64>> =
        session.rows(&format!("SELECT GET_LOCK({name}, {seconds})")).await?;
    Ok(taken.first() == Some(&Some(1)))
}

/// How long statements wait for tables that others use.
pub(super) async fn wait_for_tables(session: &mut Session, wait: Duration) -> Result<(), Error> {
    let seconds = wait.as_secs().max(1);
    session.try_run(&format!("SET SESSION innodb_lock_wait_timeout={seconds}")).await?;
    session.run(&format!("SET SESSION lock_wait_timeout={seconds}")).await
}

pub(super) async fn schema_exists(session: &mut Session, schema: &str) -> Result<bool, Error> {
    let query = format!(
        "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
        literal(schema)
    );
    Ok(session.rows::<u64>(&query).await?.first().is_some_and(|count| *count > 0))
}

/// Name and type of everything in a schema that is called a table.
pub(super) async fn tables(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<(String, String)>, Error> {
    let query = format!(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} ORDER BY 1",
        literal(schema)
    );
    session.rows(&query).await
}

/// The type in `information_schema.TABLES` of tables with a history.
pub(super) const VERSIONED: &str = "SYSTEM VERSIONED";

/// Whether a type in `information_schema.TABLES` is a table's.
pub(super) fn is_base_table(kind: &str) -> bool {
    matches!(kind, "BASE TABLE" | VERSIONED)
}

/// The statement that gives this user the rights to make and fill schemas beside the live one.
pub(super) async fn grant_beside(session: &mut Session, live: &str) -> Result<String, Error> {
    let user: Option<String> = session.rows("SELECT CURRENT_USER()").await?.pop();
    let user = user.unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let name = name.replace('\'', "''");
    let live = live.replace('_', "\\_").replace('%', "\\%").replace('`', "``");
    Ok(format!("GRANT ALL PRIVILEGES ON `{live}\\_pb\\_%`.* TO '{name}'@'{host}'"))
}

/// Makes a schema with the defaults of the live one.
pub(super) async fn create_schema(
    session: &mut Session,
    place: &Place,
    schema: &str,
) -> Result<(), Fault> {
    let query = format!(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
         WHERE SCHEMA_NAME = {}",
        literal(&place.live)
    );
    let defaults: Option<(String, String)> = session.rows(&query).await?.pop();
    let Some((charset, collation)) = defaults else {
        return Err(Fault::Text(format!("there is no schema {}", place.live)));
    };
    let schema = identifier(schema);
    let create = format!("CREATE DATABASE {schema} CHARACTER SET {charset} COLLATE {collation}");
    match session.run(&create).await {
        // No right to do so.
        Err(Error::Server(error)) if matches!(error.code, 1044 | 1142 | 1227) => {
            let grant = grant_beside(session, &place.live).await?;
            Err(Fault::Text(format!(
                "a restore needs the right to make schemas beside {}: {grant} ({})",
                place.live, error.message
            )))
        }
        other => Ok(other?),
    }
}
