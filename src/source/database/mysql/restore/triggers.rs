//! Triggers: read from the server, dropped, and made again as they were.

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object};
use super::super::render::identifier;
use super::place::qualified;
use super::{Fault, literal, objects as making};

/// The trigger that a FOLLOWS or PRECEDES names is not there: MariaDB, MySQL.
const NO_SUCH_REFERENCE: &[u16] = &[4031, 3011];

/// Makes triggers in a schema, unless they are there: those of a table all at once, for their order.
pub(super) async fn ensure(
    session: &mut Session,
    schema: &str,
    triggers: &[Object],
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
    create_all(session, wanted.into_iter()).await
}

/// Makes triggers in the schema that is the session's default one, given in their order.
pub(super) async fn create_all(
    session: &mut Session,
    triggers: impl Iterator<Item = &Object>,
) -> Result<(), Fault> {
    let mut wanted: Vec<_> = triggers.collect();
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
                Err(fault) => return Err(fault.about(&shown(trigger))),
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
