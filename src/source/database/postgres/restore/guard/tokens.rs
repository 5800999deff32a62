//! The tokens of a text that is judged. What servers of different versions read in different ways is refused.

use super::super::super::items::{Kind, lex};

/// The server cuts off what is longer, and so names another thing.
const LONGEST_NAME: usize = 63;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Not quoted, in lower case.
    Word(String),
    /// In double quotes.
    Quoted(String),
    /// As written, but for doubled quotes.
    String(String),
    Number,
    Other(char),
}

impl Token {
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }

    pub fn is(&self, word: &str) -> bool {
        match self {
            Self::Word(own) => own == word,
            Self::Other(own) => word.len() == 1 && word.starts_with(*own),
            _ => false,
        }
    }

    pub fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    let is_odd = |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\t');
    while at < sql.len() {
        let token = lex(sql, at);
        let (text, rest) = (&sql[at..token.end], &sql[token.end..]);
        at = token.end;
        if !token.closed {
            return Err("a string, a name or a comment in it does not end".to_owned());
        }
        tokens.push(match token.kind {
            Kind::Word => {
                let is_u = text.eq_ignore_ascii_case("u");
                if rest.starts_with('"')
                    || is_u && ["&'", "&\""].iter().any(|q| rest.starts_with(q))
                {
                    return Err("it writes a name in an unusual way".to_owned());
                }
                Token::Word(known_length(text)?.to_ascii_lowercase())
            }
            Kind::Name => Token::Quoted(
                known_length(&text[1..text.len() - 1].replace("\"\"", "\""))?.to_owned(),
            ),
            Kind::Text if matches!(tokens.last(), Some(Token::String(_))) => {
                return Err("it writes a string in several parts".to_owned());
            }
            Kind::Text if !text.starts_with('\'') => {
                return Err("it writes a string with escapes".to_owned());
            }
            Kind::Text => Token::String(text[1..text.len() - 1].replace("''", "'")),
            Kind::Number
                if rest.starts_with(|c: char| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.') || !c.is_ascii()
                }) =>
            {
                return Err("it writes a number in an unusual way".to_owned());
            }
            Kind::Number => Token::Number,
            Kind::Comment | Kind::Other if text.contains(is_odd) => {
                return Err("it holds control characters".to_owned());
            }
            Kind::Comment => continue,
            Kind::Body => return Err("it holds a body of code".to_owned()),
            Kind::Other => match text.chars().next() {
                None | Some(' ' | '\n' | '\t') => continue,
                Some('\\') => return Err("it holds a command of psql".to_owned()),
                Some('$') => return Err("it holds a body of code".to_owned()),
                Some(other) => Token::Other(other),
            },
        });
    }
    Ok(tokens)
}

fn known_length(name: &str) -> Result<&str, String> {
    match name.len() <= LONGEST_NAME {
        true => Ok(name),
        false => Err("it holds a name that is too long".to_owned()),
    }
}
