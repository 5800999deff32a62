//! Reads all objects of a schema.

use mysql_async::{Error, Row};

use super::super::connect::Session;
use super::super::render::identifier;
use super::{Kind, Object, head, order};

/// What there is, in an order in which it can be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Found {
    pub objects: Vec<Object>,
    /// What the connection's user may not read, each with its kind.
    pub unreadable: Vec<String>,
    /// Views that name what is not there.
    pub broken: Vec<String>,
    /// The schema's default collation.
    pub collation: String,
}

impl Found {
    /// Whether both are of one moment, as far as definitions tell it: sequences go on all the time.
    pub fn has_definitions_of(&self, other: &Self) -> bool {
        let definitions = |found: &Self| -> Vec<Object> {
            let objects = found.objects.iter().filter(|object| object.kind != Kind::Sequence);
            objects.cloned().collect()
        };
        definitions(self) == definitions(other) && self.unreadable == other.unreadable
    }
}

/// No rights to do so: on a schema, a table, a routine, anything.
const DENIED: &[u16] = &[1044, 1142, 1227, 1345, 1370];
/// It was dropped meanwhile: a table, a routine, a trigger, an event, a sequence.
const GONE: &[u16] = &[1146, 1305, 1360, 1539, 4089, 4091];
const VIEW_INVALID: u16 = 1356;
/// There is no such table in the information schema.
const NO_SUCH_TABLE: u16 = 1109;

/// Reads everything; the session's default schema is then this one.
pub(in super::super) async fn read(session: &mut Session, schema: &str) -> Result<Found, Error> {
    // (Views of another schema than the default one are told with its name everywhere.)
    session.run(&format!("USE {}", identifier(schema))).await?;
    let collation: Option<String> = session.rows("SELECT @@collation_database").await?.pop();
    let mut found = Found { collation: collation.unwrap_or_default(), ..Found::default() };
    let names = names(session).await?;
    // Statements as they are stored, not converted.
    session.run("SET SESSION character_set_results=NULL").await?;
    let mut result = Ok(());
    for (kind, name, table) in names {
        result = one(session, schema, kind, name, table, &mut found).await;
        if result.is_err() {
            break;
        }
    }
    session.run("SET NAMES utf8mb4").await?;
    result?;
    order::sort(&mut found.objects);
    Ok(found)
}

type Name = (Kind, String, Option<String>);

async fn names(session: &mut Session) -> Result<Vec<Name>, Error> {
    let mut names: Vec<Name> = Vec::new();
    let query = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
        WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE IN ('VIEW', 'SEQUENCE') ORDER BY 1";
    for (name, kind) in session.rows::<(String, String)>(query).await? {
        let kind = if kind == "VIEW" { Kind::View } else { Kind::Sequence };
        names.push((kind, name, None));
    }
    let query = "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES \
        WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1";
    for (name, kind) in session.rows::<(String, String)>(query).await? {
        let kind = Kind::ALL.into_iter().find(|known| known.is_routine() && known.sql() == kind);
        names.extend(kind.map(|kind| (kind, name, None)));
    }
    // Only MySQL has these, since 9.2.
    let query = "SELECT LIBRARY_NAME FROM information_schema.LIBRARIES \
        WHERE LIBRARY_SCHEMA = DATABASE() ORDER BY 1";
    match session.rows::<String>(query).await {
        Ok(libraries) => {
            names.extend(libraries.into_iter().map(|name| (Kind::Library, name, None)));
        }
        Err(Error::Server(error)) if error.code == NO_SUCH_TABLE => {}
        Err(error) => return Err(error),
    }
    // In the order in which they are to be made.
    let query = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS \
        WHERE EVENT_OBJECT_SCHEMA = DATABASE() \
        ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER";
    for (name, table) in session.rows::<(String, String)>(query).await? {
        // One that fires on several events is listed for each of them.
        if !names.iter().any(|(kind, known, _)| *kind == Kind::Trigger && *known == name) {
            names.push((Kind::Trigger, name, Some(table)));
        }
    }
    let query = "SELECT EVENT_NAME FROM information_schema.EVENTS \
        WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1";
    for name in session.rows::<String>(query).await? {
        names.push((Kind::Event, name, None));
    }
    Ok(names)
}

