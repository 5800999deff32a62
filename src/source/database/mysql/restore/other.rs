//! What the other of MySQL and MariaDB writes, said so that this one understands it.

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::Object;
use super::super::render::identifier;
use super::Fault;

const UNKNOWN_COLLATION: u16 = 1273;
/// MySQL takes an expression as the default of a text, but no literal.
const NO_LITERAL: u16 = 1101;

/// A definition that was refused with this error, as it may be tried again, and what users should know of it.
pub(super) fn fitted(definition: &str, error: &Error) -> Option<(String, Option<String>)> {
    let Error::Server(error) = error else { return None };
    let named = error.message.split('\'').nth(1)?;
    let (fitted, known) = match error.code {
        UNKNOWN_COLLATION => {
            let near = nearest(named)?;
            let known = format!("made with collation {near}, because this server has no {named}");
            (outside_quotes(definition, |text| text.replace(named, &near)), Some(known))
        }
        // (The name ends at the last quote, for it may have quotes itself.)
        NO_LITERAL => {
            let (_, rest) = error.message.split_once('\'')?;
            (with_expression(definition, rest.rsplit_once("' can't")?.0)?, None)
        }
        _ => return None,
    };
    (fitted != definition).then_some((fitted, known))
}

/// What of a definition MariaDB passes over without a word: it stands in comments that only MySQL reads.
pub(super) fn passed_over(definition: &str) -> Vec<String> {
    let mut found = Vec::new();
    outside_quotes(definition, |text| {
        let parts = text.split("/*!8").skip(1);
        let parts = parts.filter_map(|part| part.split_once("*/")?.0.split_once(' '));
        found.extend(parts.map(|(_, what)| what.trim().to_owned()));
        text.to_owned()
    });
    found
}

/// Gives objects collations that the server has; says which.
pub(super) async fn fit_collations(
    session: &mut Session,
    archived: &mut [Object],
) -> Result<Vec<String>, Fault> {
    let mut changed = Vec::new();
    for object in archived {
        let shown = object.shown();
        let mut fit = Vec::new();
        fit.push(&mut object.collation);
        fit.extend(object.schema_collation.as_mut());
        for collation in fit {
            let Some(near) = nearest(collation) else { continue };
            if !has_collation(session, collation).await? && has_collation(session, &near).await? {
                changed.push(format!("{shown} ({collation})"));
                *collation = near;
            }
        }
    }
    session.run("SET NAMES utf8mb4").await?;
    Ok(changed)
}

async fn has_collation(session: &mut Session, collation: &str) -> Result<bool, Error> {
    match session.run(&format!("SET collation_connection={collation}")).await {
        Err(Error::Server(error)) if error.code == UNKNOWN_COLLATION => Ok(false),
        other => other.map(|()| true),
    }
}

/// The other server's collation that sorts and compares most alike.
fn nearest(collation: &str) -> Option<String> {
    match collation {
        "utf8mb4_0900_bin" => return Some("utf8mb4_nopad_bin".to_owned()),
        "utf8mb4_nopad_bin" => return Some("utf8mb4_0900_bin".to_owned()),
        _ => {}
    }
    let is_kind = |kind: &&str| matches!(*kind, "ai_ci" | "as_ci" | "as_cs");
    if let Some(kind) = collation.strip_prefix("utf8mb4_0900_").filter(is_kind) {
        return Some(format!("utf8mb4_uca1400_nopad_{kind}"));
    }
    let kind = collation.strip_prefix("utf8mb4_uca1400_")?;
    let kind = kind.strip_prefix("nopad_").unwrap_or(kind);
    is_kind(&kind).then(|| format!("utf8mb4_0900_{kind}"))
}

/// The same with the literal that is a column's default in parentheses. Definitions have a line for each column.
fn with_expression(definition: &str, column: &str) -> Option<String> {
    let start = format!("\n  {} ", identifier(column));
    let line = definition.find(&start)? + start.len();
    let literal = line + definition[line..].find(" DEFAULT '")? + " DEFAULT ".len();
    let end = literal + quoted(&definition[literal..]);
    let (before, rest) = definition.split_at(literal);
    let (text, after) = rest.split_at(end - literal);
    (!before[line..].contains('\n')).then(|| format!("{before}({text}){after}"))
}

/// Changes what stands in no quotes.
fn outside_quotes(text: &str, mut change: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '`', '"']) {
        out += &change(&rest[..at]);
        let end = at + quoted(&rest[at..]);
        out += &rest[at..end];
        rest = &rest[end..];
    }
    out + &change(rest)
}

/// The length of the quoted text at the beginning.
fn quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes[0] != b'`' => at += 2,
            byte if *byte == bytes[0] => {
                at += 1;
                if bytes.get(at) != Some(&bytes[0]) {
                    return at;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn refused(code: u16, message: &str) -> Error {
        let (message, state) = (message.to_owned(), "HY000".to_owned());
        Error::Server(ServerError { code, message, state })
    }

    #[test]
    fn a_collation_is_changed_where_it_is_one() {
        let made = "CREATE TABLE `utf8mb4_0900_ai_ci` (\n  `a` text COLLATE utf8mb4_0900_ai_ci COMMENT 'it''s utf8mb4_0900_ai_ci'\n)";
        let error = refused(1273, "Unknown collation: 'utf8mb4_0900_ai_ci'");
        let (fitted, known) = fitted(made, &error).unwrap();
        assert_eq!(fitted, made.replacen("E utf8mb4_0900", "E utf8mb4_uca1400_nopad", 1));
        assert!(known.unwrap().contains("no utf8mb4_0900_ai_ci"));
        let error = refused(1273, "Unknown collation: 'utf8mb4_da_0900_ai_ci'");
        assert!(super::fitted(made, &error).is_none());
        assert_eq!(nearest("utf8mb4_uca1400_as_cs").unwrap(), "utf8mb4_0900_as_cs");
        assert!(nearest("utf8mb4_bin").is_none());
    }

    #[test]
    fn a_literal_becomes_an_expression() {
        let made = "CREATE TABLE `t` (\n  `a'b` text NOT NULL DEFAULT 'it''s \\' ' COMMENT 'x',\n  `c` text\n)";
        let refusal = |column: &str| {
            let message = format!(
                "BLOB, TEXT, GEOMETRY or JSON column '{column}' can't have a default value"
            );
            fitted(made, &refused(1101, &message)).map(|(text, _)| text)
        };
        assert_eq!(refusal("a'b").unwrap(), made.replace("'it''s \\' '", "('it''s \\' ')"));
        assert!(refusal("c").is_none() && refusal("other").is_none());
    }

    #[test]
    fn what_only_mysql_reads_is_found() {
        let made = "CREATE TABLE `t` (\n  `a` int /*!80023 INVISIBLE */ COMMENT '/*!80000 no */',\n  `p` point /*!80003 SRID 0 */ /*!50100 X */\n)";
        assert_eq!(passed_over(made), ["INVISIBLE", "SRID 0"]);
    }
}
