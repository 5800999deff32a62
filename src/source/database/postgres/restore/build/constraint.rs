//! Constraints that come after the rows.

use sqlx::Error;

use super::super::super::{describe, sqlstate};
use super::super::{BROKEN_KEY, Fault};
use super::Builder;
use crate::source::database::Trust;

/// A row breaks a check.
const BROKEN_CHECK: &str = "23514";
/// A check of a table that inherits the same one, which rows break.
const BROKEN_ABOVE: &str = "42P17";
/// Before PostgreSQL 18 a foreign key of a partitioned table cannot be NOT VALID.
const WRONG_OBJECT: &str = "42809";

impl Builder<'_> {
    /// Makes a constraint. One that rows of the archive break, as they mostly did where they come from, is made for rows
    /// to come alone: those that are there are what matters.
    pub(super) async fn run_constraint(
        &mut self,
        sql: &str,
        trust: Trust,
        what: &str,
    ) -> Result<Result<(), Error>, Fault> {
        self.session.run("SAVEPOINT checked").await?;
        let Err(broken) = self.send(sql, trust).await else {
            self.session.run("RELEASE SAVEPOINT checked").await?;
            return Ok(Ok(()));
        };
        let code = sqlstate(&broken);
        if ![BROKEN_CHECK, BROKEN_ABOVE].contains(&code.as_str())
            && (code != BROKEN_KEY || self.strict_keys)
        {
            return Ok(Err(broken));
        }
        self.session.run("ROLLBACK TO SAVEPOINT checked").await?;
        let unchecked = format!("{} NOT VALID;", sql.trim().trim_end_matches(';'));
        let becomes = match self.send(&unchecked, trust).await {
            Ok(()) => "made NOT VALID",
            Err(error) if sqlstate(&error) == WRONG_OBJECT => {
                self.session.run("ROLLBACK TO SAVEPOINT checked").await?;
                "left out, as it cannot be NOT VALID"
            }
            Err(_) => return Ok(Err(broken)),
        };
        self.session.run("RELEASE SAVEPOINT checked").await?;
        let why = describe(&broken);
        self.warnings.list(Some(format!("{what} is {becomes}, because rows break it ({why})")));
        Ok(Ok(()))
    }
}
