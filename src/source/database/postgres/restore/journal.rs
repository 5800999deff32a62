//! What an attempt notes beside the schemas, and its lock.

use std::time::{Duration, Instant};

use super::super::connect::Session;
use super::super::names::{BESIDE, identifier, literal};
use super::super::url::Target;
use super::{Fault, aside};
use crate::source::restore::AttemptId;

/// How long whoever holds the lock may take after it was told to stop.
const TAKE_OVER: Duration = Duration::from_secs(60);

/// Names of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The schema with the journal.
    pub journal: String,
}

/// How far an attempt came; all of it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Nothing,
    Swapped,
    RolledBack,
    Finishing,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "staging",
            Self::Swapped => "swapped",
            Self::RolledBack => "rolled back",
            Self::Finishing => "finishing",
        }
    }
}

/// A schema that the attempt replaces or adds.
#[derive(Debug, Clone)]
pub(super) struct Swapped {
    pub number: usize,
    pub name: String,
    /// It was there before.
    pub replaces: bool,
}

impl Place {
    pub fn new(attempt: &AttemptId) -> Self {
        Self { journal: format!("{BESIDE}{attempt}") }
    }

    /// Where a live schema is while it is replaced.
    pub fn kept(&self, number: usize) -> String {
        format!("{}_{number}", self.journal)
    }

    /// Of the schemas that are replaced: where each is while it is, and its name.
    pub fn replaced(&self, schemas: &[Swapped]) -> Vec<(String, String)> {
        let replaced = schemas.iter().filter(|swapped| swapped.replaces);
        replaced.map(|swapped| (self.kept(swapped.number), swapped.name.clone())).collect()
    }

    /// Where a new one goes when it is taken back.
    pub fn dropped(&self, number: usize) -> String {
        format!("{}_new_{number}", self.journal)
    }

    /// A table of the journal, in SQL.
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}", identifier(&self.journal), identifier(name))
    }

    /// Makes the journal, in the attempt's transaction.
    pub async fn make(&self, session: &mut Session) -> Result<(), Fault> {
        let table = |name: &str| self.table(name);
        session
            .run(&format!(
                "CREATE SCHEMA {}; CREATE TABLE {} (state text NOT NULL); INSERT INTO {} VALUES ({}); \
                 ALTER TABLE {} REPLICA IDENTITY FULL; \
                 CREATE TABLE {} (number int PRIMARY KEY, name text NOT NULL, replaces boolean NOT NULL); \
                 CREATE TABLE {} (name text PRIMARY KEY, schema text NOT NULL); \
                 CREATE TABLE {} (kind text, schema text, tbl text, name text, make text); \
                 CREATE TABLE {} (number int, name text NOT NULL); \
                 CREATE TABLE {} (oid oid PRIMARY KEY, owner text, was text); CREATE TABLE {} (oid oid, place bigint, data bytea); \
                 CREATE TABLE {} (number serial, sql text NOT NULL)",
                identifier(&self.journal),
                table("state"),
                table("state"),
                literal(State::Nothing.as_str()),
                // Where a publication has all tables, one without an identity cannot be updated.
                table("state"),
                table("schemas"),
                table("extensions"),
                table("bound"),
                table("stays"),
                table("large"),
                table("large_data"),
                table("large_sql"),
            ))
            .await?;
        Ok(())
    }

    pub async fn state(&self, session: &mut Session) -> Result<State, Fault> {
        let query = format!(
            "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = {}",
            literal(&self.journal)
        );
        if session.value(&query).await?.is_none() {
            return Ok(State::Nothing);
        }
        // A kill while it was dropped, which was the last step. (It is dropped at once nowadays.)
        let there =
            format!("SELECT pg_catalog.to_regclass({})::text", literal(&self.table("state")));
        if session.value(&there).await?.is_none() {
            self.drop(session).await?;
            return Ok(State::Nothing);
        }
        let state = session.value(&format!("SELECT state FROM {}", self.table("state"))).await?;
        let known = [State::Swapped, State::RolledBack, State::Finishing];
        let state = state.unwrap_or_default();
        known
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| Fault::Text(format!("the journal in {} cannot be read", self.journal)))
    }

    /// Drops the journal, when all that it speaks of is gone.
    pub async fn drop(&self, session: &mut Session) -> Result<(), Fault> {
        let statement = format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(&self.journal));
        aside::quietly(session, &[statement]).await
    }

    pub async fn set(&self, session: &mut Session, state: State) -> Result<(), Fault> {
        let state = literal(state.as_str());
        Ok(session.run(&format!("UPDATE {} SET state = {state}", self.table("state"))).await?)
    }

    pub async fn add_schema(&self, session: &mut Session, swapped: &Swapped) -> Result<(), Fault> {
        let Swapped { number, name, replaces } = swapped;
        let name = literal(name);
        let statement =
            format!("INSERT INTO {} VALUES ({number}, {name}, {replaces})", self.table("schemas"));
        Ok(session.run(&statement).await?)
    }

    pub async fn schemas(&self, session: &mut Session) -> Result<Vec<Swapped>, Fault> {
        let query = format!(
            "SELECT number::text, name, replaces::text FROM {} ORDER BY number",
            self.table("schemas")
        );
        let rows = session.rows(&query).await?;
        Ok(rows
            .iter()
            .map(|row| Swapped {
                number: super::super::catalog::number(row, 0) as usize,
                name: super::super::catalog::text(row, 1),
                replaces: super::super::catalog::text(row, 2) == "true",
            })
            .collect())
    }

    /// Takes the attempt's lock, which goes with the connection. A connection that a dead or a slow process left may
    /// still commit later on: it is ended, and waited for.
    pub async fn lock(&self, session: &mut Session) -> Result<(), Fault> {
        let key = format!("pg_catalog.hashtextextended({}, 7)", literal(&self.journal));
        let take = format!("SELECT pg_catalog.pg_try_advisory_lock({key})::text");
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(l.pid)::text FROM pg_catalog.pg_locks l \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid() \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"
        );
        let begun = Instant::now();
        // One that was just closed needs a moment to go by itself.
        let mut pause = Duration::from_millis(20);
        let mut told = false;
        loop {
            if session.value(&take).await?.as_deref() == Some("true") {
                return Ok(());
            }
            if begun.elapsed() > TAKE_OVER {
                return Err(Fault::Text(
                    "another connection is changing what the same restore staged".to_owned(),
                ));
            }
            if !told && begun.elapsed() > Duration::from_millis(500) {
                tracing::warn!(schema = %self.journal, "ending the connection that an earlier attempt left");
                session.run(&end).await?;
                told = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// Connects, with the attempt's lock.
pub(super) async fn open(target: &Target, place: &Place) -> Result<(Session, &'static str), Fault> {
    let (mut session, server) =
        super::super::open(target).await.map_err(|error| Fault::Text(error.to_string()))?;
    place.lock(&mut session).await?;
    Ok((session, server.client_encoding()))
}
