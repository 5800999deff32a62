//! A row whose statement is longer than a server takes: its long values go beside the statement, as they are. (A blob
//! is twice as long in a statement.)

use mysql_async::Value;

/// What is shorter stays in the statement.
const LONG: usize = 8 << 10;

/// From this size on, the driver sends values piece by piece.
const PIECEMEAL: usize = 16 << 20;

/// A statement with `?` for its long values, and those.
pub(super) struct Parted {
    pub statement: Vec<u8>,
    pub values: Vec<Value>,
}

/// Writes a row's values with parentheses after `head`. `None`: the server would not take that either.
pub(super) fn part<'a>(
    head: &str,
    values: impl Iterator<Item = &'a [u8]>,
    packet: usize,
) -> Option<Parted> {
    let mut parted = Parted { statement: format!("{head} (").into_bytes(), values: Vec::new() };
    let (mut longest, mut total) = (0, 0);
    for (index, value) in values.enumerate() {
        if index > 0 {
            parted.statement.push(b',');
        }
        match (value.len() > LONG).then(|| decode(value)).flatten() {
            Some(bytes) => {
                longest = bytes.len().max(longest);
                total += bytes.len();
                parted.statement.push(b'?');
                parted.values.push(Value::Bytes(bytes));
            }
            None => parted.statement.extend_from_slice(value),
        }
    }
    parted.statement.push(b')');
    let spare = 1 << 10;
    let fits = longest + spare <= packet
        && parted.statement.len() + spare <= packet
        && (total + spare <= packet || packet >= PIECEMEAL);
    fits.then_some(parted)
}

/// The bytes that a string or hexadecimal digits stand for; `None` for any other literal.
fn decode(literal: &[u8]) -> Option<Vec<u8>> {
    match literal {
        [b'0', b'x' | b'X', digits @ ..] => hex::decode(digits).ok(),
        [b'\'', text @ .., b'\''] => unescape(text),
        _ => None,
    }
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' if bytes.next() != Some(b'\'') => return None,
            b'\\' => match bytes.next()? {
                b'0' => out.push(0),
                b'b' => out.push(8),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'Z' => out.push(0x1a),
                kept @ (b'%' | b'_') => out.extend_from_slice(&[b'\\', kept]),
                other => out.push(other),
            },
            byte => out.push(byte),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_the_server_reads_them() {
        assert_eq!(decode(b"0x00FF27").unwrap(), [0, 255, b'\'']);
        let text = br#"'it''s \'\\\0\b\n\r\t\Z\%\_\x"'"#;
        assert_eq!(decode(text).unwrap(), b"it's '\\\0\x08\n\r\t\x1a\\%\\_x\"");
        for other in [&b"_latin1 0x61"[..], b"'a' 'b'", b"0x123", b"12"] {
            assert_eq!(decode(other), None);
        }
    }

    #[test]
    fn only_what_fits_is_parted() {
        let blob = format!("0x{}", "00".repeat(60_000));
        let row = || [b"1".as_slice(), blob.as_bytes(), b"'short'"].into_iter();
        let parted = part("REPLACE INTO t VALUES", row(), 1 << 16).unwrap();
        assert_eq!(parted.statement, b"REPLACE INTO t VALUES (1,?,'short')");
        assert_eq!(parted.values, [Value::Bytes(vec![0; 60_000])]);
        assert!(part("REPLACE INTO t VALUES", row(), 60_000).is_none());
        assert!(part("H", row().chain(row()), 1 << 16).is_none());
        assert!(part("H", row().chain(row()), 1 << 24).is_some());
    }
}
