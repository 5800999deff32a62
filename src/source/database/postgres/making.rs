//! New databases for what is restored under another name, and compaction.

use sqlx::Error;

use super::connect::Session;
use super::names::identifier;
use super::url::Target;
use super::{failed, sqlstate};
use crate::source::database::DatabaseError;

/// Where one can connect to without the database that is made; the first that lets us in.
const OTHERS: [&str; 2] = ["postgres", "template1"];

/// True: it was made.
pub(super) async fn create(target: &Target) -> Result<bool, DatabaseError> {
    let work = async {
        let mut session = elsewhere(target).await?;
        // template0: what somebody added to template1 is no part of what is restored.
        let sql = format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name(target));
        let made = match session.run(&sql).await {
            Ok(()) => true,
            // duplicate_database
            Err(error) if sqlstate(&error) == "42P04" => false,
            Err(error) => return Err(error),
        };
        session.close().await;
        Ok(made)
    };
    work.await.map_err(|error| failed(&target.name, "making it", &error))
}

/// Drops the database, if it holds nothing or `with_content`.
pub(super) async fn discard(target: &Target, with_content: bool) -> Result<(), DatabaseError> {
    let work = async {
        let mut session = match Session::open(&target.options).await {
            Ok(session) => session,
            // There is none (invalid_catalog_name).
            Err(error) if sqlstate(&error) == "3D000" => return Ok(()),
            Err(error) => return Err(error),
        };
        let query = "SELECT count(*)::text FROM pg_catalog.pg_class c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
        let count = session.value(query).await?;
        session.close().await;
        if with_content || count.as_deref() == Some("0") {
            let mut session = elsewhere(target).await?;
            session.run(&format!("DROP DATABASE IF EXISTS {}", name(target))).await?;
            session.close().await;
        }
        Ok(())
    };
    work.await.map_err(|error| failed(&target.name, "dropping it", &error))
}

/// Rewrites every table.
pub(super) async fn compact(target: &Target) -> Result<(), DatabaseError> {
    let work = async {
        let mut session = Session::open(&target.options).await?;
        session.run("VACUUM (FULL)").await?;
        session.close().await;
        Ok(())
    };
    work.await.map_err(|error| failed(&target.name, "compacting it", &error))
}

async fn elsewhere(target: &Target) -> Result<Session, Error> {
    let mut refused = None;
    for database in OTHERS {
        match Session::open(&target.options.clone().database(database)).await {
            Ok(session) => return Ok(session),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::Protocol("no other database".to_owned())))
}

fn name(target: &Target) -> String {
    identifier(target.options.get_database().unwrap_or_default())
}
