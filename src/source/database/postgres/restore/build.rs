//! The archive's definitions, run in the new schemas.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::Error;

use super::super::catalog::{self, Relation};
use super::super::connect::Session;
use super::super::items::{Item, skip};
use super::super::sqlstate;
use super::journal::{Place, Swapped};
use super::{Fault, aside, bound, extensions, guard};
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

/// Made after the rows, which is faster.
const DEFERRED: &[&str] = &["CONSTRAINT", "CHECK CONSTRAINT", "INDEX"];

/// The definitions of an archive.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub before: Vec<(Item, Trust)>,
    pub after: Vec<(Item, Trust)>,
    /// Whether the archive's objects came at all.
    pub has_objects: bool,
    /// Each table's, with its place in the order of making.
    pub tables: Vec<(u64, Vec<Item>, Trust)>,
}

/// What was made so far.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub schemas: Vec<Swapped>,
    pub relations: BTreeMap<String, Relation>,
    pub deferred: Vec<(Item, Trust)>,
}

pub(super) struct Builder<'a> {
    pub session: &'a mut Session,
    pub place: &'a Place,
    pub warnings: &'a mut Vec<String>,
    /// The schemas that are replaced or added.
    pub schemas: BTreeSet<String>,
    /// Whom we may give things to.
    pub roles: HashSet<String>,
}

impl Definitions {
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        let tables = self.tables.iter().flat_map(|(_, items, _)| items);
        self.before.iter().chain(&self.after).map(|(item, _)| item).chain(tables)
    }

    /// The schemas that they make or are in.
    pub fn schemas(&self) -> BTreeSet<String> {
        // A heading has a space for each line break of a name; the statement has the name itself.
        let made: Vec<String> = self.items().filter_map(made_schema).collect();
        let schema = |item: &Item| {
            let named = match item.kind.as_str() {
                "SCHEMA" => &item.name,
                _ => &item.schema,
            };
            let real = made.iter().find(|made| made.replace(['\n', '\r'], " ") == *named);
            Some(real.unwrap_or(named).clone()).filter(|schema| schema != "-" && !schema.is_empty())
        };
        self.items().filter_map(schema).chain(made.iter().cloned()).collect()
    }
}

impl Builder<'_> {
    /// Puts the live schemas aside and makes everything but what waits for the rows.
    pub async fn build(&mut self, definitions: &mut Definitions) -> Result<Built, Fault> {
        let mut built = Built::default();
        bound::note(self.session, self.place).await?;
        let mut schemas = Vec::new();
        for name in definitions.schemas() {
            if !aside::is_fixed(self.session, &name).await? {
                schemas.push(name);
            }
        }
        bound::silence(self.session, &schemas).await?;
        for name in schemas {
            let replaces = aside::exists(self.session, &name).await?;
            let swapped = Swapped { number: built.schemas.len(), name: name.clone(), replaces };
            aside::replace(self.session, self.place, &swapped, !definitions.has_objects).await?;
            built.schemas.push(swapped);
            self.schemas.insert(name);
        }
        extensions::follow(self.session, self.place, &built.schemas).await?;
        for (item, trust) in std::mem::take(&mut definitions.before) {
            self.run(&item, trust).await?;
        }
        let mut tables = std::mem::take(&mut definitions.tables);
        tables.sort_by_key(|(position, ..)| *position);
        let mut attach = Vec::new();
        for (_, items, trust) in tables {
            for item in items {
                match item.kind.as_str() {
                    "TABLE ATTACH" => attach.push((item, trust)),
                    kind if DEFERRED.contains(&kind) || is_about_deferred(&item) => {
                        built.deferred.push((item, trust));
                    }
                    _ => self.run(&item, trust).await?,
                }
            }
        }
        for (item, trust) in attach {
            self.run(&item, trust).await?;
        }
        built.relations = catalog::relations(self.session).await?;
        built.relations.retain(|_, relation| self.schemas.contains(&relation.schema));
        Ok(built)
    }

    /// Runs one definition.
    pub async fn run(&mut self, item: &Item, trust: Trust) -> Result<(), Fault> {
        let what = format!("{} {}", item.kind.to_lowercase(), item.name);
        if item.kind == "EXTENSION" {
            return extensions::ensure(self.session, self.place, item, trust).await;
        }
        let mut sql = text(item);
        let of_extension = is_of_extension(item);
        if of_extension && trust == Trust::Foreign {
            // The extension brings its own.
            return Ok(());
        }
        if trust == Trust::Foreign {
            judge(item, &self.schemas)?;
        }
        let owner = item.owner.as_str();
        if !matches!(owner, "" | "-")
            && !self.roles.contains(owner)
            && let Some(stripped) = without_owner(&sql)
        {
            sql = stripped;
            self.warn(format!(
                "there is no role {owner} that things could be given to: they belong to the database's user"
            ));
        }
        if let Some((set, rest)) = sql.split_once('\n')
            && set.starts_with("SET default_tablespace = ")
        {
            let about = format!("{what} lies in the usual tablespace");
            let ran = self.tried(set, &[INVALID], &about).await?;
            ran.map_err(|error| Fault::Server(error).at(&what))?;
            sql = rest.to_owned();
        }
        if sql.trim().is_empty() {
            return Ok(());
        }
        let ran = match item.kind.as_str() {
            "ACL" | "DEFAULT ACL" | "SECURITY LABEL" => self.run_grants(&sql).await?,
            _ if of_extension => self.tried(&sql, &[FORBIDDEN], "a comment is left out").await?,
            // Without one that restricts others, rows would be seen that must not be.
            "POLICY" if !sql.contains(" AS RESTRICTIVE ") => {
                self.tried(&sql, &[UNDEFINED], &format!("{what} is left out")).await?
            }
            "USER MAPPING" => {
                let about = format!("{what} is left out, or stays as it is");
                self.tried(&sql, &[UNDEFINED, DUPLICATE], &about).await?
            }
            kind if OF_DATABASE.contains(&kind) => {
                self.tried(&sql, &[DUPLICATE], &format!("{what} stays as it is")).await?
            }
            _ => self.session.run(&sql).await,
        };
        if item.sql.starts_with("SET default_") && ran.is_ok() {
            let reset = "SET default_tablespace = ''; SET default_table_access_method = heap";
            self.session.run(reset).await?;
        }
        ran.map_err(|error| Fault::Server(error).at(&what))
    }

    /// Runs each statement by itself; those for roles that are not there are left out.
    async fn run_grants(&mut self, sql: &str) -> Result<Result<(), Error>, Fault> {
        for statement in sql.split_inclusive(";\n") {
            let about = format!("left out: {}", statement.trim());
            let ran = self.tried(statement, &[UNDEFINED, FORBIDDEN], &about).await?;
            if ran.is_err() {
                return Ok(ran);
            }
        }
        Ok(Ok(()))
    }

    /// Runs what may fail with some errors: then it is undone, and `about` becomes a warning.
    async fn tried(
        &mut self,
        sql: &str,
        codes: &[&str],
        about: &str,
    ) -> Result<Result<(), Error>, Fault> {
        self.session.run("SAVEPOINT definition").await?;
        match self.session.run(sql).await {
            Ok(()) => {}
            Err(error) if codes.contains(&sqlstate(&error).as_str()) => {
                self.session.run("ROLLBACK TO SAVEPOINT definition").await?;
                self.warn(format!("{about} ({})", super::super::describe(&error)));
            }
            Err(error) => return Ok(Err(error)),
        }
        self.session.run("RELEASE SAVEPOINT definition").await?;
        Ok(Ok(()))
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) && self.warnings.len() < 100 {
            self.warnings.push(warning);
        }
    }
}

