//! One definition run: what of it cannot be here is left out, and told.

use sqlx::Error;

use super::super::super::items::{Item, statements};
use super::super::super::{describe, sqlstate};
use super::super::definitions::{is_of_extension, text, without_owner};
use super::super::judge::judge_one;
use super::super::{Fault, extensions};
use super::Builder;
use crate::source::database::Trust;

/// There already.
const DUPLICATE: &str = "42710";
/// No such role, mostly.
const UNDEFINED: &str = "42704";
const FORBIDDEN: &str = "42501";
/// A setting that cannot be, such as a tablespace that is not there.
const INVALID: &str = "22023";

/// What a database has one of, whatever its schemas: it stays as it is.
const OF_DATABASE: &[&str] = &[
    "EVENT TRIGGER",
    "PUBLICATION",
    "SUBSCRIPTION",
    "FOREIGN DATA WRAPPER",
    "SERVER",
    "CAST",
    "TRANSFORM",
    "PROCEDURAL LANGUAGE",
    "ACCESS METHOD",
];

impl Builder<'_> {
    /// Runs one definition.
    pub async fn run(&mut self, item: &Item, trust: Trust) -> Result<(), Fault> {
        let what = called(item);
        // Its owner, grants and comment are the live ones, which nothing would put back.
        let is_of_fixed = match item.kind.as_str() {
            "SCHEMA" => self.fixed.contains(&item.name),
            "ACL" | "COMMENT" | "SECURITY LABEL" => {
                item.name.strip_prefix("SCHEMA ").is_some_and(|name| self.fixed.contains(name))
            }
            _ => false,
        };
        if is_of_fixed {
            return Ok(());
        }
        let of_extension = is_of_extension(item);
        if of_extension && trust == Trust::Foreign {
            // The extension brings its own.
            return Ok(());
        }
        if trust == Trust::Foreign {
            judge_one(item, &self.schemas)?;
        }
        if item.kind == "EXTENSION" {
            return extensions::ensure(self.session, self.place, item, trust).await;
        }
        let mut sql = text(item);
        let owner = item.owner.as_str();
        if !matches!(owner, "" | "-")
            && !self.roles.contains(owner)
            && let Some(stripped) = without_owner(&sql)
        {
            sql = stripped;
            self.warnings.add(format!(
                "there is no role {owner} that things could be given to: they belong to the database's user"
            ));
        }
        let parts = statements(&sql);
        if let Some((set, rest)) = parts.split_first()
            && set.starts_with("SET default_tablespace = ")
        {
            let ran =
                self.tried(set, trust, &[INVALID], &what, "lies in the usual tablespace").await?;
            ran.map_err(|error| Fault::Server(error).at(&what))?;
            sql = rest.concat();
        }
        if sql.trim().is_empty() {
            return Ok(());
        }
        let ran = match item.kind.as_str() {
            "ACL" | "DEFAULT ACL" | "SECURITY LABEL" => self.run_grants(&sql, trust).await?,
            _ if of_extension => {
                self.tried(&sql, trust, &[FORBIDDEN], &what, "is left out").await?
            }
            // Without one that restricts others, rows would be seen that must not be.
            "POLICY" if !sql.contains(" AS RESTRICTIVE ") => {
                self.tried(&sql, trust, &[UNDEFINED], &what, "is left out").await?
            }
            "USER MAPPING" => {
                self.tried(&sql, trust, &[UNDEFINED, DUPLICATE], &what, "is left out").await?
            }
            "FK CONSTRAINT" | "CHECK CONSTRAINT" => self.run_constraint(&sql, trust, &what).await?,
            // It may have been left out.
            "COMMENT" if item.name.starts_with("CONSTRAINT ") => {
                self.tried(&sql, trust, &[UNDEFINED], &what, "is left out").await?
            }
            kind if OF_DATABASE.contains(&kind) => {
                self.tried(&sql, trust, &[DUPLICATE], &what, "stays as it is").await?
            }
            _ => self.send(&sql, trust).await,
        };
        if item.sql.starts_with("SET default_") && ran.is_ok() {
            let reset = "SET default_tablespace = ''; SET default_table_access_method = heap";
            self.session.run(reset).await?;
        }
        ran.map_err(|error| Fault::Server(error).at(&what))
    }

    /// Runs one definition; if it fails, nothing of it is left, and others can be run.
    pub(super) async fn run_apart(
        &mut self,
        item: &Item,
        trust: Trust,
    ) -> Result<Result<(), Fault>, Fault> {
        self.session.run("SAVEPOINT apart").await?;
        let ran = self.run(item, trust).await;
        if ran.is_err() {
            if self.session.is_broken() {
                return ran.map(Ok);
            }
            self.session.run("ROLLBACK TO SAVEPOINT apart").await?;
        }
        self.session.run("RELEASE SAVEPOINT apart").await?;
        Ok(ran)
    }

    /// Runs each statement by itself; those for roles that are not there are left out.
    async fn run_grants(&mut self, sql: &str, trust: Trust) -> Result<Result<(), Error>, Fault> {
        for statement in statements(sql) {
            let what = statement.trim().trim_end_matches(';');
            // The last where a granter is not there.
            let codes = [UNDEFINED, FORBIDDEN, INVALID];
            let ran = self.tried(statement, trust, &codes, what, "is left out").await?;
            if ran.is_err() {
                return Ok(ran);
            }
        }
        Ok(Ok(()))
    }

    /// Runs a text as it is. One that is not ours goes statement by statement, so that the server would refuse what the
    /// guard took for one and is several.
    pub(super) async fn send(&mut self, sql: &str, trust: Trust) -> Result<(), Error> {
        if trust == Trust::Own {
            return self.session.run(sql).await;
        }
        for statement in statements(sql) {
            self.session.run_one(statement).await?;
        }
        Ok(())
    }

    /// Runs what may fail with some errors: then it is undone, and it is told what becomes of `what`.
    async fn tried(
        &mut self,
        sql: &str,
        trust: Trust,
        codes: &[&str],
        what: &str,
        becomes: &str,
    ) -> Result<Result<(), Error>, Fault> {
        self.session.run("SAVEPOINT definition").await?;
        match self.send(sql, trust).await {
            Ok(()) => {}
            Err(error) if codes.contains(&sqlstate(&error).as_str()) => {
                self.session.run("ROLLBACK TO SAVEPOINT definition").await?;
                match sqlstate(&error).as_str() {
                    DUPLICATE => self.warnings.keep(what.to_owned()),
                    _ => self.warnings.add(format!("{what} {becomes} ({})", describe(&error))),
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        self.session.run("RELEASE SAVEPOINT definition").await?;
        Ok(Ok(()))
    }
}

/// What an item is called in a sentence. The names of some begin with their kind already.
fn called(item: &Item) -> String {
    let name = item.name.strip_prefix(&item.kind).and_then(|rest| rest.strip_prefix(' '));
    format!("{} {}", item.kind.to_lowercase(), name.unwrap_or(&item.name))
}
