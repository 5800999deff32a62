//! Whether a value of MySQL is a literal: something that says itself, and makes the server do nothing.

use memchr::memchr2;

/// Strings, numbers, hexadecimal and bits, `NULL`, `TRUE` and `FALSE`, with a sign or a character set before them.
pub(super) fn is_literal(value: &[u8]) -> bool {
    let first = value.first().copied().unwrap_or_default();
    match first {
        b'-' | b'+' => is_number(value[1..].trim_ascii_start()),
        b'\'' | b'"' => is_strings(value),
        b'_' => {
            let length = value.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_');
            let rest = value[length.unwrap_or(value.len())..].trim_ascii_start();
            is_strings(rest) || is_digits(rest)
        }
        b'0'..=b'9' | b'.' => is_number(value) || is_digits(value),
        b'x' | b'X' | b'b' | b'B' if value.get(1) == Some(&b'\'') => is_digits(value),
        b'n' | b'N' if value.get(1) == Some(&b'\'') => is_strings(&value[1..]),
        _ => ["NULL", "TRUE", "FALSE"].iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes())),
    }
}

/// `0x…`, `0b…`, `x'…'`, `b'…'`.
fn is_digits(value: &[u8]) -> bool {
    let (hexadecimal, digits) = match value {
        [b'0', b'x', digits @ ..] => (true, digits),
        [b'0', b'b', digits @ ..] => (false, digits),
        [b'x' | b'X', b'\'', digits @ .., b'\''] => (true, digits),
        [b'b' | b'B', b'\'', digits @ .., b'\''] => (false, digits),
        _ => return false,
    };
    match hexadecimal {
        true => digits.iter().all(u8::is_ascii_hexdigit),
        false => digits.iter().all(|digit| matches!(digit, b'0' | b'1')),
    }
}

/// `12`, `1.5`, `.5`, `1e-7`.
fn is_number(value: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(value);
    let mut rest = &value[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let after = match after {
            [b'-' | b'+', digits @ ..] => digits,
            _ => after,
        };
        return whole + fraction > 0 && !after.is_empty() && digits(after) == after.len();
    }
    whole + fraction > 0 && rest.is_empty()
}

/// One string or several, as the server joins them.
fn is_strings(mut value: &[u8]) -> bool {
    if value.is_empty() {
        return false;
    }
    while let [quote @ (b'\'' | b'"'), inner @ ..] = value {
        let mut passed = 0;
        loop {
            let Some(at) = memchr2(*quote, b'\\', &inner[passed..]) else { return false };
            if inner[passed + at] == *quote {
                value = inner[passed + at + 1..].trim_ascii_start();
                break;
            }
            passed = (passed + at + 2).min(inner.len());
        }
    }
    value.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_itself_is_a_literal() {
        for literal in [
            "1",
            "-1",
            "+1.5",
            "1e10",
            "-1.5E-7",
            ".5",
            "5.",
            "0x00FF",
            "0x",
            "0b01",
            "x'00fF'",
            "b'01'",
            "N'text'",
            "'a'",
            "'it''s'",
            r"'a\'b\\'",
            "'a' 'b'",
            "\"x\"",
            "null",
            "NULL",
            "true",
            "False",
            "_binary'a'",
            "_binary 0x00",
            "_utf8mb4 'ä'",
            "_latin1 x'E9'",
        ] {
            assert!(is_literal(literal.as_bytes()), "{literal}");
        }
    }

    #[test]
    fn what_does_something_is_none() {
        for other in [
            "",
            "now()",
            "@@version",
            "@a",
            "a",
            "`a`",
            "1+1",
            "(1)",
            "(select 1)",
            "-(1)",
            "--1",
            "-'1'",
            "'a'+'b'",
            "'a' collate x",
            "0xg",
            "x'g'",
            "1 2",
            "1e",
            "e1",
            ".",
            "-",
            "'a",
            r"'a\'",
            "_binary",
            "_binary(1)",
            "_utf8mb4 f()",
            "default",
            "'a' or sleep(1)",
            "1/*!+1*/",
            "not 1",
            "b'2'",
            "1.2.3",
            "load_file('/etc/passwd')",
            "current_user",
        ] {
            assert!(!is_literal(other.as_bytes()), "{other}");
        }
    }
}
