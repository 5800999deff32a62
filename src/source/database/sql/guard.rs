//! Judges statements before they are run: an archive is hostile SQL until it is proven ours.

mod create;

use std::ops::Range;

use super::lexer::{Kind, Token, tokens};
use super::literal::is_literal;
use super::names::{name, same};
use super::rows::Rows;
use super::{Dialect, SqlError, beginning};
use crate::source::database::Trust;

/// What a statement of a scheme member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source::database) enum SchemeStatement {
    /// `DROP TABLE` of the member's table.
    Drop,
    /// `CREATE TABLE` of it. `name`: where its name stands in the statement, quotes included.
    Create { name: Range<usize> },
    /// `CREATE INDEX` on it (SQLite).
    Index,
    /// `PRAGMA user_version` and `application_id` (SQLite).
    Number { pragma: &'static str, value: i64 },
    /// Where its `AUTOINCREMENT` stands (SQLite); None: nowhere yet.
    Sequence(Option<i64>),
    /// A setting of the session that our dumps make for their rows (MySQL). Nothing depends on it being run by a
    /// loader that makes it itself.
    Session,
}

/// The rules for one table's members.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::database) struct Guard<'a> {
    pub dialect: Dialect,
    /// The table that the members are named after.
    pub table: &'a str,
    pub trust: Trust,
}

type Judged<T> = Result<T, String>;

