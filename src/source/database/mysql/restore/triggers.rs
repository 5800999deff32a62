//! Triggers: read from the server, dropped, and made again as they were.

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object};
use super::super::render::identifier;
use super::place::qualified;
use super::{Fault, literal, objects as making};

/// The trigger that a FOLLOWS or PRECEDES names is not there: MariaDB, MySQL.
const NO_SUCH_REFERENCE: &[u16] = &[4031, 3011];

/// Makes triggers in a schema, unless they are there: those of a table all at once, for their order. `had`: the
/// schema where they were, see [`create_all`].
pub(super) async fn ensure(
    session: &mut Session,
    schema: &str,
    triggers: &[Object],
    had: &str,
) -> Result<(), Fault> {
    let there: Vec<String> =
        names(session, schema).await?.into_iter().map(|(name, _)| name).collect();
    let missing: Vec<&Object> =
        triggers.iter().filter(|trigger| !there.contains(&trigger.name)).collect();
    let wanted: Vec<&Object> = triggers
        .iter()
        .filter(|trigger| missing.iter().any(|missing| missing.table == trigger.table))
        .collect();
    for trigger in &wanted {
        drop(session, schema, &trigger.name).await?;
    }
    session.run(&format!("USE {}", identifier(schema))).await?;
    for trigger in create_all(session, wanted.into_iter(), Some(had)).await? {
        tracing::warn!(trigger = %trigger.shown(), "it did not work before the restore either, and cannot be made again");
    }
    Ok(())
}

/// A trigger that nobody can make, and the column for want of which.
pub(super) struct Broken {
    pub name: String,
    column: String,
}

impl Broken {
    pub fn shown(&self) -> String {
        format!("{} (column {})", self.name, self.column)
    }
}

/// Makes triggers in the schema that is the session's default one, given in their order. Those come back that name a
/// column which their table does not have: servers let it be dropped. `had`: the schema where the table must lack it
/// too, or else the trigger works there.
pub(super) async fn create_all(
    session: &mut Session,
    triggers: impl Iterator<Item = &Object>,
    had: Option<&str>,
) -> Result<Vec<Broken>, Fault> {
    let mut wanted: Vec<_> = triggers.collect();
    let mut broken = Vec::new();
    // One that says PRECEDES needs the one after it.
    while !wanted.is_empty() {
        let mut waiting = Vec::new();
        let before = wanted.len();
        let mut last = None;
        for trigger in wanted {
            match making::create(session, trigger).await {
                Err(fault) if NO_SUCH_REFERENCE.contains(&fault.code()) => {
                    last = Some(fault);
                    waiting.push(trigger);
                }
                Err(fault) => match is_broken(session, trigger, &fault, had).await? {
                    Some(found) => broken.push(found),
                    None => return Err(fault.about(&shown(trigger))),
                },
                Ok(()) => {}
            }
        }
        if let (Some(fault), true) = (last, waiting.len() == before) {
            return Err(fault);
        }
        wanted = waiting;
    }
    Ok(broken)
}

async fn is_broken(
    session: &mut Session,
    trigger: &Object,
    fault: &Fault,
    had: Option<&str>,
) -> Result<Option<Broken>, Error> {
    let Some(column) = missing_column(fault) else { return Ok(None) };
    if let Some(schema) = had {
        let Some(table) = &trigger.table else { return Ok(None) };
        let query = format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            literal(schema),
            literal(table)
        );
        let columns: Vec<String> = session.rows(&query).await?;
        let is_there = |name: &String| name.to_lowercase() == column.to_lowercase();
        if columns.is_empty() || columns.iter().any(is_there) {
            return Ok(None);
        }
    }
    Ok(Some(Broken { name: trigger.name.clone(), column: column.to_owned() }))
}

/// The column that a trigger names of its row, and that there is not.
pub(super) fn missing_column(fault: &Fault) -> Option<&str> {
    let Fault::Server(Error::Server(error)) = fault else { return None };
    let rest = error.message.strip_prefix("Unknown column '").filter(|_| error.code == 1054)?;
    rest.strip_suffix("' in 'OLD'").or_else(|| rest.strip_suffix("' in 'NEW'"))
}

/// Name and table of every trigger of a schema, in the order in which they are to be made.
pub(super) async fn names(
    session: &mut Session,
    schema: &str,
) -> Result<Vec<(String, String)>, Error> {
    let query = format!(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS \
         WHERE EVENT_OBJECT_SCHEMA = {} ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
        literal(schema)
    );
    session.rows(&query).await
}

/// Reads a schema's triggers on some of its tables.
pub(super) async fn read(
    session: &mut Session,
    schema: &str,
    of: impl Fn(&str) -> bool,
) -> Result<Vec<Object>, Fault> {
    let mut all = objects::read(session, schema).await?.objects;
    all.retain(|object| object.kind == Kind::Trigger && object.table.as_deref().is_some_and(&of));
    Ok(all)
}

fn shown(trigger: &Object) -> String {
    let table = trigger.table.as_deref().map(|table| format!(" on table {table}"));
    format!("trigger {} cannot be made{}", trigger.name, table.unwrap_or_default())
}

/// Drops a trigger if it is there.
pub(super) async fn drop(session: &mut Session, schema: &str, name: &str) -> Result<(), Error> {
    session.run(&format!("DROP TRIGGER IF EXISTS {}", qualified(schema, name))).await
}
