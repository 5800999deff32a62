//! The beginnings of CREATE statements, as bytes of whatever character set.

use std::collections::BTreeSet;
use std::ops::Range;

/// Where the definer's clause stands, `DEFINER=` included.
pub(super) fn definer(statement: &[u8]) -> Option<Range<usize>> {
    const CLAUSE: &[u8] = b"DEFINER=";
    let mut at = statement.strip_prefix(b"CREATE ").map(|_| "CREATE ".len())?;
    // Of a view there is something before it, which has no quotes.
    while !statement[at..].starts_with(CLAUSE) {
        let word = statement[at..].iter().position(|byte| *byte == b' ')?;
        if statement[at..at + word].iter().any(|byte| matches!(byte, b'`' | b'"' | b'\'')) {
            return None;
        }
        at += word + 1;
    }
    let mut end = name(statement, at + CLAUSE.len())?;
    // (A role has no host.)
    if statement.get(end) == Some(&b'@') {
        end = name(statement, end + 1)?;
    }
    Some(at..end)
}

/// The end of a quoted name that begins at `at`, or of a bare one.
fn name(text: &[u8], at: usize) -> Option<usize> {
    let quote = *text.get(at)?;
    if !matches!(quote, b'`' | b'"' | b'\'') {
        let bare = text[at..].iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'@');
        return bare.filter(|length| *length > 0).map(|length| at + length);
    }
    let mut end = at + 1;
    loop {
        match (*text.get(end)?, text.get(end + 1)) {
            (byte, Some(next)) if byte == quote && *next == quote => end += 2,
            (byte, _) if byte == quote => return Some(end + 1),
            _ => end += 1,
        }
    }
}

