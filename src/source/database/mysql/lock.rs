//! One moment for several connections: a global read lock, held while each of them begins its transaction.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use mysql_async::{Error, Row};

use super::connect::Session;

/// While FLUSH waits for one statement, it holds up all the others: so briefly, and seldom.
const TRIES: u32 = 3;
const LOCK_SETTINGS: &[&str] = &[
    "SET SESSION lock_wait_timeout=1",
    // Should this process be frozen while it holds the lock, the server ends the connection, and with it the lock.
    "SET SESSION wait_timeout=5, interactive_timeout=5",
];

/// Begins the snapshot on each session at the same moment, with `locker` holding the lock meanwhile.
/// Returns the position in the server's log; `None` in place of it all: the lock could not be had,
/// and nothing was begun.
pub(super) async fn begin_together(
    locker: &mut Session,
    sessions: &mut [Session],
) -> Result<Option<Option<String>>, Error> {
    for setting in LOCK_SETTINGS {
        if !locker.try_run(setting).await? {
            return Ok(None);
        }
    }
    if !acquire(locker).await? {
        return Ok(None);
    }
    let held = Instant::now();
    let begun = async {
        try_join_all(sessions.iter_mut().map(begin)).await?;
        position(locker).await
    }
    .await;
    // Also when that failed; should this fail, closing the connection unlocks.
    let unlocked = locker.run("UNLOCK TABLES").await;
    tracing::debug!(held = ?held.elapsed(), "the global read lock was held");
    let position = begun?;
    unlocked?;
    Ok(Some(position))
}

/// Begins the snapshot on one session, without any lock.
pub(super) async fn begin(session: &mut Session) -> Result<(), Error> {
    // Were it READ ONLY, no view could be shown that takes a sequence's next value, or calls what writes.
    session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await
}

async fn acquire(locker: &mut Session) -> Result<bool, Error> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        if long_statement_runs(locker).await? {
            continue;
        }
        // MariaDB can give up sooner than after the second that `lock_wait_timeout` counts in.
        locker.try_run("SET SESSION max_statement_time=0.3").await?;
        let locked = locker.run("FLUSH TABLES WITH READ LOCK").await;
        match locked {
            Ok(()) => return Ok(true),
            // Lock wait timeout; the statement was aborted.
            Err(Error::Server(error)) if matches!(error.code, 1205 | 1969 | 3024) => {}
            Err(Error::Server(error)) => {
                tracing::info!(reason = %error.message, "no global read lock, so one connection reads the database");
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    tracing::info!("the server is busy with long statements, so one connection reads the database");
    Ok(false)
}

/// Whether a statement is running for which the lock would have to wait, as far as we may see them.
async fn long_statement_runs(locker: &mut Session) -> Result<bool, Error> {
    let query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
        WHERE ID <> CONNECTION_ID() AND TIME >= 1 AND COMMAND IN ('Query', 'Execute', 'Fetch') \
        AND USER NOT IN ('system user', 'event_scheduler')";
    match locker.rows::<u64>(query).await {
        Ok(counts) => Ok(counts.first().is_some_and(|count| *count > 0)),
        Err(Error::Server(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the server's binary log stands, when there is one and we may ask.
pub(super) async fn position(session: &mut Session) -> Result<Option<String>, Error> {
    for query in ["SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"] {
        match session.rows::<Row>(query).await {
            Ok(rows) => {
                let position = rows.first().and_then(|row| {
                    let file: String = row.get_opt(0)?.ok()?;
                    let offset: u64 = row.get_opt(1)?.ok()?;
                    Some(format!("{file}:{offset}"))
                });
                return Ok(position);
            }
            Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The same for a snapshot begun without a lock: MariaDB remembers it for the transaction.
pub(super) async fn position_of_snapshot(session: &mut Session) -> Result<Option<String>, Error> {
    let query = "SHOW STATUS LIKE 'binlog\\_snapshot\\_%'";
    let values: Vec<(String, String)> = match session.rows(query).await {
        Ok(values) => values,
        Err(Error::Server(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let value = |wanted: &str| {
        let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    Ok(value("Binlog_snapshot_file")
        .zip(value("Binlog_snapshot_position"))
        .map(|(file, offset)| format!("{file}:{offset}")))
}
