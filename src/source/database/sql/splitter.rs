//! Cuts a member into statements that can be run, while it streams by. `INSERT` and `REPLACE` come in parts of a
//! bounded size, so that neither a statement's length nor a server's packet limit matters.

use values::Current;

use super::lexer::{Kind, Lexer, Step, Token};
use super::rows::{self, Head, Row, Rows, Value};
use super::{Dialect, SqlError, beginning};

mod values;

/// How much is held at once, in bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::database) struct Limits {
    /// The longest statement that is not cut, and the longest value of a row; at most 2 GiB.
    pub statement: usize,
    /// The longest row; at most 2 GiB.
    pub row: usize,
    /// Rows come in statements of at most this size, unless one row alone is longer.
    pub chunk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { statement: 1 << 30, row: 1 << 30, chunk: 1 << 20 }
    }
}

/// Something that can be run by itself.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::database) enum Chunk<'a> {
    /// Any statement, without its `;`, but with what stands between it and that.
    Statement(&'a [u8]),
    /// Rows to be inserted.
    Rows(Rows<'a>),
}

/// Takes pieces and gives statements: after each [`Self::push`], and after [`Self::finish`], call [`Self::next`]
/// until there is nothing.
pub(in crate::source::database) struct Splitter {
    dialect: Dialect,
    limits: Limits,
    buffer: Vec<u8>,
    /// Where in the buffer begins what is worked on: a statement, or rows of one.
    from: usize,
    /// How much of that was given out, and goes with the next call.
    taken: usize,
    /// How many of the rows were given out.
    rows_taken: usize,
    lexer: Lexer,
    last: bool,
    consumed: u64,
    state: State,
    tokens: Vec<Token>,
    trigger: Trigger,
    head: Head,
    rows: Vec<Row>,
    values: Vec<Value>,
    row: Current,
    rows_in_statement: u64,
    commented: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a statement of which it is not known yet whether rows follow.
    Head,
    Statement,
    /// Before a row, after `VALUES` or a comma.
    BeforeRow,
    InRow,
    AfterRow,
}

/// Where the end of a `CREATE TRIGGER` is: its body ends with `; END ;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    No,
    Body,
    Semicolon,
    End,
}

enum Found {
    Nothing,
    Statement(usize),
    Rows { count: usize, end: usize },
}

/// A head with more tokens than this is none of a dump's.
const MAX_HEAD: usize = 1 << 16;

impl Splitter {
    pub fn new(dialect: Dialect, limits: Limits) -> Self {
        // Offsets of values have 32 bits.
        let limits = Limits {
            statement: limits.statement.min(1 << 31),
            row: limits.row.min(1 << 31),
            chunk: limits.chunk.min(1 << 30),
        };
        Self {
            dialect,
            limits,
            buffer: Vec::new(),
            from: 0,
            taken: 0,
            rows_taken: 0,
            lexer: Lexer::new(dialect),
            last: false,
            consumed: 0,
            state: State::Between,
            tokens: Vec::new(),
            trigger: Trigger::No,
            head: Head::default(),
            rows: Vec::new(),
            values: Vec::new(),
            row: Current::default(),
            rows_in_statement: 0,
            commented: false,
        }
    }

    /// Adds the next piece of the member.
    pub fn push(&mut self, piece: &[u8]) {
        self.drop_taken();
        if self.from > self.buffer.len() / 2 {
            self.buffer.drain(..self.from);
            self.from = 0;
            // What one long statement needed is not kept.
            if self.buffer.capacity() > 4 * (self.buffer.len() + piece.len() + self.limits.chunk) {
                self.buffer.shrink_to(self.buffer.len() + piece.len());
            }
        }
        self.buffer.extend_from_slice(piece);
    }

    /// There is no further piece.
    pub fn finish(&mut self) {
        self.last = true;
    }

    /// How many bytes of the member have been given out, what stands between statements included.
    pub fn consumed(&self) -> u64 {
        self.consumed + self.taken as u64
    }

