//! Foreign keys: read from the server, dropped, and made again as they were.

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
    pub on_update: String,
    pub on_delete: String,
}

impl ForeignKey {
    /// The statement that makes it.
    pub fn add(&self) -> String {
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
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
            list(&self.columns),
            qualified(&self.parent_schema, &self.parent),
            list(&self.parent_columns),
            self.on_delete,
            self.on_update
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
    let schema = literal(schema);
    read(session, &format!("r.CONSTRAINT_SCHEMA = {schema} AND k.TABLE_SCHEMA = {schema}")).await
}

/// The foreign keys of one table.
pub(super) async fn of_table(
    session: &mut Session,
    schema: &str,
    table: &str,
) -> Result<Vec<ForeignKey>, Error> {
    let (schema, table) = (literal(schema), literal(table));
    let filter = format!(
        "r.CONSTRAINT_SCHEMA = {schema} AND k.TABLE_SCHEMA = {schema} \
         AND r.TABLE_NAME = {table} AND k.TABLE_NAME = {table}"
    );
    read(session, &filter).await
}

/// The foreign keys of other schemas that refer to a schema's tables, as far as we may see them.
pub(super) async fn from_elsewhere(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<ForeignKey>, Error> {
    let schema = literal(schema);
    let query = format!(
        "SELECT DISTINCT CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS \
         WHERE UNIQUE_CONSTRAINT_SCHEMA = {schema} AND CONSTRAINT_SCHEMA <> {schema}"
    );
    let mut keys = Vec::new();
    for other in session.rows::<String>(&query).await? {
        let other = literal(&other);
        let filter = format!(
            "r.CONSTRAINT_SCHEMA = {other} AND k.TABLE_SCHEMA = {other} AND r.UNIQUE_CONSTRAINT_SCHEMA = {schema}"
        );
        keys.extend(read(session, &filter).await?);
    }
    Ok(keys)
}

async fn read(session: &mut Session, filter: &str) -> Result<Vec<ForeignKey>, Error> {
    type Found = (String, String, String, String, String, String, String, String, String);
    let query = format!(
        "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, \
         k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE \
         FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
         ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME \
         AND r.TABLE_NAME = k.TABLE_NAME \
         WHERE {filter} AND k.REFERENCED_TABLE_NAME IS NOT NULL \
         ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"
    );
    let mut keys: Vec<ForeignKey> = Vec::new();
    for (schema, table, name, column, parent_schema, parent, parent_column, on_update, on_delete) in
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
                on_update,
                on_delete,
            }),
        }
    }
    Ok(keys)
}
