//! The connection to DocSpace's database for small questions; dumps have their own connections.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Error, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row, from_row_opt};

use crate::portal::PortalError;
use crate::source::database::mysql_options;

const MAX_CONNECTIONS: usize = 4;
/// Prepared once for each connection; few are asked again and again.
const STATEMENTS: usize = 32;
const IDLE: Duration = Duration::from_secs(60);
/// A server that does not answer must not hold requests for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many seconds the server waits for a table that others hold. Less than we wait for its answer: a statement must
/// not take effect when nobody expects it any more.
const LOCK_WAIT: u64 = 8;
/// Error of a statement on a table that does not exist.
const NO_SUCH_TABLE: u16 = 1146;
/// Of one that waited for too long.
const LOCKED: u16 = 1205;
/// Answers to a connection, not to a statement.
const NOT_LET_IN: &[u16] = &[1040, 1044, 1045, 1049, 1129, 1130, 1203, 1226, 1698];

/// A figure of `/metrics`: polling must not become load on the portal.
pub const QUERIES: &str = "portal_backup_portal_queries_total";

#[derive(Clone)]
pub struct PortalDatabase {
    pool: Pool,
}

impl PortalDatabase {
    /// Connects with the first question.
    pub fn open(url: &str) -> Result<Self, PortalError> {
        let options = mysql_options(url).map_err(|why| {
            PortalError::Invalid(format!(
                "the url of the portal's database must be mysql://USER:PASSWORD@HOST:PORT/DATABASE: {why}"
            ))
        })?;
        let constraints = PoolConstraints::new(0, MAX_CONNECTIONS).unwrap_or_default();
        let pool = PoolOpts::default()
            .with_constraints(constraints)
            .with_inactive_connection_ttl(IDLE)
            .with_reset_connection(false);
        let options = OptsBuilder::from_opts(options)
            .pool_opts(pool)
            .stmt_cache_size(STATEMENTS)
            .setup(vec![format!(
                "SET SESSION lock_wait_timeout={LOCK_WAIT}, innodb_lock_wait_timeout={LOCK_WAIT}"
            )]);
        Ok(Self { pool: Pool::new(options) })
    }

    pub async fn rows<T: FromRow + Send + 'static>(
        &self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<Vec<T>, PortalError> {
        self.ask(sql, params.into())
            .await?
            .map_err(database_error)?
            .into_iter()
            .map(typed)
            .collect()
    }

    /// As `rows`; None when the table does not exist.
    pub async fn rows_if_table<T: FromRow + Send + 'static>(
        &self,
        sql: &str,
    ) -> Result<Option<Vec<T>>, PortalError> {
        match self.ask(sql, Params::Empty).await? {
            Ok(rows) => rows.into_iter().map(typed).collect::<Result<_, _>>().map(Some),
            Err(Error::Server(error)) if error.code == NO_SUCH_TABLE => Ok(None),
            Err(error) => Err(database_error(error)),
        }
    }

    pub async fn execute(
        &self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<(), PortalError> {
        self.ask(sql, params.into()).await?.map_err(database_error).map(drop)
    }

    async fn ask(&self, sql: &str, params: Params) -> Result<Result<Vec<Row>, Error>, PortalError> {
        metrics::counter!(QUERIES).increment(1);
        let answer = async {
            let mut connection = self.pool.get_conn().await?;
            connection.exec::<Row, _, _>(sql, params).await
        };
        tokio::time::timeout(PATIENCE, answer).await.map_err(|_| {
            PortalError::Database(format!("no answer within {} seconds", PATIENCE.as_secs()))
        })
    }
}

fn typed<T: FromRow>(row: Row) -> Result<T, PortalError> {
    from_row_opt(row).map_err(|_| {
        PortalError::Database("a row does not look as DocSpace's tables do".to_owned())
    })
}

/// The server's or the driver's own words; neither knows the password's text.
fn database_error(error: Error) -> PortalError {
    match error {
        Error::Server(error) if error.code == LOCKED => PortalError::Locked(LOCK_WAIT),
        Error::Server(error) if !NOT_LET_IN.contains(&error.code) => {
            PortalError::Refused(error.to_string())
        }
        other => PortalError::Database(other.to_string()),
    }
}
