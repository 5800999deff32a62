//! JSON as RavenDB's parser (Newtonsoft's) takes it: strings in either quotes, names without any, comments, and a comma
//! too many. A backslash that begins no escape stands for itself, as in Windows' paths.

use serde_json::{Map, Number, Value};

/// Deeper than any request; a parser that calls itself must stop somewhere.
const DEEPEST: usize = 64;

/// The text as a value; the error says what is wrong and where.
///
/// A path that ends in a backslash before its closing quote is no JSON at all, and still what people send: such a text
/// is read again with that backslash for itself.
pub fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Parser { text, at: 0, path_ends: false }
        .document()
        .or_else(|error| Parser { text, at: 0, path_ends: true }.document().map_err(|_| error))
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    at: usize,
    /// Whether a backslash before a quote that must be the closing one stands for itself.
    path_ends: bool,
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Value, String> {
        self.space()?;
        if self.peek().is_none() {
            return Ok(Value::Null);
        }
        let value = self.value(0)?;
        self.space()?;
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn takes(&mut self, c: char) -> bool {
        let taken = self.peek() == Some(c);
        if taken {
            self.at += c.len_utf8();
        }
        taken
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            Some(c) => format!("unexpected {c:?} at byte {}", self.at),
            None => "unexpected end".to_owned(),
        }
    }

    /// Also comments.
    fn space(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let skip = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").ok_or("a comment has no end")? + 2
            } else {
                return Ok(());
            };
            self.at += skip;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("deeper than {DEEPEST}"));
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some(quote @ ('"' | '\'')) => {
                self.next();
                self.string(quote).map(Value::String)
            }
            Some(_) => self.word(),
            None => Err(self.unexpected()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.next();
        let mut object = Map::new();
        loop {
            self.space()?;
            if self.takes('}') {
                return Ok(Value::Object(object));
            }
            let name = match self.peek() {
                Some(quote @ ('"' | '\'')) => {
                    self.next();
                    self.string(quote)?
                }
                _ => self.name()?,
            };
            self.space()?;
            if !self.takes(':') {
                return Err(self.unexpected());
            }
            self.space()?;
            let value = self.value(depth + 1)?;
            object.insert(name, value);
            self.space()?;
            if !self.takes(',') && self.peek() != Some('}') {
                return Err(self.unexpected());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.next();
        let mut array = Vec::new();
        loop {
            self.space()?;
            if self.takes(']') {
                return Ok(Value::Array(array));
            }
            array.push(self.value(depth + 1)?);
            self.space()?;
            if !self.takes(',') && self.peek() != Some(']') {
                return Err(self.unexpected());
            }
        }
    }

    /// A name without quotes.
    fn name(&mut self) -> Result<String, String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.')))
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected());
        }
        let name = rest[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    /// `true`, a number, and the like.
    fn word(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let value = match &rest[..end] {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" | "undefined" | "NaN" => Value::Null,
            word => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                    Number::from_f64(number).map_or(Value::Null, Value::Number)
                }
                _ => return Err(self.unexpected()),
            },
        };
        self.at += end;
        Ok(value)
    }

    /// After the opening quote.
    fn string(&mut self, quote: char) -> Result<String, String> {
        let mut string = String::new();
        loop {
            match self.next() {
                None => return Err("a string has no end".to_owned()),
                Some(c) if c == quote => return Ok(string),
                Some('\\') => self.escape(quote, &mut string),
                Some(c) => string.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char, string: &mut String) {
        if self.path_ends && self.is_last_quote(quote) {
            string.push('\\');
            return;
        }
        let escaped = match self.peek() {
            Some(c @ ('"' | '\'' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => match self.unicode() {
                Some(c) => {
                    string.push(c);
                    return;
                }
                None => '\\',
            },
            _ => '\\',
        };
        string.push(escaped);
        // What is no escape is still to be read.
        let was_escape = escaped != '\\' || self.peek() == Some('\\');
        if was_escape {
            self.next();
        }
    }

    /// Whether here is a quote after which a value can only have ended.
    fn is_last_quote(&self, quote: char) -> bool {
        let after = self.rest().strip_prefix(quote).map(str::trim_start);
        after.is_some_and(|after| after.starts_with([',', '}', ']']))
    }

    /// `uXXXX`, or two of them for one character. None: it is none, and nothing was taken.
    fn unicode(&mut self) -> Option<char> {
        let unit = |text: &str| {
            let digits = text.strip_prefix('u')?.get(..4)?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u32::from_str_radix(digits, 16).ok())?
        };
        let first = unit(self.rest())?;
        if let Some(c) = char::from_u32(first) {
            self.at += 5;
            return Some(c);
        }
        let second = unit(self.rest().get(5..)?.strip_prefix('\\')?)?;
        let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
        let c = char::decode_utf16(pair).next()?.ok()?;
        self.at += 11;
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_newtonsoft_takes() {
        for (text, value) in [
            ("", json!(null)),
            (r#"{"a":1}"#, json!({"a": 1})),
            ("{'a':'b'}", json!({"a": "b"})),
            ("{a: true, b: null,}", json!({"a": true, "b": null})),
            ("/* x */ [1, -2.5, 'x' // y\n]", json!([1, -2.5, "x"])),
            (r#"'a\'b"c'"#, json!("a'b\"c")),
            (r#""\u00e9\ud83d\ude00\/""#, json!("é😀/")),
            ("\u{feff}{}", json!({})),
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&value), "{text}");
        }
        for bad in ["{", "{'a'}", "{'a':}", "'a", "[1 2]", "{} x", "tru", "{'a':1 'b':2}", "/*"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    /// "a location's backslashes that are no JSON escape are taken literally"
    #[test]
    fn windows_paths() {
        for (text, value) in [
            (r"'c:\\temp\\x'", r"c:\temp\x"),
            (r"'~\FileSystem\New'", r"~\FileSystem\New"),
            (r"'d:\Data\Users'", r"d:\Data\Users"),
            (r"'d:\users'", r"d:\users"),
            (r"'d:\u12'", r"d:\u12"),
            (r#""c:\\x\\""#, r"c:\x\"),
        ] {
            assert_eq!(parse(text), Ok(value.into()), "{text}");
        }
        let ended = parse(r#"{"a":"c:\Data\X\","b":{"c":null}}"#);
        assert_eq!(ended, Ok(json!({"a": r"c:\Data\X\", "b": {"c": null}})));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn all_json_is_read_as_it_is(value in value()) {
            prop_assert_eq!(parse(&value.to_string()), Ok(value.clone()));
            prop_assert_eq!(parse(&serde_json::to_string_pretty(&value).unwrap()), Ok(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{}'":,a-cu0-9\\/* ]{0,40}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn single_quotes_are_as_good(name in "[a-zA-Z]{1,8}", text in "[^'\\\\]{0,12}") {
            let parsed = parse(&format!("{{'{name}' : '{text}'}}"));
            prop_assert_eq!(parsed, Ok(json!({ name: text })));
        }
    }
}
