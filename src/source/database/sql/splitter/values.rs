//! The rows of an `INSERT`, value by value.

use super::{Found, Splitter, State};
use crate::source::database::sql::lexer::{Kind, Token};
use crate::source::database::sql::rows::{Head, Row, Value};
use crate::source::database::sql::{Dialect, SqlError};

/// The row that is being read; offsets as in [`Value`].
#[derive(Debug, Default)]
pub(super) struct Current {
    pub start: usize,
    pub first_value: usize,
    depth: u32,
    value: Option<Value>,
    /// A comma was the last token, so that a value must follow.
    comma: bool,
}

impl Splitter {
    pub(super) fn begin_rows(&mut self, head: Head, end: usize) {
        self.commented = head.commented;
        self.head = head;
        self.skip(end);
        self.rows.clear();
        self.values.clear();
        self.rows_in_statement = 0;
        self.state = State::BeforeRow;
    }

    pub(super) fn bad_row(&self, why: &'static str) -> SqlError {
        SqlError::BadRow { row: self.rows_in_statement + 1, why, start: self.beginning() }
    }

    pub(super) fn before_row(&mut self, token: Token) -> Result<Found, SqlError> {
        match token.kind {
            Kind::Comment => self.commented = true,
            Kind::Symbol(b'(') => {
                let mut start = token.start;
                if self.rows.is_empty() {
                    // The body begins with its first row.
                    self.skip(std::mem::take(&mut start));
                }
                self.row = Current { start, first_value: self.values.len(), ..Current::default() };
                self.state = State::InRow;
            }
            _ => return Err(self.bad_row("does not begin with a parenthesis")),
        }
        Ok(Found::Nothing)
    }

    pub(super) fn in_row(&mut self, token: Token) -> Result<Found, SqlError> {
        match token.kind {
            Kind::Comment => {
                self.commented = true;
                return Ok(Found::Nothing);
            }
            Kind::Executable => return Err(self.bad_row("has a comment that servers run")),
            Kind::Symbol(b';') => return Err(self.bad_row("has no closing parenthesis")),
            Kind::Symbol(b',') if self.row.depth == 0 => {
                self.end_value()?;
                self.row.comma = true;
                return Ok(Found::Nothing);
            }
            Kind::Symbol(b')') if self.row.depth == 0 => {
                let empty = !self.row.comma && self.row.value.is_none();
                if !empty {
                    self.end_value()?;
                }
                return self.end_row(token.end);
            }
            Kind::Symbol(b'(') => self.row.depth += 1,
            Kind::Symbol(b')') => self.row.depth -= 1,
            _ => {}
        }
        let string = match token.kind {
            Kind::Quoted(b'\'') => true,
            Kind::Quoted(b'"') => self.dialect == Dialect::MySql,
            _ => false,
        };
        let (start, end) = (offset(token.start), offset(token.end));
        let value = self.row.value.get_or_insert(Value { start, end, string });
        value.end = end;
        value.string &= string;
        Ok(Found::Nothing)
    }

    fn end_value(&mut self) -> Result<(), SqlError> {
        let value = self.row.value.take().ok_or_else(|| self.bad_row("has an empty value"))?;
        self.within((value.end - value.start) as usize, self.limits.statement)?;
        self.values.push(value);
        Ok(())
    }

    fn end_row(&mut self, end: usize) -> Result<Found, SqlError> {
        let values = self.row.first_value..self.values.len();
        if self.head.columns.as_ref().is_some_and(|columns| columns.len() != values.len()) {
            return Err(self.bad_row("has not as many values as there are columns"));
        }
        self.within(end - self.row.start, self.limits.row)?;
        self.rows.push(Row { start: offset(self.row.start), end: offset(end), values });
        self.rows_in_statement += 1;
        self.state = State::AfterRow;
        let columns: usize = self.head.written_columns.iter().map(|name| name.len() + 1).sum();
        let head = self.head.verb.len() + self.head.written.len() + columns + 12;
        if head + end <= self.limits.chunk {
            return Ok(Found::Nothing);
        }
        // This one is too much for those before it.
        Ok(self.give_rows(self.rows.len().saturating_sub(1).max(1)))
    }

    fn give_rows(&mut self, count: usize) -> Found {
        let end = self.rows.get(count - 1).map_or(0, |row| row.end as usize);
        self.rows_taken = count;
        self.taken = self.rows.get(count).map_or(end, |row| row.start as usize);
        Found::Rows { count, end }
    }

    pub(super) fn after_row(&mut self, token: Token) -> Result<Found, SqlError> {
        match token.kind {
            Kind::Comment => self.commented = true,
            Kind::Symbol(b',') => {
                self.state = State::BeforeRow;
                if self.rows.is_empty() {
                    self.skip(token.end);
                }
            }
            Kind::Symbol(b';') => {
                self.state = State::Between;
                if self.rows.is_empty() {
                    self.skip(token.end);
                    return Ok(Found::Nothing);
                }
                let found = self.give_rows(self.rows.len());
                self.taken = token.end;
                return Ok(found);
            }
            _ => return Err(self.bad_row("is followed by something else than a row")),
        }
        Ok(Found::Nothing)
    }
}

/// (What is held is never longer than that, see [`Limits`].)
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
