//! Names of tables and columns.

use super::Dialect;
use super::lexer::{Kind, Token};

/// A name without its quotes, and the tokens after it. (A doubled quote makes two tokens of one name.)
pub(super) fn name<'a>(
    dialect: Dialect,
    text: &[u8],
    tokens: &'a [Token],
) -> Option<(Vec<u8>, &'a [Token])> {
    let (first, mut rest) = tokens.split_first()?;
    let quote = match first.kind {
        Kind::Word => return Some((first.of(text).to_vec(), rest)),
        Kind::Quoted(quote @ (b'`' | b'"' | b'[')) => quote,
        // SQLite takes strings for names where only a name can stand.
        Kind::Quoted(quote) if dialect == Dialect::Sqlite => quote,
        _ => return None,
    };
    if quote == b'"' && dialect == Dialect::MySql {
        return None;
    }
    let inner = |token: &Token| text.get(token.start + 1..token.end - 1).unwrap_or_default();
    let mut name = inner(first).to_vec();
    let mut end = first.end;
    while let Some((next, after)) = rest.split_first()
        && quote != b'['
        && next.kind == Kind::Quoted(quote)
        && next.start == end
    {
        name.push(quote);
        name.extend_from_slice(inner(next));
        end = next.end;
        rest = after;
    }
    Some((name, rest))
}

/// Whether two names are one to the engine.
pub(super) fn same(dialect: Dialect, one: &[u8], other: &str) -> bool {
    match dialect {
        Dialect::MySql => one == other.as_bytes(),
        Dialect::Sqlite => one.eq_ignore_ascii_case(other.as_bytes()),
    }
}
