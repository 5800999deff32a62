//! Triggers: read from the server, dropped, and made again as they were.

use mysql_async::prelude::Queryable;
use mysql_async::{Error, Row};
use serde::{Deserialize, Serialize};

use super::super::connect::Session;
use super::super::render::identifier;
use super::place::qualified;
use super::{Fault, admin, literal};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trigger {
    pub name: String,
    pub table: String,
    /// The CREATE statement, in hexadecimal digits: its bytes are of the character set below.
    statement: String,
    sql_mode: String,
    charset: String,
    collation: String,
}

impl Trigger {
    fn statement(&self) -> Result<Vec<u8>, Fault> {
        hex::decode(&self.statement)
            .map_err(|_| Fault::Text(format!("the note of trigger {} is damaged", self.name)))
    }

    /// Whether the statement can be run in another schema: it does not say where the trigger and its table are.
    pub fn is_movable(&self) -> bool {
        self.statement().is_ok_and(|statement| is_unqualified(&statement))
    }

    /// Makes it in the schema that is the session's default one.
    pub async fn create(&self, session: &mut Session) -> Result<(), Fault> {
        let statement = self.statement()?;
        session
            .run(&format!(
                "SET SESSION sql_mode={}, character_set_client={}, collation_connection={}",
                literal(&self.sql_mode),
                self.charset,
                self.collation
            ))
            .await?;
        let result = session.begin()?.query_drop(statement).await;
        let result = session.done(result);
        session.run("SET NAMES utf8mb4").await?;
        session.run(admin::SETTINGS).await?;
        Ok(result?)
    }

    /// Makes it in a schema, unless it is there already.
    pub async fn ensure(&self, session: &mut Session, schema: &str) -> Result<(), Fault> {
        if names(session, schema).await?.iter().any(|(name, _)| *name == self.name) {
            return Ok(());
        }
        session.run(&format!("USE {}", identifier(schema))).await?;
        self.create(session).await
    }
}

/// Name and table of every trigger of a schema, in the order in which they are to be made.
pub(super) async fn names(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<(String, String)>, Error> {
    let query = format!(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA = {} ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
        literal(schema)
    );
    session.rows(&query).await
}

/// Reads a schema's triggers on some of its tables.
pub(super) async fn read(
    session: &mut Session,
    schema: &str,
    of: impl Fn(&str) -> bool,
) -> Result<Vec<Trigger>, Fault> {
    let names = names(session, schema).await?;
    let mut triggers: Vec<Trigger> = Vec::new();
    // Statements as they are stored, not converted.
    session.run("SET SESSION character_set_results=NULL").await?;
    for (name, table) in names {
        // One that fires on several events is listed for each of them.
        if of(&table) && !triggers.iter().any(|known| known.name == name) {
            triggers.push(definition(session, schema, name, table).await?);
        }
    }
    session.run("SET NAMES utf8mb4").await?;
    Ok(triggers)
}

async fn definition(
    session: &mut Session,
    schema: &str,
    name: String,
    table: String,
) -> Result<Trigger, Fault> {
    let query = format!("SHOW CREATE TRIGGER {}", qualified(schema, &name));
    let row: Option<Row> = session.rows(&query).await?.pop();
    let read = |row: &Row, index: usize| row.get_opt::<Vec<u8>, _>(index)?.ok();
    let text = |row: &Row, index: usize| String::from_utf8(read(row, index)?).ok();
    let trigger = row.and_then(|row| {
        Some(Trigger {
            statement: hex::encode(read(&row, 2)?),
            sql_mode: text(&row, 1)?,
            charset: text(&row, 3)?,
            collation: text(&row, 4)?,
            name: name.clone(),
            table,
        })
    });
    trigger.ok_or_else(|| Fault::Text(format!("the definition of trigger {name} cannot be read")))
}

/// Drops a trigger if it is there.
pub(super) async fn drop(session: &mut Session, schema: &str, name: &str) -> Result<(), Error> {
    session.run(&format!("DROP TRIGGER IF EXISTS {}", qualified(schema, name))).await
}

/// Whether neither the trigger nor its table stands with a schema in a CREATE statement. When in doubt, no.
fn is_unqualified(statement: &[u8]) -> bool {
    let mut word = Vec::new();
    let mut inside = false;
    let mut quote = None;
    for byte in statement {
        match quote {
            Some(end) => {
                if *byte == end {
                    quote = None;
                }
                continue;
            }
            None if matches!(byte, b'`' | b'"' | b'\'') => {
                quote = Some(*byte);
                word.clear();
                continue;
            }
            None => {}
        }
        if byte.is_ascii_alphanumeric() || *byte == b'_' {
            word.push(byte.to_ascii_uppercase());
            continue;
        }
        match word.as_slice() {
            b"TRIGGER" => inside = true,
            b"EACH" if inside => return true,
            _ => {}
        }
        word.clear();
        if inside && matches!(byte, b'.' | b'/' | b'#' | b'-') {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_unqualified;

    #[test]
    fn a_schema_in_the_head_is_found() {
        let head = "CREATE DEFINER=`a.b`@`10.0.0.1` TRIGGER ";
        for (rest, unqualified) in [
            ("t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = other.f(1)", true),
            ("`t.u` after update on `x.y`\nfor each row begin end", true),
            ("db.t BEFORE INSERT ON x FOR EACH ROW SET @a = 1", false),
            ("t BEFORE INSERT ON `db`.`x` FOR EACH ROW SET @a = 1", false),
            ("t /* db. */ BEFORE INSERT ON x FOR EACH ROW SET @a = 1", false),
        ] {
            assert_eq!(is_unqualified(format!("{head}{rest}").as_bytes()), unqualified, "{rest}");
        }
    }
}
