//! Triggers: read from the server, dropped, and made again as they were.

use mysql_async::prelude::Queryable;
use mysql_async::{Error, Row};
use serde::{Deserialize, Serialize};

use super::super::connect::Session;
use super::super::render::identifier;
use super::place::qualified;
use super::{Fault, admin, literal};

/// The trigger that a FOLLOWS or PRECEDES names is not there: MariaDB, MySQL.
const NO_SUCH_REFERENCE: &[u16] = &[4031, 3011];

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
}

/// Makes triggers in a schema, unless they are there: those of a table all at once, for their order.
pub(super) async fn ensure(
    session: &mut Session,
    schema: &str,
    triggers: &[Trigger],
) -> Result<(), Fault> {
    let there: Vec<String> =
        names(session, schema).await?.into_iter().map(|(name, _)| name).collect();
    let missing: Vec<&Trigger> =
        triggers.iter().filter(|trigger| !there.contains(&trigger.name)).collect();
    let wanted: Vec<&Trigger> = triggers
        .iter()
        .filter(|trigger| missing.iter().any(|missing| missing.table == trigger.table))
        .collect();
    for trigger in &wanted {
        drop(session, schema, &trigger.name).await?;
    }
    session.run(&format!("USE {}", identifier(schema))).await?;
    create_all(session, wanted.into_iter()).await
}

/// Makes triggers in the schema that is the session's default one, given in their order.
pub(super) async fn create_all(
    session: &mut Session,
    triggers: impl Iterator<Item = &Trigger>,
) -> Result<(), Fault> {
    let mut wanted: Vec<_> = triggers.collect();
    // One that says PRECEDES needs the one after it.
    while !wanted.is_empty() {
        let mut waiting = Vec::new();
        let before = wanted.len();
        let mut last = None;
        for trigger in wanted {
            match trigger.create(session).await {
                Err(fault) if NO_SUCH_REFERENCE.contains(&fault.code()) => {
                    last = Some(fault);
                    waiting.push(trigger);
                }
                Err(fault) => {
                    let message = match fault {
                        Fault::Server(error) => super::super::describe(&error),
                        Fault::Text(text) => text,
                    };
                    let Trigger { name, table, .. } = trigger;
                    return Err(Fault::Text(format!(
                        "trigger {name} cannot be made on table {table}: {message}"
                    )));
                }
                Ok(()) => {}
            }
        }
        if let (Some(fault), true) = (last, waiting.len() == before) {
            return Err(fault);
        }
        wanted = waiting;
    }
    Ok(())
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
