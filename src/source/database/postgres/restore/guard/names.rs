//! Where names may stand, and whether what they name is restored.

use std::collections::BTreeSet;

use super::tokens::{Token, tokens};

/// Words before the name of something that must be restored.
const OF_RESTORED: &[&str] = &[
    "by",
    "column",
    "domain",
    "exists",
    "index",
    "of",
    "on",
    "only",
    "partition",
    "references",
    "sequence",
    "statistics",
    "table",
];

/// Words that a value may follow. Behind any other word, or behind a name, stands a type or an operator class.
const BEFORE_VALUE: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "asymmetric",
    "between",
    "both",
    "case",
    "check",
    "default",
    "distinct",
    "else",
    "escape",
    "except",
    "for",
    "from",
    "ilike",
    "in",
    "is",
    "leading",
    "like",
    "not",
    "or",
    "overlaps",
    "placing",
    "row",
    "select",
    "set",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "trailing",
    "using",
    "values",
    "variadic",
    "when",
    "where",
    "with",
];

/// Says why a name with dots, which begins at `at`, is refused: in a value, it could call any function of one argument
/// (`t.f` is `f(t)`). `in_list`: it stands in a list of names.
pub(super) fn check(
    tokens: &[Token],
    at: usize,
    in_list: bool,
    schemas: &BTreeSet<String>,
) -> Result<(), String> {
    let schema = tokens[at].name().unwrap_or_default();
    let before = |count: usize| at.checked_sub(count).map(|index| &tokens[index]);
    let says = |count: usize, word: &str| before(count).is_some_and(|token| token.is(word));
    let makes = |kind: &str| tokens[0].is("create") && tokens[1].is(kind);
    let of_restored = in_list
        || before(1).is_some_and(|token| token.is_one_of(OF_RESTORED))
        || says(1, "from") && makes("statistics");
    if !schemas.contains(schema) && (of_restored || schema != "pg_catalog") {
        return Err(format!("it names schema {schema:?}, which is not restored"));
    }
    let may_stand = match before(1) {
        _ if of_restored => true,
        Some(Token::Quoted(_)) => true,
        Some(Token::Word(word)) => {
            !(BEFORE_VALUE.contains(&word.as_str()) || says(1, "zone") && says(2, "time"))
        }
        Some(Token::Other(':')) => says(2, ":"),
        // An operator class, behind what is indexed.
        Some(Token::Other(')')) => true,
        Some(Token::Other('=')) => makes("type"),
        _ => false,
    };
    match may_stand {
        true => Ok(()),
        false => Err(format!("it says {schema}.… where that may call a function")),
    }
}

/// Says why the relation that the word at `at` announces is refused, if it announces one: without a schema, it would be
/// the server's own.
pub(super) fn check_announced(
    tokens: &[Token],
    at: usize,
    depth: usize,
    schemas: &BTreeSet<String>,
) -> Result<(), String> {
    let next = tokens.get(at + 1);
    let before = at.checked_sub(1).map(|index| &tokens[index]);
    let is_name = before.is_some_and(|token| token.is_one_of(&[".", "column", "constraint"]));
    let outside = depth == 0 && !is_name;
    let of_table = tokens.iter().take(3).any(|token| token.is("table"));
    let announces = match &tokens[at] {
        word if word.is("references") => !tokens[0].is_one_of(&["grant", "revoke"]),
        word if word.is("from") => outside && tokens[0].is("create") && tokens[1].is("statistics"),
        word if word.is("on") => outside && is_index(tokens),
        word if word.is("inherit") => {
            outside && of_table && !before.is_some_and(|token| token.is("no"))
        }
        word if word.is("partition") => {
            let attaches = before.is_some_and(|token| token.is_one_of(&["attach", "detach"]));
            outside && attaches
        }
        word if word.is("of") => outside && of_table,
        word if word.is("inherits") && outside && of_table => {
            let list = tokens.get(at + 2..).unwrap_or_default();
            let end = list.iter().position(|token| token.is(")")).unwrap_or_default();
            return match list[..end].split(|t| t.is(",")).all(|name| is_restored(name, schemas)) {
                true => Ok(()),
                false => Err("it inherits from what is not restored".to_owned()),
            };
        }
        _ => false,
    };
    let skipped = usize::from(next.is_some_and(|token| token.is("only")));
    match !announces || is_restored(&tokens[(at + 1 + skipped).min(tokens.len())..], schemas) {
        true => Ok(()),
        false => Err("it is about a table that is not restored".to_owned()),
    }
}

fn is_index(tokens: &[Token]) -> bool {
    tokens[0].is("create") && tokens.iter().take(3).any(|token| token.is("index"))
}

/// Whether what is made, if something is, lies in a schema that is restored.
pub(super) fn makes_restored(tokens: &[Token], schemas: &BTreeSet<String>) -> bool {
    let unlogged = usize::from(tokens.get(1).is_some_and(|token| token.is("unlogged")));
    match (tokens.get(1 + unlogged), tokens.get(2 + unlogged..)) {
        (Some(kind), Some(name)) if kind.is("schema") => {
            name.len() == 1 && names_restored(kind, name, schemas)
        }
        (Some(kind), Some(name)) => is_index(tokens) || names_restored(kind, name, schemas),
        _ => false,
    }
}

/// Whether `ALTER` is of something restored, and leaves it where it is.
pub(super) fn alters_restored(tokens: &[Token], schemas: &BTreeSet<String>) -> bool {
    let Some(kind) = tokens.get(1) else { return false };
    let optional = ["if", "exists", "only"];
    let start = 2 + tokens[2..].iter().take_while(|token| token.is_one_of(&optional)).count();
    let (name, action) =
        tokens[start..].split_at_checked(if kind.is("schema") { 1 } else { 3 }).unwrap_or_default();
    let moves = match action {
        [Token::Word(word), ..] if word == "rename" => true,
        [Token::Word(word), ..] if word == "set" && kind.is("type") => true,
        [Token::Word(word), next, ..] if word == "set" => next.is("schema"),
        [Token::Word(_), ..] => false,
        _ => true,
    };
    !moves && names_restored(kind, name, schemas)
}

/// Whether a name is that of something in a schema that is restored, or of such a schema.
pub(super) fn names_restored(kind: &Token, name: &[Token], schemas: &BTreeSet<String>) -> bool {
    if kind.is("schema") {
        return name.first().and_then(Token::name).is_some_and(|name| schemas.contains(name));
    }
    let kinds = ["table", "column", "sequence", "type", "domain", "index", "statistics"];
    kind.is_one_of(&kinds) && is_restored(name, schemas)
}

/// Whether it begins with a schema that is restored.
pub(super) fn is_restored(name: &[Token], schemas: &BTreeSet<String>) -> bool {
    matches!(name, [schema, dot, ..]
        if dot.is(".") && schema.name().is_some_and(|schema| schemas.contains(schema)))
}

/// Whether a text, as it stands in quotes, names something in a schema that is restored.
pub(super) fn text_is_restored(text: &str, schemas: &BTreeSet<String>) -> bool {
    // (What is a comment elsewhere is a part of the name here.)
    !["\\", "--", "/*"].iter().any(|odd| text.contains(odd))
        && tokens(text).is_ok_and(|name| name.len() == 3 && is_restored(&name, schemas))
}
