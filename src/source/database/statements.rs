//! Cuts rows into `REPLACE` statements, for every engine alike.

use crate::source::cutter::{Cutter, hash};

/// As many as DocSpace puts into one statement.
const MAX_ROWS: u64 = 5000;
/// Servers may accept no more than 1 MiB at once, so statements stay below that where a row allows it.
const MAX_BYTES: usize = 1_000_000;
/// Rows whose values are longer than this stand in a statement of their own, written piece by piece.
pub(super) const LONG_ROW: usize = 512 << 10;
/// Statements end by what their rows say, long before those limits, so that rows which come and go do not move the end
/// of every later one. About this many bytes, or else rows.
const STATEMENT: (u64, u64) = (256 << 10, 1500);
/// Consumers get pieces of about this size.
pub(super) const PIECE: usize = 256 << 10;

/// Rendered statements that nobody has taken yet.
///
/// The end of a row is written with what follows it, because only then is it known whether it is `,` or `;`.
pub(super) struct Statements {
    prologue: Vec<u8>,
    head: Vec<u8>,
    epilogue: Vec<u8>,
    out: Vec<u8>,
    rows: u64,
    rows_in_statement: u64,
    statement_bytes: usize,
    /// Where the end of the row before stands in `out`.
    mark: usize,
    statement: Cutter,
    chunk: Cutter,
    /// Where chunks end in `out`.
    ends: Vec<usize>,
}

impl Statements {
    /// `head` begins each statement; `prologue` and `epilogue` stand around them all, if there is a row.
    pub fn new(prologue: &str, head: String, epilogue: &str) -> Self {
        Self {
            prologue: prologue.into(),
            head: head.into_bytes(),
            epilogue: epilogue.into(),
            out: Vec::with_capacity(PIECE * 2),
            rows: 0,
            rows_in_statement: 0,
            statement_bytes: 0,
            mark: 0,
            statement: Cutter::new(STATEMENT.0, STATEMENT.1),
            chunk: Cutter::chunks(),
            ends: Vec::new(),
        }
    }

    /// Begins a row: the caller appends it and calls [`Self::end_row`].
    pub fn begin_row(&mut self) -> &mut Vec<u8> {
        if self.rows == 0 {
            self.out.append(&mut self.prologue);
        }
        self.rows += 1;
        if self.rows_in_statement == MAX_ROWS {
            self.end_statement();
        }
        if self.rows_in_statement == 0 {
            self.out.extend_from_slice(&self.head);
            self.statement_bytes = self.head.len();
        } else {
            self.out.extend_from_slice(b",\n");
        }
        self.mark = self.out.len();
        &mut self.out
    }

    pub fn end_row(&mut self) {
        let row = self.out.len() - self.mark + 2;
        if self.rows_in_statement > 0 && self.statement_bytes + row > MAX_BYTES {
            // Too much for this statement after all: the row gets a new one.
            self.out[self.mark - 2] = b';';
            self.out.splice(self.mark..self.mark, self.head.iter().copied());
            self.mark += self.head.len();
            self.statement.restart();
            self.rows_in_statement = 0;
            self.statement_bytes = self.head.len();
        }
        self.rows_in_statement += 1;
        self.statement_bytes += row;
        let hash = hash(&self.out[self.mark..]);
        if self.statement.cuts((hash >> 32) as u32, row) {
            self.end_statement();
        }
        if self.chunk.cuts(hash as u32, row) {
            self.ends.push(self.out.len());
        }
    }

    /// Begins a row that gets a statement of its own, which the caller may take in pieces while writing it.
    pub fn begin_long_row(&mut self) -> &mut Vec<u8> {
        self.end_statement();
        self.end_chunk();
        self.begin_row()
    }

    pub fn end_long_row(&mut self) {
        self.rows_in_statement = 1;
        self.end_statement();
        self.end_chunk();
    }

    fn end_chunk(&mut self) {
        self.chunk.restart();
        self.ends.push(self.out.len());
    }

    fn end_statement(&mut self) {
        if self.rows_in_statement > 0 {
            self.out.extend_from_slice(b";\n");
            self.rows_in_statement = 0;
            self.statement.restart();
        }
    }

    /// Ends everything; returns the number of rows.
    pub fn finish(&mut self) -> u64 {
        self.end_statement();
        if self.rows > 0 {
            self.out.append(&mut self.epilogue);
        }
        self.rows
    }

    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub fn is_full(&self) -> bool {
        self.out.len() >= PIECE
    }

    pub fn pending(&self) -> &[u8] {
        &self.out
    }

    /// Where in [`Self::pending`] chunks end.
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Forgets what [`Self::pending`] showed.
    pub fn clear(&mut self) {
        self.out.clear();
        self.ends.clear();
        if self.out.capacity() > PIECE * 16 {
            self.out.shrink_to(PIECE * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(rows: &[&str]) -> String {
        let mut statements = Statements::new("<\n", "HEAD \n".to_owned(), ">\n");
        let mut text = Vec::new();
        for row in rows {
            statements.begin_row().extend_from_slice(row.as_bytes());
            statements.end_row();
            // As a consumer does: the end of a row must not depend on what was taken.
            text.extend_from_slice(statements.pending());
            statements.clear();
        }
        statements.finish();
        text.extend_from_slice(statements.pending());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn rows_share_a_statement() {
        assert_eq!(render(&["(1)", "(2)", "(3)"]), "<\nHEAD \n(1),\n(2),\n(3);\n>\n");
    }

    #[test]
    fn no_rows_write_nothing() {
        assert_eq!(render(&[]), "");
    }

    #[test]
    fn a_statement_has_at_most_5000_rows() {
        let text = render(&["(1)"; 10_001]);
        assert_eq!(text.matches("HEAD").count(), 3);
        assert_eq!(text.matches("(1),\n").count(), 4999 * 2);
        assert_eq!(text.matches("(1);\n").count(), 3);
    }

    #[test]
    fn statements_stay_under_a_mebibyte() {
        let row = format!("({})", "x".repeat(300_000));
        let text = render(&[&row, &row, &row, &row, "(1)"]);
        let statements: Vec<_> = text.split("HEAD").skip(1).map(str::len).collect();
        // Where else they end depends on what the rows say.
        assert!(statements.len() >= 2, "{statements:?}");
        assert!(statements.iter().all(|length| *length < 1 << 20), "{statements:?}");
    }

    #[test]
    fn a_long_row_stands_alone() {
        let mut statements = Statements::new("", "H ".to_owned(), "");
        statements.begin_row().extend_from_slice(b"(1)");
        statements.end_row();
        let out = statements.begin_long_row();
        out.extend_from_slice(b"(2)");
        statements.end_long_row();
        statements.begin_row().extend_from_slice(b"(3)");
        statements.end_row();
        assert_eq!(statements.finish(), 3);
        assert_eq!(statements.pending(), b"H (1);\nH (2);\nH (3);\n");
    }
}
