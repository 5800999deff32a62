//! The definitions that an archive has.

use std::collections::BTreeSet;

use super::super::items::{self, Item, skip, statements};
use super::belonging;
use crate::source::database::{ObjectText, Trust};

/// The definitions of an archive.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub before: Vec<(Item, Trust)>,
    pub after: Vec<(Item, Trust)>,
    /// Whether what stands before the tables came, as it does unless only some of these are wanted.
    pub has_objects: bool,
    /// Whether what waits for the tables came.
    pub has_after: bool,
    /// Each table's, with its place in the order of making.
    pub tables: Vec<(u64, Vec<Item>, Trust)>,
}

impl Definitions {
    /// Adds the archive's text of that name.
    pub fn take(&mut self, name: &str, text: &str, trust: Trust) {
        let after = name == ObjectText::AFTER_TABLES;
        let list = if after { &mut self.after } else { &mut self.before };
        list.extend(items::parse(text).into_iter().map(|item| (item, trust)));
        self.has_after |= after;
        self.has_objects |= !after;
    }

    /// Where only tables are wanted, leaves nothing but what belongs to them.
    pub fn choose(&mut self) {
        if !self.has_objects {
            let of_tables: Vec<&Item> =
                self.tables.iter().flat_map(|(_, items, _)| items).collect();
            self.after.retain(|(item, _)| belonging::belongs(item, &of_tables));
        }
    }

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

    /// Whether they have anything in a schema, and not only the schema.
    pub fn fills(&self, schema: &str) -> bool {
        let line = schema.replace(['\n', '\r'], " ");
        self.items().any(|item| item.kind != "SCHEMA" && item.schema == line)
    }
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

/// What is run of a definition.
pub(super) fn text(item: &Item) -> String {
    match item.kind.as_str() {
        "SCHEMA" => without_create(&item.sql),
        _ => item.sql.clone(),
    }
}

pub(super) fn is_of_extension(item: &Item) -> bool {
    item.kind == "COMMENT" && item.name.starts_with("EXTENSION ")
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

/// The definition without its last statement, if that gives it to its owner.
pub(super) fn without_owner(sql: &str) -> Option<String> {
    let mut parts = statements(sql);
    let last = parts.pop()?.trim();
    let gives = last.starts_with("ALTER ") && last.contains(" OWNER TO ") && last.ends_with(';');
    gives.then(|| parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_definitions_are_left_out() {
        assert_eq!(
            without_owner("CREATE TABLE t ();\n\n\nALTER TABLE t OWNER TO x;").as_deref(),
            Some("CREATE TABLE t ();")
        );
        assert_eq!(
            without_owner("CREATE TYPE t AS ENUM (';');\nALTER TYPE t OWNER TO \"x;\ny\";")
                .as_deref(),
            Some("CREATE TYPE t AS ENUM (';');")
        );
        assert_eq!(without_owner("CREATE TABLE t ();"), None);
        assert_eq!(without_create("CREATE SCHEMA \"a;b\";\nALTER SCHEMA x"), "\nALTER SCHEMA x");
        assert_eq!(without_create("-- *not* creating schema"), "-- *not* creating schema");
    }
}