/// Takes a schema's name away from before the names of what lies in it. Strings stay as they are. Servers write it
/// into some views and defaults, and nobody could load these elsewhere.
pub(in super::super) fn unqualified(text: &[u8], schema: &str) -> Vec<u8> {
    let quoted = super::identifier(schema);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for range in schemas(text).into_iter().filter(|range| text[range.clone()] == *quoted.as_bytes())
    {
        out.extend_from_slice(&text[at..range.start]);
        at = range.end + 1;
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// Where the quoted names of schemas stand in a statement as servers write it. Of two names the first may as well be
/// a table's or its alias's: it is a schema's before a function's parenthesis, and where tables and sequences stand.
pub(super) fn schemas(text: &[u8]) -> Vec<Range<usize>> {
    const BEFORE: [&str; 7] =
        ["from", "join", "straight_join", "view", "nextval", "lastval", "setval"];
    let mut found = Vec::new();
    // The word before, with nothing but parentheses between.
    let mut word: &[u8] = b"";
    // Of each parenthesis that is open, whether it has a SELECT: there is also `extract(year from …)`.
    let mut selects = vec![false];
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'`' => {
                let first = name(text, start).unwrap_or(text.len());
                let (mut end, mut parts) = (first, 1);
                while text[end..].starts_with(b".`") {
                    end = name(text, end + 1).unwrap_or(text.len());
                    parts += 1;
                }
                let is_place = text.get(end) == Some(&b'(')
                    || BEFORE.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
                if parts > 2 || parts == 2 && is_place {
                    found.push(start..first);
                }
                at = end;
                word = b"";
            }
            b'\'' | b'"' => {
                at = string(text, start);
                word = b"";
            }
            b'(' => selects.push(false),
            b')' => {
                selects.pop();
                word = b"";
            }
            byte if is_of_word(*byte) => {
                let rest = text[at..].iter().position(|byte| !is_of_word(*byte));
                at = rest.map_or(text.len(), |length| at + length);
                word = &text[start..at];
                match selects.last_mut() {
                    Some(select) if word.eq_ignore_ascii_case(b"select") => *select = true,
                    Some(false) if word.eq_ignore_ascii_case(b"from") => word = b"",
                    _ => {}
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => word = b"",
        }
    }
    found
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The quoted names in a text, with their quotes; what stands in strings is none.
pub(super) fn names(text: &[u8]) -> BTreeSet<&[u8]> {
    let mut names = BTreeSet::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end = match byte {
            b'`' => name(text, at).unwrap_or(text.len()),
            b'\'' | b'"' => string(text, at),
            _ => at + 1,
        };
        let end = end.min(text.len());
        if *byte == b'`' {
            names.insert(&text[at..end]);
        }
        at = end;
    }
    names
}

/// The end of a string literal.
fn string(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = text.get(end) {
        match byte {
            b'\\' => end += 2,
            byte if *byte == text[at] => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

/// Whether neither the trigger nor its table stands with a schema in a CREATE statement. When in doubt, no.
pub(in super::super) fn is_unqualified(statement: &[u8]) -> bool {
    let mut word = Vec::new();
    let mut inside = false;
    let mut quote = None;
    for byte in statement {
        match quote {
            Some(end) => {
                if *byte == end {
                    quote = None;
                }
                continue;
            }
            None if matches!(byte, b'`' | b'"' | b'\'') => {
                quote = Some(*byte);
                word.clear();
                continue;
            }
            None => {}
        }
        if byte.is_ascii_alphanumeric() || *byte == b'_' {
            word.push(byte.to_ascii_uppercase());
            continue;
        }
        match word.as_slice() {
            b"TRIGGER" => inside = true,
            b"EACH" if inside => return true,
            _ => {}
        }
        word.clear();
        if inside && matches!(byte, b'.' | b'/' | b'#' | b'-') {
            return false;
        }
    }
    false
}

/// A trigger's statement without its schema before its own and its table's name, where that can be told.
pub(super) fn trigger(statement: Vec<u8>, schema: &str) -> Vec<u8> {
    if is_unqualified(&statement) {
        return statement;
    }
    let body = statement.windows(9).position(|part| part.eq_ignore_ascii_case(b"FOR EACH "));
    let Some(body) = body else { return statement };
    let (head, rest) = statement.split_at(body);
    let mut changed = head.to_vec();
    // (No column stands there: any such name is a schema's.)
    let quoted = (format!("{}.", super::identifier(schema)), 0);
    for (text, kept) in [quoted, (format!(" {schema}."), 1), (format!("\n{schema}."), 1)] {
        while let Some(at) =
            changed.windows(text.len()).position(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        {
            changed.drain(at + kept..at + text.len());
        }
    }
    changed.extend_from_slice(rest);
    if is_unqualified(&changed) { changed } else { statement }
}

/// A routine's statement without its schema before the names of the libraries that it uses, where the server puts it.
pub(super) fn routine(statement: Vec<u8>, schema: &str) -> Vec<u8> {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|found| found == part);
    let body = find(&statement, b"\nAS $").unwrap_or(0);
    let (head, rest) = statement.split_at(body);
    let Some(list) = find(head, b"\n    USING (") else { return statement };
    let (head, list) = head.split_at(list);
    // (With a parenthesis before it, or a comma; the names have quotes.)
    let quoted = format!("{}.`", super::identifier(schema));
    let mut changed = list.to_vec();
    for before in ["(", ", "] {
        let named = format!("{before}{quoted}");
        while let Some(at) = find(&changed, named.as_bytes()) {
            changed.drain(at + before.len()..at + named.len() - 1);
        }
    }
    [head, &changed, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definers_are_found_in_every_kind_of_head() {
        for (statement, clause) in [
            ("CREATE DEFINER=`a``@b`@`10.%` PROCEDURE `p`()", Some("DEFINER=`a``@b`@`10.%`")),
            ("CREATE DEFINER=\"a\"@\"%\" EVENT \"e\" ON", Some("DEFINER=\"a\"@\"%\"")),
            (
                "CREATE ALGORITHM=MERGE DEFINER=`r` SQL SECURITY DEFINER VIEW `v` AS",
                Some("DEFINER=`r`"),
            ),
            ("CREATE DEFINER=u@h TRIGGER t", Some("DEFINER=u@h")),
            ("CREATE PROCEDURE `DEFINER=`() SELECT 'DEFINER=x@y '", None),
            ("CREATE VIEW `v` AS select 'a' DEFINER=`x`@`y`", None),
            ("CREATE DEFINER=`a", None),
        ] {
            let found = definer(statement.as_bytes()).map(|range| &statement[range]);
            assert_eq!(found, clause, "{statement}");
        }
    }

    #[test]
    fn a_schema_is_taken_from_names_and_not_from_strings() {
        for (text, bare) in [
            (
                r#"select `d`.`t`.`d` AS `d.`,'`d`.`x\'`',"`d`.",`t`.`d`.`y` from `d`.`t` join `dd`.`t`"#,
                r#"select `t`.`d` AS `d.`,'`d`.`x\'`',"`d`.",`t`.`d`.`y` from `t` join `dd`.`t`"#,
            ),
            // A table, or an alias, of the schema's name.
            (
                "VIEW `v` AS select `d`.`id` AS `id` from (`x` `d` left join `t` on(`d`.`id` = `t`.`id`))",
                "VIEW `v` AS select `d`.`id` AS `id` from (`x` `d` left join `t` on(`d`.`id` = `t`.`id`))",
            ),
            (
                "VIEW `d`.`v` AS select `d`.`d`.`d`,max(`d`.`id`) from ((`d`.`d` join `d`.`t`) join `e`.`d`)",
                "VIEW `v` AS select `d`.`d`,max(`d`.`id`) from ((`d` join `t`) join `e`.`d`)",
            ),
            (
                "select `d`.`f`(`d`.`a`,nextval(`d`.`s`)),extract(year from `d`.`a`),trim(both (select 1) from `d`.`a`) from `d`",
                "select `f`(`d`.`a`,nextval(`s`)),extract(year from `d`.`a`),trim(both (select 1) from `d`.`a`) from `d`",
            ),
            (
                "select 1 where `d`.`a` in (select `d`.`a` from `d`.`t` order by `d`.`a`) union select `d`.`a` from `d`.`t`",
                "select 1 where `d`.`a` in (select `d`.`a` from `t` order by `d`.`a`) union select `d`.`a` from `t`",
            ),
        ] {
            assert_eq!(String::from_utf8(unqualified(text.as_bytes(), "d")).unwrap(), bare);
        }
        assert_eq!(unqualified(b"nextval(`a``b`.`c`)", "a`b"), b"nextval(`c`)");
        assert_eq!(unqualified(b"`open", "open"), b"`open");
    }

    #[test]
    fn a_schema_is_taken_from_libraries_and_not_from_code() {
        let head = "CREATE FUNCTION `f`(x int) RETURNS int\n    LANGUAGE JAVASCRIPT\n    USING (";
        let body = ")\nAS $$ USING (`d`.`x`) $$";
        let made = |list: &str| format!("{head}{list}{body}").into_bytes();
        assert_eq!(
            routine(made("`d`.`a` AS `d`, `e`.`b`, `d`.`c``d`"), "d"),
            made("`a` AS `d`, `e`.`b`, `c``d`")
        );
        let sql = b"CREATE PROCEDURE `p`()\nSELECT 1\n    USING (`d`.`a`)";
        assert_eq!(routine(sql.to_vec(), "d"), sql);
    }

    #[test]
    fn a_schema_in_the_head_is_found() {
        let head = "CREATE DEFINER=`a.b`@`10.0.0.1` TRIGGER ";
        for (rest, unqualified) in [
            ("t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = other.f(1)", true),
            ("`t.u` after update on `x.y`\nfor each row begin end", true),
            ("db.t BEFORE INSERT ON x FOR EACH ROW SET @a = 1", false),
            ("t BEFORE INSERT ON `db`.`x` FOR EACH ROW SET @a = 1", false),
            ("t /* db. */ BEFORE INSERT ON x FOR EACH ROW SET @a = 1", false),
        ] {
            let statement = format!("{head}{rest}");
            assert_eq!(is_unqualified(statement.as_bytes()), unqualified, "{rest}");
            let bare = trigger(statement.clone().into_bytes(), "db");
            assert_eq!(is_unqualified(&bare), !rest.contains("/*"), "{rest}");
            if unqualified {
                assert_eq!(bare, statement.as_bytes());
            }
        }
        assert_eq!(
            trigger(
                b"CREATE TRIGGER db.t AFTER DELETE ON db.x FOR EACH ROW CALL db.p()".into(),
                "db"
            ),
            b"CREATE TRIGGER t AFTER DELETE ON x FOR EACH ROW CALL db.p()"
        );
    }
}
