//! Connections: how they are set up, shared, and given up.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgCopyIn};
use sqlx::{AssertSqlSafe, Connection, Error, Executor, Row};

use crate::source::database::readers::Reader;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How values are written, and that no setting of the user's or the database's changes it. (Not every server has the
/// last ones.)
const SETTINGS: &str = "SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 3; \
    SET bytea_output = hex; SET TimeZone = 'UTC'; SET standard_conforming_strings = on; \
    SET synchronize_seqscans = off; SET row_security = off; SET quote_all_identifiers = off; SET xmloption = content; \
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET check_function_bodies = off; SET client_min_messages = warning; \
    SET lc_monetary = 'C'; SELECT pg_catalog.set_config('search_path', '', false); \
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
    WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

/// One row of a small result, as text.
pub(super) type Texts = Vec<Option<String>>;

/// One connection.
pub(super) struct Session {
    conn: PgConnection,
    /// A statement runs, or was given up in the middle: the connection cannot be used again.
    busy: bool,
}

impl Session {
    pub async fn open(options: &PgConnectOptions) -> Result<Self, Error> {
        let connecting = PgConnection::connect_with(options);
        let conn = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| Error::Protocol("the server did not answer in time".to_owned()))??;
        let mut session = Self { conn, busy: false };
        session.run(SETTINGS).await?;
        Ok(session)
    }

    /// Whether a statement was given up while it ran.
    pub fn is_broken(&self) -> bool {
        self.busy
    }

    fn begin(&mut self) -> Result<&mut PgConnection, Error> {
        if self.busy {
            return Err(Error::Protocol("the connection was given up in a statement".to_owned()));
        }
        self.busy = true;
        Ok(&mut self.conn)
    }

    fn done<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.busy = result.as_ref().is_err_and(is_fatal);
        result
    }

    /// Runs one statement, or several at once.
    pub async fn run(&mut self, sql: &str) -> Result<(), Error> {
        let conn = self.begin()?;
        let result = conn.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
        self.done(result).map(drop)
    }

    /// Runs one statement, and never a second one: the server itself refuses a text that has more.
    pub async fn run_one(&mut self, sql: &str) -> Result<(), Error> {
        let conn = self.begin()?;
        let statement = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
        let result = conn.execute(statement).await;
        self.done(result).map(drop)
    }

    /// All rows of a small result. Every column must be of type text (or name).
    pub async fn rows(&mut self, query: &str) -> Result<Vec<Texts>, Error> {
        let conn = self.begin()?;
        let result = conn.fetch_all(sqlx::raw_sql(AssertSqlSafe(query.to_owned()))).await;
        let rows = self.done(result)?;
        rows.iter().map(|row| (0..row.len()).map(|index| row.try_get(index)).collect()).collect()
    }

    /// The first column of the first row.
    pub async fn value(&mut self, query: &str) -> Result<Option<String>, Error> {
        let row = self.rows(query).await?.into_iter().next();
        Ok(row.and_then(|row| row.into_iter().next()).flatten())
    }

    /// The first column of every row.
    pub async fn column(&mut self, query: &str) -> Result<Vec<String>, Error> {
        let rows = self.rows(query).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Starts a `COPY … TO STDOUT`; [`Self::copied`] says that it ended.
    pub async fn copy_out(
        &mut self,
        statement: &str,
    ) -> Result<BoxStream<'_, Result<bytes::Bytes, Error>>, Error> {
        let stream = self.begin()?.copy_out_raw(statement).await?;
        Ok(stream.fuse().boxed())
    }

    /// The stream of [`Self::copy_out`] was read to its end.
    pub fn copied(&mut self) {
        self.busy = false;
    }

    /// Starts a `COPY … FROM STDIN`. The connection is lost unless [`Self::copied`] is called after its end.
    pub async fn copy_in(&mut self, statement: &str) -> Result<PgCopyIn<&mut PgConnection>, Error> {
        self.begin()?.copy_in_raw(statement).await
    }

    pub async fn close(self) {
        if !self.busy {
            let _ = self.conn.close().await; // Nothing was at stake.
        }
    }
}

/// Whether the connection is gone with the error.
fn is_fatal(error: &Error) -> bool {
    match error.as_database_error().and_then(|error| error.code()) {
        // Ended by an administrator, by a crash, by a server that goes down.
        Some(code) => matches!(code.as_ref(), "57P01" | "57P02" | "57P03" | "57P05" | "25P03"),
        None => true,
    }
}

impl Reader for Session {
    type Error = Error;

    fn is_busy(&self) -> bool {
        self.busy
    }

    fn gone() -> Error {
        Error::PoolClosed
    }
}
