//! `INSERT` and `REPLACE` with their rows.

use std::ops::Range;

use super::Dialect;
use super::lexer::{Kind, Token};
use super::names::name;

/// What stands before the rows of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// `REPLACE INTO`, with what modifies it.
    pub verb: Vec<u8>,
    /// Anything between `INSERT` and the table's name beyond `INTO`.
    pub modified: bool,
    /// The name before the table's, with a point between them.
    pub schema: Option<Vec<u8>>,
    pub table: Vec<u8>,
    /// The table's name as it was written, with its schema.
    pub written: Vec<u8>,
    /// None: all columns of the table, in its order.
    pub columns: Option<Vec<Vec<u8>>>,
    /// The columns as they were written.
    pub written_columns: Vec<Vec<u8>>,
    /// A comment stands somewhere in it.
    pub commented: bool,
}

/// Reads the tokens before `VALUES`; `None` if rows do not follow in the way of all dumps.
pub(super) fn head(dialect: Dialect, text: &[u8], all: &[Token]) -> Option<Head> {
    let mut head = Head::default();
    let plain: Vec<Token> =
        all.iter().copied().filter(|token| !matches!(token.kind, Kind::Comment)).collect();
    head.commented = plain.len() != all.len();
    let (first, mut rest) = plain.split_first()?;
    if !first.is(text, "INSERT") && !first.is(text, "REPLACE") {
        return None;
    }
    head.verb = first.of(text).to_vec();
    loop {
        let (next, after) = rest.split_first()?;
        rest = after;
        if next.kind != Kind::Word {
            return None;
        }
        head.verb.push(b' ');
        head.verb.extend_from_slice(next.of(text));
        if next.is(text, "INTO") {
            break;
        }
        head.modified = true;
    }
    let from = rest.first()?.start;
    let (mut table, mut after) = name(dialect, text, rest)?;
    if let Some((point, more)) = after.split_first()
        && point.kind == Kind::Symbol(b'.')
    {
        head.schema = Some(table);
        (table, after) = name(dialect, text, more)?;
    }
    let until = rest.get(rest.len() - after.len() - 1)?.end;
    head.table = table;
    head.written = text.get(from..until)?.to_vec();
    if after.is_empty() {
        return Some(head);
    }
    let (columns, written) = columns(dialect, text, after)?;
    head.columns = Some(columns);
    head.written_columns = written;
    Some(head)
}

type Names = Vec<Vec<u8>>;

fn columns(dialect: Dialect, text: &[u8], tokens: &[Token]) -> Option<(Names, Names)> {
    let (mut names, mut written) = (Vec::new(), Vec::new());
    let symbol = |token: &Token, byte| token.kind == Kind::Symbol(byte);
    let (open, mut rest) = tokens.split_first()?;
    if !symbol(open, b'(') {
        return None;
    }
    if let [close] = rest {
        return symbol(close, b')').then_some((names, written));
    }
    loop {
        let (column, after) = name(dialect, text, rest)?;
        let last = rest.get(rest.len() - after.len() - 1)?;
        written.push(text.get(rest.first()?.start..last.end)?.to_vec());
        names.push(column);
        let (next, after) = after.split_first()?;
        rest = after;
        if symbol(next, b')') {
            return rest.is_empty().then_some((names, written));
        }
        if !symbol(next, b',') {
            return None;
        }
    }
}

/// Where a value stands in the body of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub start: u32,
    pub end: u32,
    /// Nothing but strings in `'` (or, in MySQL, `"`).
    pub string: bool,
}

impl Value {
    pub fn of<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Where a row stands in the body, with its parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub start: u32,
    pub end: u32,
    /// Which of all values are its own.
    pub values: Range<usize>,
}

/// Some rows of one statement: a complete statement by themselves.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::database) struct Rows<'a> {
    pub(super) head: &'a Head,
    pub(super) body: &'a [u8],
    pub(super) rows: &'a [Row],
    pub(super) values: &'a [Value],
    /// A comment stands between the rows or in them.
    pub(super) commented: bool,
}

impl<'a> Rows<'a> {
    /// How many rows there are; at least one.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Whether a row takes the place of those that it conflicts with.
    pub fn replaces(&self) -> bool {
        self.head.verb.get(..7).is_some_and(|verb| verb.eq_ignore_ascii_case(b"REPLACE"))
    }

    /// The columns that the statement names, without quotes; None: all of the table's.
    pub fn columns(&self) -> Option<&'a [Vec<u8>]> {
        self.head.columns.as_deref()
    }

    /// The values of each row, as they are written.
    pub fn rows(
        &self,
    ) -> impl Iterator<Item = impl ExactSizeIterator<Item = &'a [u8]> + use<'a>> + use<'a> {
        let Self { body, rows, values, .. } = *self;
        rows.iter().map(move |row| {
            values
                .get(row.values.clone())
                .unwrap_or_default()
                .iter()
                .map(move |value| value.of(body))
        })
    }

    /// Appends the statement, without `;`. `table`: its name as it is to be written, instead of what stands there.
    /// `keep`: which of the columns remain (those beyond its end do).
    pub fn write(&self, table: Option<&str>, keep: Option<&[bool]>, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + 256);
        out.extend_from_slice(&self.head.verb);
        out.push(b' ');
        out.extend_from_slice(table.map_or(self.head.written.as_slice(), str::as_bytes));
        let kept = |index: usize| keep.and_then(|keep| keep.get(index)).copied().unwrap_or(true);
        if self.head.columns.is_some() {
            out.push(b' ');
            list(out, self.head.written_columns.iter().map(Vec::as_slice), kept);
        }
        out.extend_from_slice(b" VALUES ");
        let everything = keep.is_none_or(|keep| keep.iter().all(|kept| *kept));
        if everything {
            out.extend_from_slice(self.body);
            return;
        }
        for (index, row) in self.rows().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            list(out, row, kept);
        }
    }
}

fn list<'a>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = &'a [u8]>,
    kept: impl Fn(usize) -> bool,
) {
    out.push(b'(');
    let mut first = true;
    for (_, item) in items.enumerate().filter(|(index, _)| kept(*index)) {
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(item);
    }
    out.push(b')');
}