async fn one(
    session: &mut Session,
    schema: &str,
    kind: Kind,
    name: String,
    table: Option<String>,
    found: &mut Found,
) -> Result<(), Error> {
    let query = format!("SHOW CREATE {} {}", kind.sql(), identifier(&name));
    let row: Option<Row> = match session.rows(&query).await {
        Ok(mut rows) => rows.pop(),
        Err(Error::Server(error)) if GONE.contains(&error.code) => return Ok(()),
        Err(Error::Server(error)) if DENIED.contains(&error.code) => None,
        Err(error) => return Err(error),
    };
    let shown = format!("{} {name}", kind.sql().to_lowercase());
    if kind == Kind::View {
        let warnings: Vec<(String, u16, String)> = session.rows("SHOW WARNINGS").await?;
        if warnings.iter().any(|(_, code, _)| *code == VIEW_INVALID) {
            found.broken.push(name.clone());
        }
    }
    let object = row.and_then(|row| object(kind, &row, &found.collation));
    let Some(mut object) = object else {
        found.unreadable.push(shown);
        return Ok(());
    };
    match kind {
        Kind::Sequence => match value(session, &name).await? {
            Some(value) => object.statement.extend(value.into_bytes()),
            None => {
                found.unreadable.push(shown);
                return Ok(());
            }
        },
        Kind::View => object.statement = head::unqualified(&object.statement, schema),
        Kind::Trigger => object.statement = head::trigger(object.statement, schema),
        kind if kind.is_routine() => object.statement = head::routine(object.statement, schema),
        _ => {}
    }
    found.objects.push(Object { name, table, ..object });
    Ok(())
}

/// Takes an object from what SHOW CREATE says; None: it says too little, for want of rights.
fn object(kind: Kind, row: &Row, default: &str) -> Option<Object> {
    let bytes = |index: usize| row.get_opt::<Vec<u8>, _>(index)?.ok();
    let text = |index: usize| String::from_utf8(bytes(index)?).ok();
    let object = Object {
        kind,
        name: String::new(),
        table: None,
        statement: Vec::new(),
        sql_mode: String::new(),
        charset: "utf8mb4".to_owned(),
        collation: "utf8mb4_general_ci".to_owned(),
        time_zone: None,
        schema_collation: None,
    };
    let other = |collation: String| (collation != default).then_some(collation);
    Some(match kind {
        Kind::Sequence => Object { statement: bytes(1)?, ..object },
        Kind::Library => Object { sql_mode: text(1)?, statement: bytes(2)?, ..object },
        Kind::View => {
            Object { statement: bytes(1)?, charset: text(2)?, collation: text(3)?, ..object }
        }
        Kind::Event => Object {
            sql_mode: text(1)?,
            time_zone: Some(text(2)?),
            statement: bytes(3)?,
            charset: text(4)?,
            collation: text(5)?,
            schema_collation: other(text(6)?),
            ..object
        },
        _ => Object {
            sql_mode: text(1)?,
            statement: bytes(2)?,
            charset: text(3)?,
            collation: text(4)?,
            schema_collation: other(text(5)?),
            ..object
        },
    })
}

/// What sets a sequence to where it stands. It is read after the snapshot was opened, so that no number is given twice.
async fn value(session: &mut Session, name: &str) -> Result<Option<String>, Error> {
    let name = identifier(name);
    // (As text, because it is of the sequence's type: since MariaDB 11.5 that may be BIGINT UNSIGNED.)
    let query = format!("SELECT CONCAT(next_not_cached_value), cycle_count FROM {name}");
    match session.rows::<(String, i64)>(&query).await {
        Ok(rows) => Ok(rows
            .first()
            .map(|(next, round)| format!(";\nDO SETVAL({name}, {next}, 0, {round})"))),
        Err(Error::Server(error)) if DENIED.contains(&error.code) => Ok(None),
        Err(error) => Err(error),
    }
}
