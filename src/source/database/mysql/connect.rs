//! Connections: how they are set up, shared, and closed at once when a dump is given up.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, DriverError, Error, Opts, Row};

use crate::source::database::readers::Reader;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Without these a dump would be wrong.
const REQUIRED: &[&str] = &[
    "SET NAMES utf8mb4",
    // ANSI_QUOTES and its like change what SHOW CREATE TABLE says, PAD_CHAR_TO_FULL_LENGTH what CHAR holds.
    "SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
];

/// Not every server has these; they keep a slow storage or a long table from ending the dump.
const WELCOME: &[&str] = &[
    "SET SESSION net_write_timeout=86400, net_read_timeout=86400, wait_timeout=604800",
    "SET SESSION sql_select_limit=DEFAULT, sql_big_selects=1",
    "SET SESSION max_statement_time=0",
    "SET SESSION max_execution_time=0",
    "SET SESSION idle_transaction_timeout=0, idle_readonly_transaction_timeout=0",
    "SET SESSION lock_wait_timeout=300",
    // A key that the server made belongs to the table like any other.
    "SET SESSION show_gipk_in_create_table_and_information_schema=1",
];

/// One connection.
pub(super) struct Session {
    conn: Option<Conn>,
    /// A statement runs, or failed to end: the connection cannot be used again.
    busy: bool,
}

impl Session {
    pub async fn open(opts: &Opts) -> Result<Self, Error> {
        let conn = tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(opts.clone()))
            .await
            .map_err(|_| Error::Other("the server did not answer in time".into()))??;
        let mut session = Self { conn: Some(conn), busy: false };
        for statement in REQUIRED {
            session.run(statement).await?;
        }
        for statement in WELCOME {
            session.try_run(statement).await?;
        }
        Ok(session)
    }

    /// The connection for a statement; [`Self::done`] says that it ended.
    pub fn begin(&mut self) -> Result<&mut Conn, Error> {
        self.busy = true;
        self.conn.as_mut().ok_or(Error::Driver(DriverError::ConnectionClosed))
    }

    pub fn done<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.busy = result.as_ref().is_err_and(Error::is_fatal);
        result
    }

    pub async fn run(&mut self, statement: &str) -> Result<(), Error> {
        let result = self.begin()?.query_drop(statement).await;
        self.done(result)
    }

    /// Runs a statement that the server may refuse; says whether it did not.
    pub async fn try_run(&mut self, statement: &str) -> Result<bool, Error> {
        match self.run(statement).await {
            Ok(()) => Ok(true),
            Err(Error::Server(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All rows of a small result.
    pub async fn rows<T: FromRow>(&mut self, query: &str) -> Result<Vec<T>, Error> {
        let result = self.begin()?.query::<Row, _>(query).await;
        let rows = self.done(result)?.into_iter().map(T::from_row_opt);
        // (Asking the driver for `T` at once would panic where a value does not fit.)
        rows.collect::<Result<_, _>>()
            .map_err(|_| Error::Other("the server answered with an unexpected value".into()))
    }

    pub async fn close(mut self) {
        if let (Some(conn), false) = (self.conn.take(), self.busy) {
            let _ = conn.disconnect().await; // Nothing was at stake.
        }
    }
}

impl Drop for Session {
    /// The driver would first read the rest of a running result, hours perhaps. Outside the runtime it only
    /// closes the socket, and the server ends the statement when it cannot write.
    fn drop(&mut self) {
        if let (Some(conn), true) = (self.conn.take(), self.busy) {
            let closing = std::thread::Builder::new().name("mysql-close".to_owned());
            if let Err(error) = closing.spawn(move || drop(conn)) {
                tracing::warn!(%error, "a database connection could not be closed at once");
            }
        }
    }
}

impl Reader for Session {
    type Error = Error;

    fn is_busy(&self) -> bool {
        self.busy
    }

    fn gone() -> Error {
        Error::Driver(DriverError::ConnectionClosed)
    }
}
