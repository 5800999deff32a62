//! Tokens of SQL, found in text that arrives in pieces. No byte is looked at twice, however long a string is.

use memchr::{memchr, memchr2, memmem};

use super::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, digits, `_`, `$` and everything beyond ASCII: names, keywords, numbers.
    Word,
    /// A string or a quoted name, by its opening quote. (`'a''b'` is two, without a gap.)
    Quoted(u8),
    /// A comment that no server reads.
    Comment,
    /// The opening of a comment that servers run: `/*!50100`, `/*M!`. What is in it comes as tokens.
    Executable,
    /// Any other byte.
    Symbol(u8),
}

/// Where a token stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether it is this keyword, in whatever case.
    pub fn is(&self, text: &[u8], keyword: &str) -> bool {
        self.kind == Kind::Word && self.of(text).eq_ignore_ascii_case(keyword.as_bytes())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Token(Token),
    /// The text ends where a token may go on.
    More,
    /// The text is complete, and ends within a string or a comment.
    Cut,
    /// The text is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Word,
    Quoted { open: u8, close: u8 },
    LineComment,
    BlockComment,
}

#[derive(Debug)]
pub(super) struct Lexer {
    dialect: Dialect,
    /// Up to where the text has been looked at.
    position: usize,
    /// Where the token begins that `position` is in.
    start: usize,
    inside: Inside,
    /// Within a comment that servers run.
    executable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Space,
    Other,
}

static CLASSES: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric() || value == b'_' || value == b'$' || value >= 0x80 {
            table[byte] = Class::Word;
        } else if matches!(value, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            table[byte] = Class::Space;
        }
        byte += 1;
    }
    table
};

/// How many bytes at the beginning of `text` are of a class.
fn run(text: &[u8], class: Class) -> usize {
    text.iter().position(|byte| CLASSES[usize::from(*byte)] != class).unwrap_or(text.len())
}

