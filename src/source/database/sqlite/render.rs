//! Values as literals that `sqlite3` reads back equal, each on one line.

use std::io::Write;

use rusqlite::types::ValueRef;

use crate::source::database::hex;

/// Appends a value.
pub(super) fn value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"NULL"),
        ValueRef::Integer(number) => print(out, format_args!("{number}")),
        ValueRef::Real(number) => real(out, number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let form = Form::of(value);
            form.begin(out);
            form.part(out, bytes);
            form.end(out);
        }
    }
}

/// How the bytes of a value are written, so that it may be done piece by piece.
pub(super) enum Form {
    /// As digits, between these.
    Digits(&'static str, &'static str),
    /// As they are, with something in the place of LF and CR where there are any.
    Text { lf: Option<String>, cr: Option<String> },
}

impl Form {
    /// Of a text or a blob; others have no bytes.
    ///
    /// `sqlite3` ends a statement at NUL and drops a CR before a line's end, so neither is written as it is.
    pub fn of(value: ValueRef<'_>) -> Self {
        let ValueRef::Text(bytes) = value else { return Self::Digits("x'", "'") };
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => Self::Text {
                lf: bytes.contains(&b'\n').then(|| stand_in(text, 'n')),
                cr: bytes.contains(&b'\r').then(|| stand_in(text, 'r')),
            },
            _ => Self::Digits("CAST(x'", "' AS TEXT)"),
        }
    }

    pub fn begin(&self, out: &mut Vec<u8>) {
        match self {
            Self::Digits(begin, _) => out.extend_from_slice(begin.as_bytes()),
            Self::Text { lf, cr } => {
                for _ in lf.iter().chain(cr) {
                    out.extend_from_slice(b"replace(");
                }
                out.push(b'\'');
            }
        }
    }

    pub fn part(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        let Self::Text { lf, cr } = self else { return hex::append(out, bytes) };
        let mut done = 0;
        for (index, byte) in bytes.iter().enumerate() {
            let instead = match byte {
                b'\'' => "''",
                b'\n' => lf.as_deref().unwrap_or_default(),
                b'\r' => cr.as_deref().unwrap_or_default(),
                _ => continue,
            };
            out.extend_from_slice(&bytes[done..index]);
            out.extend_from_slice(instead.as_bytes());
            done = index + 1;
        }
        out.extend_from_slice(&bytes[done..]);
    }

    pub fn end(&self, out: &mut Vec<u8>) {
        match self {
            Self::Digits(_, end) => out.extend_from_slice(end.as_bytes()),
            Self::Text { lf, cr } => {
                out.push(b'\'');
                for (mark, number) in [(cr, 13), (lf, 10)] {
                    if let Some(mark) = mark {
                        print(out, format_args!(",'{mark}',char({number}))"));
                    }
                }
            }
        }
    }
}

fn print(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments); // A Vec takes everything.
}

/// A name in double quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Something for a control character that cannot be mistaken for what is in the text.
fn stand_in(text: &str, letter: char) -> String {
    let mut mark = format!("\\{letter}");
    let mut number = 0u32;
    // With a delimiter at its end, a mark cannot overlap itself or what stands around it.
    while text.contains(mark.trim_end_matches(';')) {
        mark = format!("\\{letter}{number};");
        number += 1;
    }
    mark
}

fn real(out: &mut Vec<u8>, number: f64) {
    if number.is_infinite() {
        out.extend_from_slice(if number > 0.0 { b"9e999" } else { b"-9e999" });
    } else if number.fract() == 0.0 && number.abs() < 9e15 {
        print(out, format_args!("{number:.1}"));
    } else if let Some(decimal) = safe_decimal(number) {
        out.extend_from_slice(decimal.as_bytes());
    } else {
        exact(out, number);
    }
}