impl Guard<'_> {
    /// Judges a statement of a scheme member.
    pub fn scheme(&self, statement: &[u8]) -> Result<SchemeStatement, SqlError> {
        self.judge_scheme(statement).map_err(|why| self.refused(statement, why))
    }

    /// Judges rows in a scheme member: where an `AUTOINCREMENT` stands is all that our dumps insert there.
    pub fn sequence(&self, rows: &Rows<'_>) -> Result<SchemeStatement, SqlError> {
        let name = format!("'{}'", self.table.replace('\'', "''"));
        let ours = self.dialect == Dialect::Sqlite
            && rows.head.schema.is_none()
            && !rows.head.modified
            && rows.head.table == b"sqlite_sequence"
            && rows.columns().is_some_and(|columns| columns == [&b"name"[..], b"seq"]);
        let last = match rows.values {
            [table, last] if ours && table.of(rows.body) == name.as_bytes() => {
                std::str::from_utf8(last.of(rows.body)).ok().and_then(|last| last.parse().ok())
            }
            _ => None,
        };
        match last {
            Some(last) => Ok(SchemeStatement::Sequence(Some(last))),
            None => Err(self.refuse_rows(rows, "a definition has no rows".to_owned())),
        }
    }

    /// Judges a statement of a data member that inserts no rows.
    pub fn statement(&self, statement: &[u8]) -> Result<(), SqlError> {
        match self.is_session(statement) {
            true => Ok(()),
            false => Err(self.refused(statement, "only rows may be inserted here".to_owned())),
        }
    }

    /// Judges rows: in MySQL, values must be literals unless the archive is trusted. In SQLite they are not judged:
    /// whoever loads them reads them himself, and has no SQL run.
    pub fn rows(&self, rows: &Rows<'_>) -> Result<(), SqlError> {
        self.judge_rows(rows).map_err(|why| self.refuse_rows(rows, why))
    }

    fn refuse_rows(&self, rows: &Rows<'_>, why: String) -> SqlError {
        let mut start = Vec::new();
        let beginning = Rows { body: &rows.body[..rows.body.len().min(400)], ..*rows };
        beginning.write(None, None, &mut start);
        self.refused(&start, why)
    }

    fn refused(&self, statement: &[u8], why: String) -> SqlError {
        SqlError::Refused { member: self.table.to_owned(), start: beginning(statement), why }
    }

    fn foreign(&self) -> bool {
        self.trust == Trust::Foreign
    }

    fn judge_scheme(&self, statement: &[u8]) -> Judged<SchemeStatement> {
        if self.is_session(statement) {
            return Ok(SchemeStatement::Session);
        }
        if self.dialect == Dialect::Sqlite
            && let Some(known) = self.sqlite_line(statement)
        {
            return Ok(known);
        }
        let all = self.tokens(statement)?;
        match &all[..] {
            [drop, table, rest @ ..]
                if drop.is(statement, "DROP") && table.is(statement, "TABLE") =>
            {
                let rest = words(statement, rest, &["IF", "EXISTS"]).unwrap_or(rest);
                match self.own_table(statement, rest)? {
                    (_, []) => Ok(SchemeStatement::Drop),
                    _ => Err("something follows the table's name".to_owned()),
                }
            }
            [create, table, rest @ ..]
                if create.is(statement, "CREATE") && table.is(statement, "TABLE") =>
            {
                let rest = words(statement, rest, &["IF", "NOT", "EXISTS"]).unwrap_or(rest);
                let (name, rest) = self.own_table(statement, rest)?;
                if self.foreign() {
                    create::judge(self.dialect, statement, rest)?;
                }
                Ok(SchemeStatement::Create { name })
            }
            [create, rest @ ..]
                if create.is(statement, "CREATE") && self.dialect == Dialect::Sqlite =>
            {
                self.index(statement, rest)
            }
            _ => Err("it is none that a table's definition consists of".to_owned()),
        }
    }

    /// The tokens without comments, if there is nothing suspicious in how they are written.
    fn tokens(&self, statement: &[u8]) -> Judged<Vec<Token>> {
        let mut all =
            tokens(self.dialect, statement).ok_or("it ends within a string or a comment")?;
        if all.iter().any(|token| token.kind == Kind::Symbol(b';')) {
            return Err("it is more than one statement".to_owned());
        }
        if self.foreign() {
            for token in &all {
                match token.kind {
                    Kind::Executable => {
                        return Err("it has a comment that servers run".to_owned());
                    }
                    // No server writes one into a definition.
                    Kind::Comment if self.dialect == Dialect::MySql => {
                        return Err("it has a comment".to_owned());
                    }
                    Kind::Symbol(byte) if byte < b' ' || byte == 0x7f => {
                        return Err("it has a control character".to_owned());
                    }
                    _ => {}
                }
            }
        }
        all.retain(|token| token.kind != Kind::Comment);
        Ok(all)
    }

    /// The member's own name at the beginning of `rest`: where it stands, and what follows.
    fn own_table<'t>(
        &self,
        statement: &[u8],
        rest: &'t [Token],
    ) -> Judged<(Range<usize>, &'t [Token])> {
        let start = rest.first().map_or(0, |token| token.start);
        let (table, after) = name(self.dialect, statement, rest).ok_or("it names no table")?;
        if after.first().is_some_and(|token| token.kind == Kind::Symbol(b'.')) {
            return Err("its table has a database before its name".to_owned());
        }
        self.is_own(&table)?;
        let end = rest.get(rest.len() - after.len() - 1).map_or(start, |token| token.end);
        Ok((start..end, after))
    }

    fn is_own(&self, table: &[u8]) -> Judged<()> {
        match same(self.dialect, table, self.table) {
            true => Ok(()),
            false => Err(format!("it is about table {}", beginning(table))),
        }
    }

    fn index(&self, statement: &[u8], rest: &[Token]) -> Judged<SchemeStatement> {
        let rest = words(statement, rest, &["UNIQUE"]).unwrap_or(rest);
        let rest = words(statement, rest, &["INDEX"])
            .ok_or("it makes something else than a table or an index")?;
        let (_, rest) = name(self.dialect, statement, rest).ok_or("its index has no name")?;
        let rest = words(statement, rest, &["ON"]).ok_or("its index is on no table")?;
        let (_, rest) = self.own_table(statement, rest)?;
        if self.foreign() {
            create::judge(self.dialect, statement, rest)?;
        }
        Ok(SchemeStatement::Index)
    }

    /// What our dumps of SQLite write word for word.
    fn sqlite_line(&self, statement: &[u8]) -> Option<SchemeStatement> {
        let text = std::str::from_utf8(statement).ok()?.trim_ascii_end();
        for pragma in ["application_id", "user_version"] {
            let value = text.strip_prefix("PRAGMA ").and_then(|rest| rest.strip_prefix(pragma));
            if let Some(value) = value.and_then(|rest| rest.strip_prefix('=')) {
                return Some(SchemeStatement::Number { pragma, value: value.parse().ok()? });
            }
        }
        let name = self.table.replace('\'', "''");
        let delete = format!("DELETE FROM sqlite_sequence WHERE name='{name}'");
        (text == delete).then_some(SchemeStatement::Sequence(None))
    }

    /// What our dumps of MySQL write word for word.
    fn is_session(&self, statement: &[u8]) -> bool {
        const LINES: [&str; 7] = [
            "SET NAMES utf8mb4",
            "SET time_zone='+00:00'",
            "SET sql_mode='NO_AUTO_VALUE_ON_ZERO'",
            "SET sql_mode=DEFAULT",
            "SET time_zone=DEFAULT",
            "SET system_versioning_insert_history=1",
            "SET system_versioning_insert_history=DEFAULT",
        ];
        self.dialect == Dialect::MySql
            && LINES.iter().any(|line| line.as_bytes() == statement.trim_ascii_end())
    }

    fn judge_rows(&self, rows: &Rows<'_>) -> Judged<()> {
        if rows.head.schema.is_some() {
            return Err("its table has a database before its name".to_owned());
        }
        self.is_own(&rows.head.table)?;
        if rows.head.modified && (self.foreign() || self.dialect == Dialect::Sqlite) {
            return Err("it is more than INSERT INTO or REPLACE INTO".to_owned());
        }
        if self.dialect == Dialect::Sqlite || !self.foreign() {
            return Ok(());
        }
        if rows.commented {
            return Err("it has a comment".to_owned());
        }
        for value in rows.values {
            if !value.string && !is_literal(value.of(rows.body)) {
                let value = beginning(value.of(rows.body));
                return Err(format!("the value {value} is not a literal"));
            }
        }
        Ok(())
    }
}

/// What follows these words, if they stand at the beginning.
fn words<'t>(text: &[u8], tokens: &'t [Token], expected: &[&str]) -> Option<&'t [Token]> {
    let found = tokens.get(..expected.len())?;
    let all = found.iter().zip(expected).all(|(token, word)| token.is(text, word));
    all.then(|| &tokens[expected.len()..])
}
