//! PostgreSQL's tokens, cut as its own scanner cuts them where `standard_conforming_strings` is on.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A name that is not quoted, or a keyword.
    Word,
    Number,
    /// `'…'` and `E'…'`.
    Text,
    /// `"…"`.
    Name,
    /// `$tag$ … $tag$`.
    Body,
    Comment,
    /// One character.
    Other,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Lexeme {
    pub kind: Kind,
    /// Where the next begins.
    pub end: usize,
    /// Whether it ended before the text did.
    pub closed: bool,
}

/// The end of the token that begins at `at`.
pub(in super::super) fn skip(text: &str, at: usize) -> usize {
    lex(text, at).end
}

/// The statements of a text, each with its `;`. (A body without quotes, `BEGIN ATOMIC`, is cut as well.)
pub(in super::super) fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut at, mut says) = (0, 0, false);
    while at < text.len() {
        let token = lex(text, at);
        let ends = text.as_bytes()[at] == b';';
        says |= token.kind != Kind::Comment && !text[at..token.end].trim().is_empty();
        at = token.end;
        if ends || at == text.len() && says {
            found.push(&text[start..at]);
            (start, says) = (at, false);
        }
    }
    found
}

/// The token that begins at `at`, where one begins.
pub(in super::super) fn lex(text: &str, at: usize) -> Lexeme {
    let bytes = text.as_bytes();
    let rest = &text[at..];
    let whole = |kind, end| Lexeme { kind, end, closed: true };
    let ended = |kind, end: Option<usize>| match end {
        Some(end) => Lexeme { kind, end, closed: true },
        None => Lexeme { kind, end: text.len(), closed: false },
    };
    match bytes[at] {
        b'\'' => ended(Kind::Text, quoted(bytes, at, false)),
        b'"' => ended(Kind::Name, quoted(bytes, at, false)),
        b'E' | b'e' if bytes.get(at + 1) == Some(&b'\'') => {
            ended(Kind::Text, quoted(bytes, at + 1, true))
        }
        byte if is_word(byte) && !byte.is_ascii_digit() => {
            let length = rest.bytes().take_while(|byte| is_word(*byte) || *byte == b'$').count();
            whole(Kind::Word, at + length)
        }
        byte if byte.is_ascii_digit() || byte == b'.' && starts_with_digit(&bytes[at + 1..]) => {
            whole(Kind::Number, number(bytes, at))
        }
        // (Also where nothing ends it: the text's end does.)
        b'-' if rest.starts_with("--") => {
            whole(Kind::Comment, rest.find(['\n', '\r']).map_or(text.len(), |end| at + end + 1))
        }
        b'/' if rest.starts_with("/*") => ended(Kind::Comment, comment(bytes, at)),
        b'$' => match dollar_tag(rest) {
            Some(tag) => {
                let from = at + tag.len();
                let end = text[from..].find(tag).map(|found| from + found + tag.len());
                ended(Kind::Body, end)
            }
            None => whole(Kind::Other, at + 1),
        },
        _ => whole(Kind::Other, at + rest.chars().next().map_or(1, char::len_utf8)),
    }
}

/// The end of what stands in the quotes that begin at `at`.
fn quoted(bytes: &[u8], at: usize, escapes: bool) -> Option<usize> {
    let quote = bytes[at];
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The end of a comment that may hold others.
fn comment(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut at) = (1, at + 2);
    while depth > 0 {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    Some(at)
}

/// The end of a number such as `1`, `.5`, `1.5e-7`.
fn number(bytes: &[u8], at: usize) -> usize {
    let digits = |from: usize| {
        from + bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let mut end = digits(at);
    if bytes.get(end) == Some(&b'.') && starts_with_digit(&bytes[end + 1..]) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if starts_with_digit(&bytes[(end + 1 + sign).min(bytes.len())..]) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

fn starts_with_digit(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_digit)
}

/// `$tag$` at the beginning of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let good = tag.bytes().all(is_word) && !tag.starts_with(|c: char| c.is_ascii_digit());
    good.then_some(&text[..end])
}

/// Whether a byte may stand in a name that is not quoted. (So may `$`, but at its beginning.)
pub(in super::super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens, but for blanks; `…` behind one that does not end.
    fn cut(text: &str) -> Vec<String> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let token = lex(text, at);
            let own = &text[at..token.end];
            if !own.trim().is_empty() {
                found.push(format!("{own}{}", if token.closed { "" } else { "…" }));
            }
            at = token.end;
        }
        found
    }

    #[test]
    fn tricky_texts_are_cut_as_the_server_cuts_them() {
        let cases: &[(&str, &[&str])] = &[
            ("--\rCOPY x", &["--\r", "COPY", "x"]),
            ("x$e'\\'; y", &["x$e", "'\\'", ";", "y"]),
            ("1e'\\';' 2", &["1", "e'\\';'", "2"]),
            ("é'\\';", &["é", "'\\'", ";"]),
            ("xe'\\';", &["xe", "'\\'", ";"]),
            ("E'\\';' 'a''b' e'a\\", &["E'\\';'", "'a''b'", "e'a\\…"]),
            ("\"a\"\"b;\" \"c", &["\"a\"\"b;\"", "\"c…"]),
            ("a$b$c $b$;$b$ $1", &["a$b$c", "$b$;$b$", "$", "1"]),
            ("$é$ $ $e$ ;$é$;", &["$é$ $ $e$ ;$é$", ";"]),
            ("$a$ $b$a$;", &["$a$ $b$a$", ";"]),
            ("/* /* */ ; */; /*/ ;*/ /*", &["/* /* */ ; */", ";", "/*/ ;*/", "/*…"]),
            ("1.5e-7+.5 1..2 5.x", &["1.5e-7", "+", ".5", "1", ".", ".2", "5", ".", "x"]),
            ("@--'\n';'", &["@", "--'\n", "';'"]),
        ];
        for (text, expected) in cases {
            assert_eq!(cut(text), *expected, "{text:?}");
        }
        assert_eq!(
            statements("GRANT a TO \"x;\ny\";\nREVOKE ';\n' ; \n-- no more;\n"),
            ["GRANT a TO \"x;\ny\";", "\nREVOKE ';\n' ;"]
        );
    }

    proptest! {
        /// Whatever a text is made of, its tokens are the text, and a new token begins where one ended.
        #[test]
        fn every_text_has_an_end(parts in prop::collection::vec(
            prop::sample::select(vec![
                "'", "\"", "E'", "e", "$", "$a$", "é", "--", "/*", "*/", "\n", "\r", "\\", ";", "1", ".", "e5", "x", " ",
            ]), 0..40)) {
            let text = parts.concat();
            let mut at = 0;
            while at < text.len() {
                let token = lex(&text, at);
                prop_assert!(token.end > at && text.is_char_boundary(token.end));
                prop_assert!(token.closed || token.end == text.len());
                at = token.end;
            }
            prop_assert_eq!(at, text.len());
            prop_assert!(statements(&text).iter().all(|one| text.contains(one)));
        }
    }
}
