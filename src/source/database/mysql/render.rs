//! Values as SQL literals that load back equal, in DocSpace's notation (`docspace/facts.md` §6).

use crate::source::database::hex;

/// How a column's values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the server says it.
    Number,
    /// Dates, UUIDs and the like, and text in UTF-8.
    Text,
    /// Text in another character set. `ascii`: its bytes under 0x80 mean what they mean in ASCII.
    ForeignText { charset: String, ascii: bool },
    /// Blobs, bits and geometries.
    Binary,
}

/// How one value is written: the text of its kind, unless its bytes demand another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    Bare,
    Quoted,
    Hex,
    /// Hexadecimal digits with a character set before them: the server then converts nothing.
    CharsetHex(&'a str),
}

impl Kind {
    pub fn form(&self, value: &[u8]) -> Form<'_> {
        match self {
            Self::Number => Form::Bare,
            _ if value.is_empty() => Form::Quoted,
            Self::Binary => Form::Hex,
            // What is not UTF-8 in a UTF-8 column cannot be a string; its bytes at least stay in the dump.
            Self::Text if value.is_ascii() || std::str::from_utf8(value).is_ok() => Form::Quoted,
            Self::Text => Form::Hex,
            Self::ForeignText { ascii: true, .. } if value.is_ascii() => Form::Quoted,
            Self::ForeignText { charset, .. } => Form::CharsetHex(charset),
        }
    }
}

impl Form<'_> {
    pub fn begin(self, out: &mut Vec<u8>) {
        match self {
            Self::Bare => {}
            Self::Quoted => out.push(b'\''),
            Self::Hex => out.extend_from_slice(b"0x"),
            Self::CharsetHex(charset) => {
                out.push(b'_');
                out.extend_from_slice(charset.as_bytes());
                out.extend_from_slice(b" 0x");
            }
        }
    }

    /// Appends a part of the value; a value may be cut anywhere.
    pub fn part(self, out: &mut Vec<u8>, part: &[u8]) {
        match self {
            Self::Bare => out.extend_from_slice(part),
            Self::Quoted => escape(out, part),
            Self::Hex | Self::CharsetHex(_) => hex::append(out, part),
        }
    }

    pub fn end(self, out: &mut Vec<u8>) {
        if self == Self::Quoted {
            out.push(b'\'');
        }
    }
}

/// What follows the backslash for each byte that needs one; 0 for the others.
static ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    table[b'\\' as usize] = b'\\';
    table[b'\'' as usize] = b'\'';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    // The mariadb client refuses a raw NUL, and on Windows takes 0x1A for the end of the file.
    table[0] = b'0';
    table[0x1a] = b'Z';
    table
};

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 1);
    let mut clean = 0;
    for (index, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape != 0 {
            out.extend_from_slice(&text[clean..index]);
            out.extend_from_slice(&[b'\\', escape]);
            clean = index + 1;
        }
    }
    out.extend_from_slice(&text[clean..]);
}

/// A name in backquotes.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(kind: &Kind, value: &[u8]) -> String {
        let mut out = Vec::new();
        let form = kind.form(value);
        form.begin(&mut out);
        for part in value.chunks(3) {
            form.part(&mut out, part);
        }
        form.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_docspace_does() {
        let text = "a\\b'c\r\nd\0e\x1a\"😀;";
        assert_eq!(render(&Kind::Text, text.as_bytes()), r#"'a\\b\'c\r\nd\0e\Z"😀;'"#);
        assert_eq!(render(&Kind::Text, b""), "''");
    }

    #[test]
    fn binary_is_hexadecimal_and_empty_binary_a_string() {
        assert_eq!(render(&Kind::Binary, &[0, 255, b'\'']), "0x00FF27");
        assert_eq!(render(&Kind::Binary, b""), "''");
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        assert_eq!(render(&Kind::Text, b"a\xffb"), "0x61FF62");
    }

    #[test]
    fn other_character_sets_are_not_converted() {
        let latin1 = Kind::ForeignText { charset: "latin1".to_owned(), ascii: true };
        assert_eq!(render(&latin1, b"it's"), r"'it\'s'");
        assert_eq!(render(&latin1, b"caf\xe9"), "_latin1 0x636166E9");
        let utf16 = Kind::ForeignText { charset: "utf16".to_owned(), ascii: false };
        assert_eq!(render(&utf16, b"\0a"), "_utf16 0x0061");
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(identifier("a`b"), "`a``b`");
    }
}
