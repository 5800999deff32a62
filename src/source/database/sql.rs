//! SQL as it stands in archives: cut into statements while it streams by, and judged before any of it is run.

mod foreign;
mod guard;
mod lexer;
mod literal;
mod names;
mod rows;
mod splitter;
#[cfg(test)]
mod tests;

pub(super) use foreign::apart;
pub(super) use guard::{Guard, SchemeStatement};
pub(super) use rows::Rows;
pub(super) use splitter::{Chunk, Limits, Splitter};

/// Whose rules of writing SQL hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// MySQL and MariaDB, without `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`.
    MySql,
    Sqlite,
}

/// Why a member's SQL is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SqlError {
    #[error("a statement is longer than {limit} bytes: {start}")]
    TooLong { limit: usize, start: String },
    #[error("it ends within a statement: {start}")]
    Unfinished { start: String },
    #[error("DELIMITER is a command of the mysql program, not SQL")]
    Delimiter,
    #[error("row {row} of a statement {why}: {start}")]
    BadRow { row: u64, why: &'static str, start: String },
    #[error("the statement “{start}” in the member of table {member} is refused: {why}")]
    Refused { member: String, start: String, why: String },
}

/// How a statement begins, for messages: at most 80 characters, on one line.
fn beginning(statement: &[u8]) -> String {
    const SHOWN: usize = 80;
    let part = &statement[..statement.len().min(SHOWN * 4)];
    let text = String::from_utf8_lossy(part);
    let mut shown = String::new();
    for character in text.chars().take(SHOWN) {
        match character {
            // Beside control characters: what turns the direction of the text around it.
            '\n' | '\r' | '\t' => shown.push(' '),
            c if c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) => {
                shown.extend(c.escape_default());
            }
            c => shown.push(c),
        }
    }
    if text.chars().count() > SHOWN || part.len() < statement.len() {
        shown.push('…');
    }
    shown
}