/// The shortest decimal, if every `sqlite3` reads it as this number.
///
/// Many versions read `digits / 10^k` in the 64 bits of a long double and then round to the 53 of a double:
/// twice rounded, one in some thousand numbers comes out wrong (measured with 3.40: 26 of 400,000).
/// That happens only when the bits beyond the 53rd are next to a half.
fn safe_decimal(number: f64) -> Option<String> {
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let digits = mantissa.replace('.', "");
    let decimals = i32::try_from(digits.len()).ok()? - 1 - exponent;
    if digits.len() > 15 || !(1..=15).contains(&decimals) {
        return None;
    }
    let digits: u128 = digits.parse().ok()?;
    let quotient = (digits << (digits.leading_zeros() - 1)) / 10u128.pow(decimals.unsigned_abs());
    let top = quotient >> (64 - quotient.leading_zeros());
    (!(1022..=1026).contains(&(top & 2047))).then(|| format!("{number}"))
}

/// An odd number times a power of two, in operations that are exact in every version.
fn exact(out: &mut Vec<u8>, number: f64) {
    let bits = number.abs().to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let (mut mantissa, mut exponent) = match (bits >> 52) as i32 {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased - 1075),
    };
    let zeros = mantissa.trailing_zeros();
    mantissa >>= zeros;
    exponent += zeros as i32;
    let sign = if number.is_sign_negative() { "-" } else { "" };
    print(out, format_args!("{sign}{mantissa}.0"));
    let operator = if exponent < 0 { '/' } else { '*' };
    let mut left = exponent.unsigned_abs();
    while left > 0 {
        let step = left.min(62);
        print(out, format_args!("{operator}{}", 1u64 << step));
        left -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(of: ValueRef<'_>) -> String {
        let mut out = Vec::new();
        value(&mut out, of);
        String::from_utf8(out).unwrap()
    }

    fn read(expression: &str) -> rusqlite::types::Value {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.query_row(&format!("SELECT {expression}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn numbers_keep_their_type() {
        assert_eq!(render(ValueRef::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(read("-9223372036854775808"), rusqlite::types::Value::Integer(i64::MIN));
        assert_eq!(render(ValueRef::Real(1.0)), "1.0");
        assert_eq!(render(ValueRef::Real(-0.0)), "-0.0");
        assert_eq!(render(ValueRef::Real(0.1)), "0.1");
        assert_eq!(render(ValueRef::Real(f64::NEG_INFINITY)), "-9e999");
    }

    #[test]
    fn extreme_numbers_read_back_equal() {
        for number in [
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            -1e308,
            1e22,
            9007199254740993.0,
            0.3,
            1e-7,
            1.0 / 3.0,
        ] {
            let rendered = render(ValueRef::Real(number));
            assert_eq!(read(&rendered), rusqlite::types::Value::Real(number), "{rendered}");
        }
    }

    #[test]
    fn texts_stay_on_one_line() {
        for text in ["it's", "a\r\nb", "\\n\n\\n0;\r", "\\", "\n", "a;\n", "nul\0nul", ""] {
            let rendered = render(ValueRef::Text(text.as_bytes()));
            assert!(!rendered.contains(['\n', '\r', '\0']), "{rendered}");
            assert_eq!(
                read(&rendered),
                rusqlite::types::Value::Text(text.to_owned()),
                "{rendered}"
            );
        }
        assert_eq!(render(ValueRef::Text(b"a\xff")), "CAST(x'61FF' AS TEXT)");
        assert_eq!(render(ValueRef::Blob(b"")), "x''");
    }

    proptest! {
        #[test]
        fn any_number_reads_back_equal(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            prop_assert_eq!(read(&render(ValueRef::Real(number))), rusqlite::types::Value::Real(number));
        }

        #[test]
        fn any_text_reads_back_equal(text in "[\\\\nr0-2;'\n\ra\0]{0,12}") {
            prop_assert_eq!(read(&render(ValueRef::Text(text.as_bytes()))), rusqlite::types::Value::Text(text));
        }
    }
}
