//! What an archive that is not ours may say: the shape of tables, types and sequences. Nothing that runs code of its
//! own, reads or writes files, or touches a schema that the restore does not replace.

mod names;
mod tokens;

use std::collections::BTreeSet;

use names::{is_restored, names_restored, text_is_restored};
use tokens::{Token, tokens};

/// How statements begin that only shape.
const ALLOWED: &[&[&str]] = &[
    &["create", "table"],
    &["create", "unlogged", "table"],
    &["create", "sequence"],
    &["create", "type"],
    &["create", "domain"],
    &["create", "index"],
    &["create", "unique", "index"],
    &["create", "schema"],
    &["create", "statistics"],
    &["alter", "table"],
    &["alter", "sequence"],
    &["alter", "type"],
    &["alter", "domain"],
    &["alter", "schema"],
    &["alter", "index"],
    &["alter", "statistics"],
    &["comment", "on"],
    &["grant"],
    &["revoke"],
    &["set", "default_tablespace"],
    &["set", "default_table_access_method"],
];

/// Words that may stand before a parenthesis: of the grammar, of types, and functions that only compute.
const BEFORE_PARENTHESIS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "bit",
    "bpchar",
    "brin",
    "btree",
    "by",
    "cache",
    "char",
    "character",
    "check",
    "columns",
    "constraint",
    "dec",
    "decimal",
    "default",
    "distinct",
    "enum",
    "except",
    "exclude",
    "float",
    "from",
    "generated",
    "gin",
    "gist",
    "hash",
    "identity",
    "in",
    "include",
    "inherits",
    "interval",
    "is",
    "key",
    "list",
    "not",
    "null",
    "nulls",
    "numeric",
    "on",
    "or",
    "range",
    "reset",
    "set",
    "some",
    "spgist",
    "then",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "to",
    "unique",
    "values",
    "varbit",
    "varchar",
    "varying",
    "when",
    "where",
    "with",
    "abs",
    "btrim",
    "ceil",
    "char_length",
    "coalesce",
    "concat",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "gen_random_uuid",
    "greatest",
    "jsonb_typeof",
    "least",
    "left",
    "length",
    "lower",
    "ltrim",
    "make_interval",
    "md5",
    "mod",
    "nextval",
    "now",
    "nullif",
    "octet_length",
    "position",
    "replace",
    "right",
    "round",
    "rtrim",
    "strpos",
    "substr",
    "substring",
    "timezone",
    "to_tsvector",
    "trim",
    "upper",
    "uuidv4",
    "uuidv7",
];

/// Words before a name that may have a parenthesis behind it.
const BEFORE_NAME: &[&str] =
    &["table", "references", "on", "only", "exists", "inherits", "statistics"];

/// Says why a text is refused. `schemas`: those that the restore replaces.
pub(super) fn check(sql: &str, schemas: &BTreeSet<String>) -> Result<(), String> {
    let tokens = tokens(sql)?;
    for statement in tokens.split(|token| token.is(";")).filter(|tokens| !tokens.is_empty()) {
        check_statement(statement, schemas)?;
    }
    Ok(())
}

