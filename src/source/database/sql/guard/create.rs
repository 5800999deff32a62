//! What may follow the name of a table, in a definition that nobody vouches for.

use super::super::Dialect;
use super::super::lexer::{Kind, Token};
use super::super::names::name;

/// Engines that keep rows in the server's own files, and reach for nothing else.
const ENGINES: [&str; 7] = ["INNODB", "MYISAM", "ARIA", "MEMORY", "HEAP", "ARCHIVE", "ROCKSDB"];

/// Words that a definition written by a server has only in quotes, if at all: sources of rows, other places, and
/// functions that do something.
const REFUSED_MYSQL: [&str; 26] = [
    "SELECT",
    "TABLE",
    "UNION",
    "DIRECTORY",
    "CONNECTION",
    "TABLESPACE",
    "SECONDARY_ENGINE",
    "TRANSACTION",
    "INTO",
    "OUTFILE",
    "DUMPFILE",
    "LOAD",
    "CALL",
    "EXECUTE",
    "LOAD_FILE",
    "SLEEP",
    "BENCHMARK",
    "GET_LOCK",
    "RELEASE_LOCK",
    "RELEASE_ALL_LOCKS",
    "IS_FREE_LOCK",
    "MASTER_POS_WAIT",
    "NEXTVAL",
    "SETVAL",
    "SYS_EXEC",
    "SYS_EVAL",
];

/// Functions, by whatever quotes their name has; but [`SIZED`] ones of few bytes.
const REFUSED_SQLITE: [&str; 8] = [
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "zeroblob",
    "randomblob",
    "sqlite_log",
];

/// Functions that make as many bytes as they are told.
const SIZED: [&str; 2] = ["zeroblob", "randomblob"];

/// Judges the tokens after the name; says why they are refused.
pub(super) fn judge(dialect: Dialect, text: &[u8], tokens: &[Token]) -> Result<(), String> {
    let Some(Kind::Symbol(b'(')) = tokens.first().map(|token| token.kind) else {
        return Err("no parenthesis follows the table's name".to_owned());
    };
    if tokens.get(1).is_some_and(|token| token.is(text, "LIKE")) {
        return Err("it copies another table".to_owned());
    }
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.saturating_sub(1),
            Kind::Symbol(b'@' | b'?' | b':') => {
                return Err("it refers to a variable".to_owned());
            }
            Kind::Symbol(b'.') if qualifies(text, tokens, index) => {
                return Err("it has a name of another database or table".to_owned());
            }
            Kind::Word if depth == 0 && token.is(text, "AS") => {
                return Err("it takes its rows from a query".to_owned());
            }
            _ => {}
        }
        match dialect {
            Dialect::MySql => mysql(text, tokens, index)?,
            Dialect::Sqlite => sqlite(text, tokens, index)?,
        }
    }
    Ok(())
}

/// Whether a point stands after a name, and not in a number.
fn qualifies(text: &[u8], tokens: &[Token], point: usize) -> bool {
    let before = point.checked_sub(1).and_then(|index| tokens.get(index));
    // `DEFAULT .5`
    let begins_number = tokens.get(point..).is_some_and(|rest| match (before, rest) {
        (Some(before), [point, next, ..]) => {
            before.end < point.start
                && next.start == point.end
                && next.of(text).first().is_some_and(u8::is_ascii_digit)
        }
        _ => false,
    });
    if begins_number {
        return false;
    }
    match before.map(|token| (token.kind, token.of(text))) {
        Some((Kind::Word, word)) => !word.iter().all(u8::is_ascii_digit),
        Some((Kind::Quoted(_), _)) => true,
        _ => false,
    }
}

fn mysql(text: &[u8], tokens: &[Token], index: usize) -> Result<(), String> {
    let Some(token) = tokens.get(index) else { return Ok(()) };
    let mut after = tokens.get(index + 1..).unwrap_or_default().iter();
    if let Some(word) = REFUSED_MYSQL.iter().find(|word| token.is(text, word)) {
        return Err(format!("it has {word}"));
    }
    if token.is(text, "VALUES")
        && !after.next().is_some_and(|next| next.is(text, "LESS") || next.is(text, "IN"))
    {
        return Err("it takes its rows from a query".to_owned());
    }
    if token.is(text, "ENGINE") {
        let next = after.find(|next| next.kind != Kind::Symbol(b'='));
        let engine = next.map(|next| {
            let name = String::from_utf8_lossy(next.of(text)).to_ascii_uppercase();
            name.trim_matches(['`', '\'', '"']).to_owned()
        });
        return match engine {
            Some(engine) if ENGINES.contains(&engine.as_str()) => Ok(()),
            engine => Err(format!("its engine is {}", engine.unwrap_or_default())),
        };
    }
    Ok(())
}

fn sqlite(text: &[u8], tokens: &[Token], index: usize) -> Result<(), String> {
    let rest = tokens.get(index..).unwrap_or_default();
    let Some(token) = rest.first() else { return Ok(()) };
    if token.is(text, "SELECT") || token.is(text, "VALUES") {
        return Err("it has a query".to_owned());
    }
    let Some((found, after)) = name(Dialect::Sqlite, text, rest) else { return Ok(()) };
    let call = after.first().is_some_and(|next| next.kind == Kind::Symbol(b'('));
    let refused = |word: &&&str| found.eq_ignore_ascii_case(word.as_bytes());
    // (Of four digits at most.)
    let is_small = match after {
        [_, size, end, ..] if end.kind == Kind::Symbol(b')') => {
            let size = size.of(text);
            size.len() <= 4 && size.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    match REFUSED_SQLITE.iter().find(refused) {
        Some(word) if is_small && SIZED.contains(word) => Ok(()),
        Some(word) if call => Err(format!("it has {word}")),
        _ => Ok(()),
    }
}
