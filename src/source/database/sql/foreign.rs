//! The foreign keys in a definition.

use std::ops::Range;

use super::Dialect;
use super::lexer::{Kind, Token, tokens};

/// A CREATE TABLE without its foreign keys to tables of its own schema, and these; None: it has none, or is no text
/// that can be read.
pub fn apart(create: &str) -> Option<(String, Vec<String>)> {
    let text = create.as_bytes();
    let tokens = tokens(Dialect::MySql, text)?;
    let (mut depth, mut comma, mut first) = (0_usize, None, 0);
    let mut found: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let ends = match token.kind {
            Kind::Symbol(b'(') => {
                depth += 1;
                if depth == 1 {
                    first = index + 1;
                }
                continue;
            }
            Kind::Symbol(b')') => {
                depth = depth.checked_sub(1)?;
                depth == 0
            }
            Kind::Symbol(b',') => depth == 1,
            _ => false,
        };
        if !ends {
            continue;
        }
        // What stands first is a column: one cannot do without any.
        if let (Some(comma), Some(item)) = (comma, tokens.get(first..index))
            && is_key(text, item)
            && let (Some(begin), Some(end)) = (item.first(), item.last())
        {
            found.push((comma..end.end, begin.start..end.end));
        }
        (comma, first) = (Some(token.start), index + 1);
        if depth == 0 {
            break;
        }
    }
    let keys = found.iter().filter_map(|(_, key)| create.get(key.clone())).map(str::to_owned);
    let keys: Vec<String> = keys.collect();
    let mut rest = create.to_owned();
    for (range, _) in found.into_iter().rev() {
        rest.replace_range(range, "");
    }
    (!keys.is_empty()).then_some((rest, keys))
}

fn is_key(text: &[u8], item: &[Token]) -> bool {
    let rest = match item {
        // A name with a quote in it is several tokens.
        [first, name @ ..] if first.is(text, "CONSTRAINT") => {
            let quoted = name.iter().take_while(|token| matches!(token.kind, Kind::Quoted(_)));
            name.get(quoted.count()..).unwrap_or_default()
        }
        item => item,
    };
    let leads_out = item.iter().any(|token| token.kind == Kind::Symbol(b'.'));
    let [foreign, key, ..] = rest else { return false };
    foreign.is(text, "FOREIGN") && key.is(text, "KEY") && !leads_out
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn foreign_keys_are_taken_out_and_nothing_else() {
        let create = "CREATE TABLE `c` (\n  `a` int COMMENT ',\n  CONSTRAINT `x` FOREIGN KEY (`a`)',\n  `b` decimal(5,2) CHECK (`b` in (1,2)),\n  \
            KEY `k` (`a`,`b`),\n  CONSTRAINT `f``1` FOREIGN KEY (`a`,`b`) REFERENCES `p` (`a`,`b`) ON DELETE CASCADE,\n  \
            CONSTRAINT `out` FOREIGN KEY (`a`) REFERENCES `d`.`p` (`a`),\n  \
            CONSTRAINT `f2` FOREIGN KEY (`a`) REFERENCES `p` (`a`)\n) ENGINE=InnoDB COMMENT='), FOREIGN KEY (a)'";
        let (rest, keys) = apart(create).unwrap();
        assert_eq!(
            keys,
            [
                "CONSTRAINT `f``1` FOREIGN KEY (`a`,`b`) REFERENCES `p` (`a`,`b`) ON DELETE CASCADE",
                "CONSTRAINT `f2` FOREIGN KEY (`a`) REFERENCES `p` (`a`)",
            ]
        );
        let mut expected = create.to_owned();
        for key in keys {
            expected = expected.replace(&format!(",\n  {key}"), "");
        }
        assert_eq!(rest, expected);
        assert_eq!(apart(&rest), None);
    }
}
