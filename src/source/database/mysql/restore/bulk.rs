//! Rows as `LOAD DATA LOCAL` reads them, which saves the server a third of its work: it has no statement to parse.
//! Only rows that mean the same in both forms go this way; the others stay statements.

use bytes::Bytes;
use futures::StreamExt;
use mysql_async::Error;
use mysql_async::prelude::Queryable;

use super::super::connect::Session;
use super::super::render::identifier;
use super::load::Column;
use crate::source::database::sql::Rows;

/// What is handed to the driver at once: each becomes a packet.
const PIECE: usize = 128 << 10;

/// Longer values go by themselves, so that memory does not hold them twice.
const LONGEST: usize = 4 << 20;

/// Which literals of a column's type are the same as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Integer,
    Decimal,
    Float,
    /// Strings, stored in UTF-8 or of a type that has no character set.
    Text,
    /// Strings, of which only ASCII is stored as it comes.
    Ascii,
    /// Hexadecimal digits.
    Bytes,
}

impl Form {
    /// `None`: values of the type are not carried.
    pub fn of(data_type: &str, charset: Option<&str>) -> Option<Self> {
        Some(match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Integer,
            "decimal" => Self::Decimal,
            "float" | "double" => Self::Float,
            "date" | "datetime" | "timestamp" | "time" => Self::Text,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum"
            | "set" => match charset? {
                "utf8mb4" | "utf8mb3" | "utf8" => Self::Text,
                "ascii" | "latin1" => Self::Ascii,
                _ => return None,
            },
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            _ => return None,
        })
    }

    /// Appends a literal; `None`: it has to stay one.
    fn append(self, literal: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let number = |others: &[u8]| {
            literal.iter().any(u8::is_ascii_digit)
                && literal.iter().all(|byte| byte.is_ascii_digit() || others.contains(byte))
        };
        let fits = match self {
            Self::Integer => number(b"-"),
            Self::Decimal => number(b"-."),
            Self::Float => number(b"-+.eE"),
            Self::Ascii if literal.is_ascii() => return text(literal, out),
            Self::Text if literal.is_ascii() || std::str::from_utf8(literal).is_ok() => {
                return text(literal, out);
            }
            Self::Bytes => return bytes(literal, out),
            Self::Ascii | Self::Text => false,
        };
        fits.then(|| out.extend_from_slice(literal))
    }
}

/// Appends the bytes that digits stand for, as a field.
fn bytes(literal: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if literal == b"''" {
        return Some(());
    }
    let bytes = hex::decode(literal.strip_prefix(b"0x")?).ok()?;
    out.reserve(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'\t' => out.extend_from_slice(br"\t"),
            b'\n' => out.extend_from_slice(br"\n"),
            other => out.push(other),
        }
    }
    Some(())
}

/// What ends a stretch of text that is the same in both forms.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    table[b'\\' as usize] = true;
    table[b'\'' as usize] = true;
    table[b'\t' as usize] = true;
    table[b'\n' as usize] = true;
    table
};

/// Appends a string as a field: both escape with a backslash, but not the same.
fn text(literal: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = literal.strip_prefix(b"'")?.strip_suffix(b"'")?;
    while let Some(at) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        out.extend_from_slice(rest.get(..at)?);
        let (first, after) = rest.get(at..)?.split_first()?;
        rest = after;
        let second = match first {
            b'\t' => b't',
            b'\n' => b'n',
            // A quote by itself would end it.
            _ => {
                let (second, after) = rest.split_first()?;
                rest = after;
                match (first, second) {
                    (b'\'', b'\'') | (b'\\', b'\'') => {
                        out.push(b'\'');
                        continue;
                    }
                    (b'\\', b'\\' | b'0' | b'b' | b'n' | b'r' | b't' | b'Z') => *second,
                    // Rare: `\%` stays two characters, and others lose their backslash.
                    _ => return None,
                }
            }
        };
        out.extend_from_slice(&[b'\\', second]);
    }
    out.extend_from_slice(rest);
    Some(())
}

/// Rows in the server's text form, and the statement that reads them.
pub(super) struct Bulk {
    statement: String,
    content: Bytes,
    piece: usize,
    rows: u64,
}

