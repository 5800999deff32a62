//! Sequences that columns take their default values from. The server keeps such a default with the schema's name.

use mysql_async::Error;

use super::super::connect::Session;
use super::super::render::identifier;
use super::place::{Place, qualified};
use super::{Fault, admin, literal};

/// A definition whose defaults name sequences of the live schema, where those are: then they are right after the swap.
/// The others are looked for in the staging schema.
pub(super) async fn bind(
    session: &mut Session,
    place: &Place,
    definition: &str,
) -> Result<String, Error> {
    const CALLS: [&str; 4] = ["nextval(", "lastval(", "NEXTVAL(", "LASTVAL("];
    if !CALLS.iter().any(|call| definition.contains(call)) {
        return Ok(definition.to_owned());
    }
    let mut bound = definition.to_owned();
    for (name, kind) in admin::tables(session, &place.live).await? {
        if kind == "SEQUENCE" {
            for call in CALLS {
                let bare = format!("{call}{})", identifier(&name));
                bound = bound.replace(&bare, &format!("{call}{})", place.in_live(&name)));
            }
        }
    }
    Ok(bound)
}

/// After the swap: points the defaults that still name the staging schema to the live one.
pub(super) async fn settle(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let staging = format!("{}.", identifier(&place.staging));
    let query = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND INSTR(COLUMN_DEFAULT, {}) > 0",
        literal(&place.live),
        literal(&staging)
    );
    for (table, column, default) in session.rows::<(String, String, String)>(&query).await? {
        let default = default.replace(&staging, &format!("{}.", identifier(&place.live)));
        let table = qualified(&place.live, &table);
        let column = identifier(&column);
        session
            .run(&format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}"))
            .await?;
    }
    Ok(())
}