impl Lexer {
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, position: 0, start: 0, inside: Inside::Nothing, executable: false }
    }

    /// Up to where the text has been looked at.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The first `bytes` of the text were taken away.
    pub fn rebase(&mut self, bytes: usize) {
        self.position = self.position.saturating_sub(bytes);
        self.start = self.start.saturating_sub(bytes);
    }

    /// The next token of `text`, which is what it was before, maybe with more at its end; `last`: nothing will follow.
    pub fn next(&mut self, text: &[u8], last: bool) -> Step {
        if self.inside == Inside::Nothing {
            let rest = text.get(self.position..).unwrap_or_default();
            self.position += run(rest, Class::Space);
            self.start = self.position;
            let rest = text.get(self.position..).unwrap_or_default();
            let Some(first) = rest.first() else {
                return if last { Step::End } else { Step::More };
            };
            match self.begin(*first, rest, last) {
                Begun::Symbol(length) => {
                    self.position += length;
                    return self.token(Kind::Symbol(*first));
                }
                Begun::Executable(length) => {
                    self.position += length;
                    self.executable = true;
                    return self.token(Kind::Executable);
                }
                Begun::Inside(inside, length) => {
                    self.position += length;
                    self.inside = inside;
                }
                Begun::More => return Step::More,
            }
        }
        self.end(text, last)
    }

    fn token(&mut self, kind: Kind) -> Step {
        self.inside = Inside::Nothing;
        Step::Token(Token { kind, start: self.start, end: self.position })
    }

    fn begin(&self, first: u8, rest: &[u8], last: bool) -> Begun {
        let mysql = self.dialect == Dialect::MySql;
        if CLASSES[usize::from(first)] == Class::Word {
            return Begun::Inside(Inside::Word, 1);
        }
        let next = rest.get(1).copied();
        let quoted = |close| Begun::Inside(Inside::Quoted { open: first, close }, 1);
        match first {
            b'\'' | b'"' | b'`' => quoted(first),
            b'[' if !mysql => quoted(b']'),
            b'#' if mysql => Begun::Inside(Inside::LineComment, 1),
            b'-' | b'/' | b'*' if next.is_none() && !last => Begun::More,
            b'-' if next == Some(b'-') => match (mysql, rest.get(2)) {
                (false, _) => Begun::Inside(Inside::LineComment, 2),
                (true, None) if !last => Begun::More,
                (true, None) => Begun::Inside(Inside::LineComment, 2),
                (true, Some(byte)) if *byte <= b' ' || *byte == 0x7f => {
                    Begun::Inside(Inside::LineComment, 2)
                }
                _ => Begun::Symbol(1),
            },
            b'/' if next == Some(b'*') => {
                // The version after `/*!` has five or six digits.
                if mysql && rest.len() < 10 && !last {
                    return Begun::More;
                }
                let opening = match rest {
                    [_, _, b'!', ..] if mysql => 3,
                    [_, _, b'M' | b'm', b'!', ..] if mysql => 4,
                    _ => return Begun::Inside(Inside::BlockComment, 2),
                };
                let digits = rest[opening..].iter().take(6).take_while(|b| b.is_ascii_digit());
                Begun::Executable(opening + digits.count())
            }
            b'*' if next == Some(b'/') && self.executable => Begun::Symbol(2),
            _ => Begun::Symbol(1),
        }
    }

    /// Goes on to the end of the token that `position` is in.
    fn end(&mut self, text: &[u8], last: bool) -> Step {
        let rest = text.get(self.position..).unwrap_or_default();
        match self.inside {
            Inside::Nothing => Step::More,
            Inside::Word => {
                self.position += run(rest, Class::Word);
                match self.position == text.len() && !last {
                    true => Step::More,
                    false => self.token(Kind::Word),
                }
            }
            Inside::Quoted { open, close } => match self.string_end(rest, close) {
                (passed, true) => {
                    self.position += passed;
                    self.token(Kind::Quoted(open))
                }
                (passed, false) => {
                    self.position += passed;
                    if last { Step::Cut } else { Step::More }
                }
            },
            Inside::LineComment => match memchr(b'\n', rest) {
                Some(at) => {
                    self.position += at;
                    self.token(Kind::Comment)
                }
                None => {
                    self.position = text.len();
                    if last { self.token(Kind::Comment) } else { Step::More }
                }
            },
            Inside::BlockComment => match memmem::find(rest, b"*/") {
                Some(at) => {
                    self.position += at + 2;
                    self.token(Kind::Comment)
                }
                None => {
                    let star = usize::from(rest.last() == Some(&b'*'));
                    self.position = text.len() - star;
                    if last { Step::Cut } else { Step::More }
                }
            },
        }
    }

    /// How far a string goes, and whether its end was found.
    fn string_end(&self, text: &[u8], close: u8) -> (usize, bool) {
        let escapes = self.dialect == Dialect::MySql && close != b'`';
        if !escapes {
            return memchr(close, text).map_or((text.len(), false), |at| (at + 1, true));
        }
        let mut passed = 0;
        while let Some(at) = memchr2(close, b'\\', &text[passed..]) {
            let at = passed + at;
            if text[at] == close {
                return (at + 1, true);
            }
            // A backslash at the end is looked at again, when it is known what it escapes.
            if at + 1 >= text.len() {
                return (at, false);
            }
            passed = at + 2;
        }
        (text.len(), false)
    }
}

enum Begun {
    Symbol(usize),
    Executable(usize),
    Inside(Inside, usize),
    More,
}

/// All tokens of a whole text. None if it ends within one.
pub(super) fn tokens(dialect: Dialect, text: &[u8]) -> Option<Vec<Token>> {
    let mut lexer = Lexer::new(dialect);
    let mut all = Vec::new();
    loop {
        match lexer.next(text, true) {
            Step::Token(token) => all.push(token),
            Step::End => return Some(all),
            Step::More | Step::Cut => return None,
        }
    }
}
