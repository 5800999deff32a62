//! Reads the literals that our dumps write (`render.rs`), so that no SQL of an archive's rows is ever run.

use std::borrow::Cow;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

/// A value as a row has it. Text need not be UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, [u8]>),
    Blob(Vec<u8>),
}

impl ToSql for Literal<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads a value; None if it is none that our dumps write.
pub(super) fn read(value: &[u8]) -> Option<Literal<'_>> {
    match value.first()? {
        b'\'' => string(value).map(Literal::Text),
        b'x' | b'X' => blob(value).map(Literal::Blob),
        b'0'..=b'9' | b'-' => number(value),
        b'r' => controls(value).map(|text| Literal::Text(Cow::Owned(text))),
        b'C' => {
            let bytes = value.strip_prefix(b"CAST(")?.strip_suffix(b" AS TEXT)")?;
            blob(bytes).map(|text| Literal::Text(Cow::Owned(text)))
        }
        _ => value.eq_ignore_ascii_case(b"NULL").then_some(Literal::Null),
    }
}

/// `'it''s'`
fn string(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = value.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let Some(first) = memchr::memchr(b'\'', inner) else { return Some(Cow::Borrowed(inner)) };
    let mut text = Vec::with_capacity(inner.len());
    text.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some(at) = memchr::memchr(b'\'', rest) {
        if rest.get(at + 1) != Some(&b'\'') {
            return None;
        }
        text.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    text.extend_from_slice(rest);
    Some(Cow::Owned(text))
}

/// `x'00FF'`
fn blob(value: &[u8]) -> Option<Vec<u8>> {
    let digits = match value {
        [b'x' | b'X', b'\'', digits @ .., b'\''] => digits,
        _ => return None,
    };
    hex::decode(digits).ok()
}

/// `replace('a\nb','\n',char(10))`, one in the other.
fn controls(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"replace(")?;
    for (end, control) in [(&b",char(10))"[..], b'\n'), (&b",char(13))"[..], b'\r')] {
        let Some(inner) = inner.strip_suffix(end) else { continue };
        // A mark has no quote in it, so the last comma before one is where it begins.
        let inner = inner.strip_suffix(b"'")?;
        let quote = memchr::memrchr(b'\'', inner)?;
        let mark = &inner[quote + 1..];
        let text = inner[..quote].strip_suffix(b",")?;
        let text = match text.first()? {
            b'r' if control == b'\n' => Cow::Owned(controls(text)?),
            b'\'' => string(text)?,
            _ => return None,
        };
        return (!mark.is_empty()).then(|| replace(&text, mark, control));
    }
    None
}

fn replace(text: &[u8], mark: &[u8], control: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for at in memchr::memmem::find_iter(text, mark) {
        out.extend_from_slice(&text[done..at]);
        out.push(control);
        done = at + mark.len();
    }
    out.extend_from_slice(&text[done..]);
    out
}

/// `-5`, `1.5`, `9e999`, `3.0/4611686018427387904/2`
fn number(value: &[u8]) -> Option<Literal<'static>> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(text.strip_prefix('-').unwrap_or(text)) {
        return text.parse().ok().map(Literal::Integer);
    }
    let end = text.find(['/', '*']).unwrap_or(text.len());
    let (first, mut rest) = text.split_at(end);
    // (Rust would also take "inf" and "nan".)
    if !first.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+')) {
        return None;
    }
    let mut number: f64 = first.parse().ok()?;
    while let Some(operator) = rest.bytes().next() {
        let after = &rest[1..];
        let end = after.find(['/', '*']).unwrap_or(after.len());
        let (factor, left) = after.split_at(end);
        if !digits(factor) {
            return None;
        }
        let factor = factor.parse::<u64>().ok()? as f64;
        match operator {
            b'/' if factor > 0.0 => number /= factor,
            b'*' => number *= factor,
            _ => return None,
        }
        rest = left;
    }
    Some(Literal::Real(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::database::sqlite::render;

    fn rendered(value: ValueRef<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        render::value(&mut out, value);
        out
    }

    #[test]
    fn what_dumps_never_write_is_not_read() {
        for other in [
            "",
            "a",
            "now()",
            "'a'b'",
            "'a",
            "x'0'",
            "x'zz'",
            "1+1",
            "1/0",
            "inf",
            "-inf",
            "nan",
            "--1",
            "1.0/",
            "1.0/2.0",
            "(1)",
            "CAST('a' AS TEXT)",
            "CAST(x'00' AS BLOB)",
            "load_extension('x')",
            "replace('a','b',char(65))",
            "replace('a','',char(10))",
            "replace(load_extension('x'),'\\n',char(10))",
            "replace('a','b','c',char(10))",
            "random()",
            "9223372036854775808",
            "'a'||'b'",
            "readfile('x')",
        ] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn values_that_need_care_are_read() {
        for text in ["", "it's", "''", "a\r\nb", "\\n\n", "','", "x',char(10))\n", "'\n'\r'"] {
            let literal = rendered(ValueRef::Text(text.as_bytes()));
            assert_eq!(read(&literal), Some(Literal::Text(text.as_bytes().into())), "{text:?}");
        }
        for number in [0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 0.1, -1e308, f64::INFINITY] {
            let literal = rendered(ValueRef::Real(number));
            assert_eq!(read(&literal), Some(Literal::Real(number)), "{number}");
        }
        let Some(Literal::Real(zero)) = read(b"-0.0") else { panic!() };
        assert!(zero.is_sign_negative());
        assert_eq!(read(&rendered(ValueRef::Null)), Some(Literal::Null));
    }

    proptest! {
        #[test]
        fn any_value_is_read_back(bits: u64, integer: i64, bytes: Vec<u8>, text in "[\\\\nr0-2;'\n\ra\0,()x]{0,16}") {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let real = rendered(ValueRef::Real(number));
            let Some(Literal::Real(again)) = read(&real) else { panic!("{real:?}") };
            prop_assert_eq!(again.to_bits(), number.to_bits());
            for (value, expected) in [
                (ValueRef::Integer(integer), Literal::Integer(integer)),
                (ValueRef::Blob(&bytes), Literal::Blob(bytes.clone())),
                (ValueRef::Text(&bytes), Literal::Text((&bytes).into())),
                (ValueRef::Text(text.as_bytes()), Literal::Text(text.as_bytes().into())),
            ] {
                let literal = rendered(value);
                prop_assert_eq!(read(&literal), Some(expected));
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in "(replace\\(|CAST\\(x|'|x'|,char\\(10\\)|char\\(13\\)|[0-9./*',()-])*") {
            let _ = read(bytes.as_bytes());
        }
    }
}