impl Bulk {
    /// `columns`: what the rows' values are of; generated ones are left out. `packet`: the longest that the server
    /// takes. `None`: some value has to stay a literal.
    pub fn of(
        rows: &Rows<'_>,
        columns: &[Option<&Column>],
        table: &str,
        packet: usize,
    ) -> Option<Self> {
        let longest = LONGEST.min(packet);
        let columns: Vec<&Column> = columns.iter().copied().collect::<Option<_>>()?;
        let mut content = Vec::new();
        for row in rows.rows() {
            let (mut values, mut first) = (row.into_iter(), true);
            for column in &columns {
                let value = values.next().filter(|value| value.len() <= longest)?;
                if column.generated {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    content.push(b'\t');
                }
                if value.eq_ignore_ascii_case(b"null") {
                    // The server would put something else in the place of a NULL that may not be.
                    content.extend_from_slice(column.nullable.then_some(br"\N")?);
                } else {
                    column.form?.append(value, &mut content)?;
                }
            }
            if first || values.next().is_some() {
                return None;
            }
            content.push(b'\n');
        }
        let fields = columns.iter().filter(|column| !column.generated);
        let fields: Vec<_> = fields.map(|column| identifier(&column.name)).collect();
        let replace = if rows.replaces() { "REPLACE " } else { "" };
        // As binary the server reads it twice as fast, and takes it for what the column holds.
        let statement = format!(
            r"LOAD DATA LOCAL INFILE 'rows' {replace}INTO TABLE {table} CHARACTER SET binary
              FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' ({})",
            fields.join(",")
        );
        let piece = PIECE.min(packet / 2).max(1);
        Some(Self { statement, content: content.into(), piece, rows: rows.count() as u64 })
    }

    /// Whether the server took every row as it is.
    pub async fn run(self, session: &mut Session) -> Result<bool, Error> {
        let Self { statement, mut content, piece, rows } = self;
        let conn = session.begin()?;
        conn.set_infile_handler(async move {
            let pieces = std::iter::from_fn(move || {
                let next = content.split_to(piece.min(content.len()));
                (!next.is_empty()).then_some(Ok(next))
            });
            Ok(futures::stream::iter(pieces).boxed())
        });
        let result = conn.query_drop(statement).await;
        let (warnings, taken) = (conn.get_warnings(), conn.affected_rows());
        session.done(result)?;
        // Values that do not fit, and rows that break a rule, are only warned of.
        Ok(warnings == 0 && taken >= rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(form: Form, literal: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        form.append(literal.as_bytes(), &mut out)?;
        Some(out)
    }

    #[test]
    fn literals_become_fields_that_mean_the_same() {
        for (literal, field) in [
            ("''", ""),
            ("'plain'", "plain"),
            (r"'it''s \'it\''", "it's 'it'"),
            ("'a\tb\nc'", r"a\tb\nc"),
            (r"'\\N \0\b\n\r\t\Z'", r"\\N \0\b\n\r\t\Z"),
            ("'null'", "null"),
            ("'\u{1f600}'", "\u{1f600}"),
        ] {
            assert_eq!(appended(Form::Text, literal).unwrap(), field.as_bytes(), "{literal}");
        }
        for (form, literal, field) in [
            (Form::Ascii, "'x'", &b"x"[..]),
            (Form::Integer, "-12", b"-12"),
            (Form::Decimal, "-1.50", b"-1.50"),
            (Form::Float, "1.5e-7", b"1.5e-7"),
            (Form::Bytes, "0x00FF27", b"\x00\xff'"),
            (Form::Bytes, "0x095C0A", br"\t\\\n"),
            (Form::Bytes, "''", b""),
        ] {
            assert_eq!(appended(form, literal).unwrap(), field, "{literal}");
        }
    }

    #[test]
    fn others_stay_literals() {
        for (form, literal) in [
            (Form::Text, "12"),
            (Form::Text, "0x61"),
            (Form::Text, "'a' 'b'"),
            (Form::Text, r"'\%'"),
            (Form::Text, r"'\N'"),
            (Form::Text, "_latin1 0x61"),
            (Form::Text, "'"),
            (Form::Ascii, "'\u{e9}'"),
            (Form::Integer, "'1'"),
            (Form::Integer, "1.5"),
            (Form::Integer, "true"),
            (Form::Integer, "-"),
            (Form::Decimal, "1e3"),
            (Form::Float, "e"),
            (Form::Bytes, "0x123"),
            (Form::Bytes, "'a'"),
        ] {
            assert_eq!(appended(form, literal), None, "{literal}");
        }
    }
}
