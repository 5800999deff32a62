//! Events whose time has passed.

use mysql_async::Error;
use mysql_async::prelude::Queryable;

use super::super::connect::Session;
use super::{Object, head};

/// The event was not made; it was switched off.
const EVENT_IS_PAST: [u16; 2] = [1588, 1544];

impl Object {
    /// An event whose time has passed the server drops as it makes it, or switches it off, even one that could not run:
    /// that is made as of before its time.
    pub(super) async fn make_past(
        &self,
        session: &mut Session,
        statement: Vec<u8>,
    ) -> Result<(), Error> {
        let notes: Vec<(String, u16, String)> = session.rows("SHOW WARNINGS").await?;
        let is_past = notes.iter().any(|(_, code, _)| EVENT_IS_PAST.contains(code));
        if !is_past || self.may_run() && events_run(session).await? {
            return Ok(());
        }
        if !session.try_run("SET timestamp=1").await? {
            tracing::warn!(event = %self.name, "its time has passed, and the server allows no event of the past");
            return Ok(());
        }
        session.run(&self.drop_statement()).await?;
        let result = session.begin()?.query_drop(statement).await;
        let result = session.done(result);
        session.run("SET timestamp=DEFAULT").await?;
        result
    }

    /// Of an event: whether it is switched on.
    pub fn may_run(&self) -> bool {
        let head = self.schedule().map_or(&[][..], |(_, rest)| rest);
        !["DISABLE", "SLAVESIDE_DISABLED"].iter().any(|word| head.starts_with(word.as_bytes()))
    }

    /// When an event runs for the last time, if there is such a time.
    pub fn last_time(&self) -> Option<&str> {
        let (schedule, _) = self.schedule()?;
        let schedule = std::str::from_utf8(schedule).ok()?;
        let (_, time) = schedule.rsplit_once(" ENDS '").or_else(|| schedule.split_once("AT '"))?;
        time.split('\'').next()
    }

    /// An event's schedule, and what follows on what becomes of it after its last time.
    fn schedule(&self) -> Option<(&[u8], &[u8])> {
        let text = &self.statement;
        let find = |from: usize, part: &str| {
            let at = text[from..].windows(part.len()).position(|found| found == part.as_bytes());
            at.map(|at| (from + at, from + at + part.len()))
        };
        let after = head::definer(text).map_or(0, |definer| definer.end);
        let (_, start) =
            find(after, "` ON SCHEDULE ").or_else(|| find(after, "\" ON SCHEDULE "))?;
        let (end, _) = find(start, " ON COMPLETION ")?;
        let (_, rest) = find(end, "PRESERVE ")?;
        Some((&text[start..end], &text[rest..]))
    }
}

/// Whether the server runs events.
pub(in super::super) async fn events_run(session: &mut Session) -> Result<bool, Error> {
    let scheduler: Option<String> = session.rows("SELECT @@event_scheduler").await?.pop();
    Ok(scheduler.is_some_and(|value| value == "ON"))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn the_last_time_of_an_event_is_found() {
        for (rest, last, may_run) in [
            (
                "AT '2018-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE DO SELECT 1",
                Some("2018-01-01 00:00:00"),
                false,
            ),
            (
                "EVERY 1 DAY STARTS '2017-01-01 00:00:00' ENDS '2018-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO SELECT 1",
                Some("2018-01-01 00:00:00"),
                true,
            ),
            (
                "EVERY 1 DAY STARTS '2017-01-01 00:00:00' ON COMPLETION NOT PRESERVE DISABLE ON SLAVE DO SELECT ' ENDS '",
                None,
                false,
            ),
            (
                "EVERY '1:1' HOUR_MINUTE STARTS '2017-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE COMMENT 'DISABLE' DO SELECT 1",
                None,
                true,
            ),
        ] {
            let event = Object {
                kind: Kind::Event,
                name: "e".to_owned(),
                table: None,
                statement: format!("CREATE DEFINER=`a`@`%` EVENT `e` ON SCHEDULE {rest}").into(),
                sql_mode: String::new(),
                charset: String::new(),
                collation: String::new(),
                time_zone: None,
                schema_collation: None,
            };
            assert_eq!((event.last_time(), event.may_run()), (last, may_run), "{rest}");
        }
    }
}
