//! Foreign keys: read from the server, dropped, and made again as they were.

use std::collections::HashMap;

use mysql_async::Error;
use serde::{Deserialize, Serialize};

use super::super::connect::Session;
use super::super::render::identifier;
use super::literal;
use super::place::qualified;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ForeignKey {
    /// Where the referring table is, when all is at rest.
    pub schema: String,
    pub table: String,
    pub name: String,
    pub columns: Vec<String>,
    pub parent_schema: String,
    pub parent: String,
    pub parent_columns: Vec<String>,
    /// `ON DELETE …` and `ON UPDATE …`, as far as the server needs to be told.
    pub rules: String,
}

impl ForeignKey {
    /// The statement that makes it. (Naming the index that serves it would not do: MariaDB takes that for the key's
    /// own name. So where the server had made that index by itself, it makes it anew, by the key's name.)
    fn add(&self) -> String {
        format!(
            "ALTER TABLE {} ADD CONSTRAINT {} {}",
            qualified(&self.schema, &self.table),
            identifier(&self.name),
            self.clause()
        )
    }

    /// From FOREIGN KEY on.
    pub fn clause(&self) -> String {
        let list = |names: &[String]| {
            names.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(",")
        };
        format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}){}",
            list(&self.columns),
            qualified(&self.parent_schema, &self.parent),
            list(&self.parent_columns),
            self.rules
        )
    }

    fn drop(&self) -> String {
        format!(
            "ALTER TABLE {} DROP FOREIGN KEY {}",
            qualified(&self.schema, &self.table),
            identifier(&self.name)
        )
    }

    /// What the server has under this name now.
    async fn there(&self, session: &mut Session) -> Result<Option<Self>, Error> {
        let found = of_table(session, &self.schema, &self.table).await?;
        Ok(found.into_iter().find(|key| key.name.eq_ignore_ascii_case(&self.name)))
    }

    /// Drops it, if it is there, wherever it points to.
    pub async fn remove(&self, session: &mut Session) -> Result<(), Error> {
        match self.there(session).await? {
            Some(_) => session.run(&self.drop()).await,
            None => Ok(()),
        }
    }

    /// Makes it, unless it is there already.
    pub async fn ensure(&self, session: &mut Session) -> Result<(), Error> {
        match self.there(session).await? {
            Some(found) if found == *self => return Ok(()),
            Some(_) => session.run(&self.drop()).await?,
            None => {}
        }
        session.run(&self.add()).await
    }
}

/// The foreign keys of all tables of a schema.
pub(super) async fn of_schema(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<ForeignKey>, Error> {
    read(session, schema, "").await
}

/// The foreign keys of one table.
pub(super) async fn of_table(
    session: &mut Session,
    schema: &str,
    table: &str,
) -> Result<Vec<ForeignKey>, Error> {
    read(session, schema, &format!("AND TABLE_NAME = {}", literal(table))).await
}

/// The foreign keys of other schemas that refer to a schema's tables, as far as we may see them.
pub(super) async fn from_elsewhere(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<ForeignKey>, Error> {
    let schema = literal(schema);
    let query = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME <> {schema} \
         AND SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')"
    );
    let refers = format!("AND REFERENCED_TABLE_SCHEMA = {schema}");
    let mut keys = Vec::new();
    for other in session.rows::<String>(&query).await? {
        keys.extend(read(session, &other, &refers).await?);
    }
    Ok(keys)
}

/// The foreign keys in one schema whose columns are as `filter` says. (Asked for several schemas at once, or joined,
/// both lists have MariaDB open every table that it has.)
async fn read(session: &mut Session, schema: &str, filter: &str) -> Result<Vec<ForeignKey>, Error> {
    type Found = (String, String, String, String, String, String, String);
    let of = literal(schema);
    let query = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, \
         REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME \
         FROM information_schema.KEY_COLUMN_USAGE \
         WHERE TABLE_SCHEMA = {of} AND REFERENCED_TABLE_NAME IS NOT NULL {filter} \
         ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
    );
    let mut keys: Vec<ForeignKey> = Vec::new();
    for (schema, table, name, column, parent_schema, parent, parent_column) in
        session.rows::<Found>(&query).await?
    {
        match keys.last_mut() {
            Some(last) if last.table == table && last.name == name => {
                last.columns.push(column);
                last.parent_columns.push(parent_column);
            }
            _ => keys.push(ForeignKey {
                schema,
                table,
                name,
                columns: vec![column],
                parent_schema,
                parent,
                parent_columns: vec![parent_column],
                rules: String::new(),
            }),
        }
    }
    let Some(first) = keys.first() else { return Ok(keys) };
    let one = match keys.iter().all(|key| key.table == first.table) {
        true => format!(" AND TABLE_NAME = {}", literal(&first.table)),
        false => String::new(),
    };
    let query = format!(
        "SELECT TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {of}{one}"
    );
    let version = session.rows::<String>("SELECT VERSION()").await?.pop().unwrap_or_default();
    let mut rules = HashMap::new();
    for (table, name, update, delete) in
        session.rows::<(String, String, String, String)>(&query).await?
    {
        let text = rule(&version, "DELETE", &delete) + &rule(&version, "UPDATE", &update);
        rules.insert((table, name), text);
    }
    // One that was dropped between the two is none.
    keys.retain_mut(|key| {
        let found = rules.remove(&(key.table.clone(), key.name.clone()));
        found.map(|found| key.rules = found).is_some()
    });
    Ok(keys)
}

/// What was not said must not be said: MariaDB calls that RESTRICT, but makes NO ACTION of RESTRICT when told so;
/// MySQL calls it NO ACTION since its version 8.
fn rule(version: &str, event: &str, rule: &str) -> String {
    let major = version.split('.').next().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let unsaid = if version.contains("MariaDB") || major < 8 { "RESTRICT" } else { "NO ACTION" };
    match rule == unsaid {
        true => String::new(),
        false => format!(" ON {event} {rule}"),
    }
}

#[cfg(test)]
mod tests {
    use super::rule;

    #[test]
    fn only_what_was_said_is_said_again() {
        assert_eq!(rule("10.11.19-MariaDB-log", "DELETE", "RESTRICT"), "");
        assert_eq!(rule("10.11.19-MariaDB-log", "DELETE", "NO ACTION"), " ON DELETE NO ACTION");
        assert_eq!(rule("8.4.2", "UPDATE", "NO ACTION"), "");
        assert_eq!(rule("8.4.2", "UPDATE", "RESTRICT"), " ON UPDATE RESTRICT");
        assert_eq!(rule("5.7.44", "UPDATE", "CASCADE"), " ON UPDATE CASCADE");
    }
}
