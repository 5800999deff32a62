//! Views, triggers and virtual tables as members of an archive: texts that `sqlite3` loads after all tables, in a form
//! that is also read here.
//!
//! A virtual table is written into the schema as it is. Its module keeps its contents in tables of their own, the
//! shadow tables, which are dumped like any other: so nothing is indexed again, and an index without contents comes
//! back too.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::order;
use super::render::{identifier, value};
use crate::catalog::is_own_table;
use crate::source::database::ObjectText;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    VirtualTable,
    View,
    Trigger,
}

impl Kind {
    const ALL: [Self; 3] = [Self::VirtualTable, Self::View, Self::Trigger];

    /// By the type that the schema has for it.
    pub fn of(kind: &str) -> Self {
        match kind {
            "view" => Self::View,
            "trigger" => Self::Trigger,
            _ => Self::VirtualTable,
        }
    }

    /// The kind in a member's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualTable => "virtual_table",
            Self::View => "view",
            Self::Trigger => "trigger",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub kind: Kind,
    pub name: String,
    /// As the schema has it.
    pub sql: String,
    /// Where it stands in the schema, if that is known.
    pub position: Option<i64>,
}

/// Reads all of them, in an order in which they can be made.
pub(super) fn read(db: &Connection) -> Result<Vec<Object>> {
    let mut listing = db.prepare(
        "SELECT type, name, tbl_name, sql, rowid FROM sqlite_schema \
         WHERE type IN ('view', 'trigger') OR type = 'table' AND rootpage = 0 \
         ORDER BY type = 'trigger', type = 'view', rowid",
    )?;
    let all = listing
        .query_map([], |row| {
            let kind: String = row.get(0)?;
            let (name, sql, position) = (row.get(1)?, row.get(3)?, row.get(4)?);
            Ok((row.get(2)?, Object { kind: Kind::of(&kind), name, sql, position }))
        })?
        .collect::<Result<Vec<(String, Object)>>>()?;
    let all = all.into_iter().filter(|(table, _)| !is_own_table(table));
    Ok(all.map(|(_, object)| object).collect())
}

impl Object {
    pub fn text(&self) -> ObjectText {
        let (before, after) = self.frame();
        let position = order::line(self.position).into_bytes();
        let sql = match self.kind {
            Kind::VirtualTable => [position, before, literal(&self.sql), after].concat(),
            _ => [position, before, self.sql.clone().into(), after].concat(),
        };
        ObjectText { kind: self.kind.as_str().to_owned(), name: self.name.clone(), sql }
    }

    /// What stands before and after the definition. (That may end with a comment, so the `;` has its own line.)
    fn frame(&self) -> (Vec<u8>, Vec<u8>) {
        let name = literal(&self.name);
        let drop = |what: &str| format!("DROP {what} IF EXISTS {};\n", identifier(&self.name));
        match self.kind {
            Kind::View => (drop("VIEW").into(), b"\n;\n".to_vec()),
            Kind::Trigger => (drop("TRIGGER").into(), b"\n;\n".to_vec()),
            Kind::VirtualTable => (
                [
                    b"PRAGMA writable_schema=ON;\nDELETE FROM sqlite_schema WHERE type='table' AND name=",
                    name.as_slice(),
                    b";\nINSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES('table',",
                    &name,
                    b",",
                    &name,
                    b",0,",
                ]
                .concat(),
                b");\nPRAGMA writable_schema=RESET;\n".to_vec(),
            ),
        }
    }

    /// Reads a text of [`Self::text`]; `literal` reads what [`super::render`] wrote. None: it is not of this form.
    pub fn from_text(
        text: &ObjectText,
        literal: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == text.kind)?;
        let (positions, sql) = order::read(&text.sql);
        let position = positions.first().copied();
        let mut object = Self { kind, name: text.name.clone(), sql: String::new(), position };
        let (before, after) = object.frame();
        let sql = sql.strip_prefix(before.as_slice())?.strip_suffix(after.as_slice())?;
        object.sql = match kind {
            Kind::VirtualTable => String::from_utf8(literal(sql)?).ok()?,
            _ => String::from_utf8(sql.to_vec()).ok()?,
        };
        let begin = match kind {
            Kind::VirtualTable => "CREATE VIRTUAL TABLE ",
            Kind::View => "CREATE VIEW ",
            Kind::Trigger => "CREATE TRIGGER ",
        };
        object.sql.starts_with(begin).then_some(object)
    }
}

fn literal(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    value(&mut out, ValueRef::Text(text.as_bytes()));
    out
}