/// Whether a definition of an archive that is not ours may be run. `schemas`: those that are replaced or added.
pub(super) fn judge(item: &Item, schemas: &BTreeSet<String>) -> Result<(), Fault> {
    if item.kind == "EXTENSION" || is_of_extension(item) {
        // The server's own; they are looked at where it can be asked.
        return Ok(());
    }
    guard::check(&text(item), schemas).map_err(|why| {
        let what = format!("{} {}", item.kind.to_lowercase(), item.name);
        Fault::Text(format!(
            "the archive is not one of this service's own, and its {what} is refused: {why}; trust the archive to \
             restore it nevertheless"
        ))
    })
}

/// What is run of a definition.
fn text(item: &Item) -> String {
    match item.kind.as_str() {
        "SCHEMA" => without_create(&item.sql),
        _ => item.sql.clone(),
    }
}

fn is_of_extension(item: &Item) -> bool {
    item.kind == "COMMENT" && item.name.starts_with("EXTENSION ")
}

/// The roles that we may act for.
pub(super) async fn roles(session: &mut Session) -> Result<HashSet<String>, Fault> {
    let query =
        "SELECT rolname::text FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')";
    Ok(session.column(query).await?.into_iter().collect())
}

fn is_about_deferred(item: &Item) -> bool {
    item.kind == "COMMENT"
        && (item.name.starts_with("INDEX ") || item.name.starts_with("CONSTRAINT "))
}

/// The definition without its last line, if that gives it to its owner.
fn without_owner(sql: &str) -> Option<String> {
    let (before, last) = sql.trim_end().rsplit_once('\n').unwrap_or(("", sql.trim_end()));
    let gives = last.starts_with("ALTER ") && last.contains(" OWNER TO ") && last.ends_with(';');
    gives.then(|| before.to_owned())
}

/// The name in `CREATE SCHEMA …;`.
fn made_schema(item: &Item) -> Option<String> {
    let rest = item.sql.strip_prefix("CREATE SCHEMA ").filter(|_| item.kind == "SCHEMA")?;
    let Some(quoted) = rest.strip_prefix('"') else {
        return rest.split(';').next().map(str::to_owned);
    };
    // Two quotes stand for one.
    let mut name = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' if !rest.as_str().starts_with('"') => return Some(name),
            '"' => name.extend(rest.next()),
            other => name.push(other),
        }
    }
}

/// What follows `CREATE SCHEMA …;`, which was made already.
fn without_create(sql: &str) -> String {
    if !sql.starts_with("CREATE SCHEMA ") {
        return sql.to_owned();
    }
    let mut at = 0;
    while at < sql.len() {
        if sql.as_bytes()[at] == b';' {
            return sql[at + 1..].to_owned();
        }
        at = skip(sql, at);
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_definitions_are_left_out() {
        assert_eq!(
            without_owner("CREATE TABLE t ();\n\n\nALTER TABLE t OWNER TO x;").as_deref(),
            Some("CREATE TABLE t ();\n\n")
        );
        assert_eq!(without_owner("CREATE TABLE t ();"), None);
        assert_eq!(without_create("CREATE SCHEMA \"a;b\";\nALTER SCHEMA x"), "\nALTER SCHEMA x");
        assert_eq!(without_create("-- *not* creating schema"), "-- *not* creating schema");
    }
}