    /// The next statement that is complete.
    pub fn next(&mut self) -> Result<Option<Chunk<'_>>, SqlError> {
        self.drop_taken();
        let found = self.advance()?;
        let text = &self.buffer[self.from..];
        Ok(match found {
            Found::Nothing => None,
            Found::Statement(end) => Some(Chunk::Statement(&text[..end])),
            Found::Rows { count, end } => Some(Chunk::Rows(Rows {
                head: &self.head,
                body: &text[..end],
                rows: &self.rows[..count],
                // Those of a row that waits for the next call are not among them.
                values: &self.values[..self.rows[count - 1].values.end],
                commented: self.commented,
            })),
        })
    }

    fn text(&self) -> &[u8] {
        &self.buffer[self.from..]
    }

    fn drop_taken(&mut self) {
        if self.rows_taken > 0 {
            self.drop_rows();
        }
        let taken = std::mem::take(&mut self.taken);
        self.skip(taken);
    }

    /// Forgets the rows that were given out; of those read at most one is left.
    fn drop_rows(&mut self) {
        self.rows.drain(..std::mem::take(&mut self.rows_taken));
        let first = self.rows.first().map_or(self.values.len(), |row| row.values.start);
        self.values.drain(..first);
        let by = u32::try_from(self.taken).unwrap_or(u32::MAX);
        for value in &mut self.values {
            value.start -= by;
            value.end -= by;
        }
        for row in &mut self.rows {
            row.start -= by;
            row.end -= by;
            row.values = row.values.start - first..row.values.end - first;
        }
    }

    /// Goes past the first bytes of what is worked on.
    fn skip(&mut self, bytes: usize) {
        self.from += bytes;
        self.consumed += bytes as u64;
        self.lexer.rebase(bytes);
    }

    fn advance(&mut self) -> Result<Found, SqlError> {
        loop {
            let token = match self.lexer.next(&self.buffer[self.from..], self.last) {
                Step::Token(token) => token,
                Step::More => return self.held(),
                Step::End if self.state == State::Between => {
                    self.skip(self.text().len());
                    return Ok(Found::Nothing);
                }
                Step::End | Step::Cut => {
                    return Err(SqlError::Unfinished { start: self.beginning() });
                }
            };
            let found = match self.state {
                State::Between => self.between(token)?,
                State::Head | State::Statement => self.in_statement(token)?,
                State::BeforeRow => self.before_row(token)?,
                State::InRow => self.in_row(token)?,
                State::AfterRow => self.after_row(token)?,
            };
            match found {
                Found::Nothing => {}
                found => return Ok(found),
            }
        }
    }

    /// More is needed; what is held must not be too much.
    fn held(&self) -> Result<Found, SqlError> {
        let complete = self.rows.last().map_or(0, |row| row.end as usize);
        let length = self.text().len();
        if self.state != State::InRow {
            self.within(length - complete, self.limits.statement)?;
            return Ok(Found::Nothing);
        }
        // The value that is being read begins behind the one before it.
        let before = self.values.get(self.row.first_value..).and_then(<[Value]>::last);
        let value = before.map_or(self.row.start, |value| value.end as usize);
        self.within(length - value, self.limits.statement)?;
        self.within(length - self.row.start, self.limits.row)?;
        Ok(Found::Nothing)
    }

    fn within(&self, length: usize, limit: usize) -> Result<(), SqlError> {
        match length > limit {
            true => Err(SqlError::TooLong { limit, start: self.beginning() }),
            false => Ok(()),
        }
    }

    fn beginning(&self) -> String {
        match self.state {
            State::BeforeRow | State::InRow | State::AfterRow => {
                let mut start = self.head.verb.clone();
                start.push(b' ');
                start.extend_from_slice(&self.head.written);
                start.extend_from_slice(b" \xe2\x80\xa6 ");
                start.extend(self.text().iter().take(self.lexer.position().min(400)));
                beginning(&start)
            }
            _ => beginning(self.text().trim_ascii_start()),
        }
    }

    fn between(&mut self, token: Token) -> Result<Found, SqlError> {
        if matches!(token.kind, Kind::Comment | Kind::Symbol(b';')) {
            self.skip(token.end);
            return Ok(Found::Nothing);
        }
        if token.is(self.text(), "DELIMITER") {
            return Err(SqlError::Delimiter);
        }
        let inserts = ["INSERT", "REPLACE"].iter().any(|verb| token.is(self.text(), verb));
        self.skip(token.start);
        let token = Token { start: 0, end: token.end - token.start, ..token };
        self.state = if inserts { State::Head } else { State::Statement };
        self.trigger = Trigger::No;
        self.tokens.clear();
        self.tokens.push(token);
        Ok(Found::Nothing)
    }

    fn in_statement(&mut self, token: Token) -> Result<Found, SqlError> {
        if token.kind == Kind::Symbol(b';') && self.ends_statement() {
            self.state = State::Between;
            self.taken = token.end;
            return Ok(Found::Statement(token.start));
        }
        if self.dialect == Dialect::Sqlite && token.kind != Kind::Symbol(b';') {
            self.watch_trigger(token);
        }
        if self.state == State::Head {
            let values = token.is(self.text(), "VALUES") || token.is(self.text(), "VALUE");
            if values && let Some(head) = rows::head(self.dialect, self.text(), &self.tokens) {
                self.begin_rows(head, token.end);
                return Ok(Found::Nothing);
            }
            if self.tokens.len() == MAX_HEAD {
                self.state = State::Statement;
            }
        }
        let head = self.state == State::Head;
        if head || self.tokens.len() < 4 && token.kind != Kind::Comment {
            self.tokens.push(token);
        }
        Ok(Found::Nothing)
    }

    /// Whether a `;` is the statement's own.
    fn ends_statement(&mut self) -> bool {
        match self.trigger {
            Trigger::No | Trigger::End => true,
            Trigger::Body | Trigger::Semicolon => {
                self.trigger = Trigger::Semicolon;
                false
            }
        }
    }

    /// As `sqlite3_complete` does (<https://sqlite.org/c3ref/complete.html>).
    fn watch_trigger(&mut self, token: Token) {
        let text = &self.buffer[self.from..];
        match self.trigger {
            _ if token.kind == Kind::Comment => {}
            Trigger::No => {
                let mut words = self.tokens.iter();
                let create = words.next().is_some_and(|first| first.is(text, "CREATE"));
                let only_temp =
                    words.all(|word| word.is(text, "TEMP") || word.is(text, "TEMPORARY"));
                if create && only_temp && token.is(text, "TRIGGER") {
                    self.trigger = Trigger::Body;
                }
            }
            Trigger::Semicolon if token.is(text, "END") => self.trigger = Trigger::End,
            Trigger::Body | Trigger::Semicolon | Trigger::End => self.trigger = Trigger::Body,
        }
    }
}