fn check_statement(tokens: &[Token], schemas: &BTreeSet<String>) -> Result<(), String> {
    let begins = |words: &[&str]| {
        tokens.len() >= words.len() && words.iter().zip(tokens).all(|(word, token)| token.is(word))
    };
    let shown: Vec<&str> = tokens.iter().take(3).map(|token| token.name().unwrap_or("…")).collect();
    let shown = shown.join(" ");
    if begins(&["select"]) {
        return match sets_value(tokens, schemas) {
            true => Ok(()),
            false => Err(format!("it says {shown:?}")),
        };
    }
    if !ALLOWED.iter().any(|words| begins(words)) {
        return Err(format!("it says {shown:?}"));
    }
    let grants = begins(&["grant"]) || begins(&["revoke"]);
    // Whether each open parenthesis holds a list of names.
    let mut open: Vec<bool> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &tokens[before]);
        match token {
            Token::Other('(') => {
                check_call(tokens, index, schemas)?;
                open.push(open.is_empty() && before.is_some_and(|token| token.is("inherits")));
            }
            Token::Other(')') if open.pop().is_none() => {
                return Err("it closes what it has not opened".to_owned());
            }
            // (a).f is f(a).
            Token::Other('.') if before.and_then(Token::name).is_none() => {
                return Err("it says .… where that may call a function".to_owned());
            }
            // CREATE TABLE … AS runs a query.
            token
                if open.is_empty()
                    && token.is("as")
                    && begins(&["create"])
                    && tokens.iter().take(3).any(|token| token.is("table")) =>
            {
                return Err("it makes a table of a query".to_owned());
            }
            token if token.is("select") && !grants => return Err("it holds a query".to_owned()),
            Token::Word(_) => names::check_announced(tokens, index, open.len(), schemas)?,
            _ => {}
        }
        let begins_path = token.name().is_some() && !before.is_some_and(|before| before.is("."));
        if begins_path && tokens.get(index + 1).is_some_and(|next| next.is(".")) {
            let in_list = open.last().copied().unwrap_or(grants);
            names::check(tokens, index, in_list, schemas)?;
        }
    }
    if tokens.iter().take(2).any(|token| token.is("type"))
        && begins(&["create"])
        && !tokens.iter().any(|token| token.is("as"))
    {
        return Err("it makes a type of functions".to_owned());
    }
    let named = match tokens[0].name() {
        Some("grant" | "revoke") => {
            let on = tokens.iter().position(|token| token.is("on"));
            let end = tokens.iter().rposition(|token| token.is("to") || token.is("from"));
            on.zip(end).is_some_and(|(on, end)| {
                on + 2 < end
                    && tokens[on + 2..end]
                        .split(|token| token.is(","))
                        .all(|name| names_restored(&tokens[on + 1], name, schemas))
            })
        }
        Some("comment") => {
            // COMMENT ON CONSTRAINT c ON t; a domain's: ON DOMAIN d.
            let on = tokens.iter().rposition(|token| token.is("on")).unwrap_or_default();
            let end = tokens.iter().position(|token| token.is("is")).unwrap_or_default();
            match tokens.get(on + 1..end) {
                Some([kind, name @ ..]) if on == 1 || kind.is("domain") => {
                    names_restored(kind, name, schemas)
                }
                Some(name) => tokens[2].is("constraint") && is_restored(name, schemas),
                None => false,
            }
        }
        Some("alter") => names::alters_restored(tokens, schemas),
        Some("create") => names::makes_restored(tokens, schemas),
        _ => true,
    };
    match named {
        true => Ok(()),
        false => Err(format!("it says {shown:?} of what is not restored")),
    }
}

/// Whether a statement is `SELECT pg_catalog.setval('sequence', number[, boolean])`, of a sequence that is restored. What
/// it does to another would stay, whatever becomes of the transaction.
fn sets_value(tokens: &[Token], schemas: &BTreeSet<String>) -> bool {
    let begins = ["select", "pg_catalog", ".", "setval", "("];
    tokens.len() > begins.len()
        && begins.iter().zip(tokens).all(|(word, token)| token.is(word))
        && match &tokens[begins.len()..] {
            [Token::String(name), values @ .., last] => {
                let value = |t: &Token| {
                    matches!(t, Token::Number) || t.is_one_of(&["true", "false", ",", "-"])
                };
                text_is_restored(name, schemas) && values.iter().all(value) && last.is(")")
            }
            _ => false,
        }
}

/// What stands before a parenthesis.
fn check_call(tokens: &[Token], at: usize, schemas: &BTreeSet<String>) -> Result<(), String> {
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return Ok(()) };
    let Some(name) = before.name() else { return Ok(()) };
    let mut start = at - 1;
    while start >= 2 && tokens[start - 1].is(".") {
        start -= 2;
    }
    let of_catalog = start == at - 1 || (start + 2 == at - 1 && tokens[start].is("pg_catalog"));
    if matches!(before, Token::Word(_)) && of_catalog && BEFORE_PARENTHESIS.contains(&name) {
        // It takes a number from the sequence for good.
        let takes = match tokens.get(at + 1) {
            _ if name != "nextval" => true,
            Some(Token::String(sequence)) => {
                let rest = tokens[at + 2..].split(|token| token.is(")")).next();
                let rest = rest.unwrap_or_default();
                let cast = [":", ":", "regclass"];
                let casts = rest.len() == cast.len()
                    && cast.iter().zip(rest).all(|(word, token)| token.is(word));
                (rest.is_empty() || casts) && text_is_restored(sequence, schemas)
            }
            _ => false,
        };
        return match takes {
            true => Ok(()),
            false => Err("it takes numbers from what is not restored".to_owned()),
        };
    }
    // A grant's columns.
    let grants = tokens[0].is_one_of(&["grant", "revoke"]);
    if grants && before.is_one_of(&["select", "insert", "update", "references"]) {
        return Ok(());
    }
    // Only a name of what is restored; and behind the ON of CREATE STATISTICS stand expressions.
    let of_statistics = tokens.iter().take(2).any(|token| token.is("statistics"));
    let named = is_restored(&tokens[start..at], schemas)
        && start.checked_sub(1).is_some_and(|index| {
            let word = &tokens[index];
            word.is_one_of(BEFORE_NAME) && !(of_statistics && word.is("on"))
        });
    match named {
        true => Ok(()),
        false => Err(format!("it calls {name:?}")),
    }
}

#[cfg(test)]
mod tests;
