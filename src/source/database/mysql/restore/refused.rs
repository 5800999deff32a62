//! Foreign keys that a server has and refuses to make again: made without a check, or before an index was dropped.

use mysql_async::Error;

use super::super::connect::Session;
use super::place::Place;
use crate::source::database::sql;

/// Whether a table was refused for such a key: its index is missing, or its columns are not of one kind.
pub(super) fn is_for_a_key(error: &Error) -> bool {
    matches!(error, Error::Server(error) if match error.code {
        1005 => error.message.contains("errno: 150"),
        code => matches!(code, 1215 | 1822),
    })
}

/// Makes a table by its statement, but leaves those foreign keys out that the server refuses; says which. None: it has
/// none, and nothing was done. Both tables are the archive's, so that nothing here can make the key possible.
pub(super) async fn make_without(
    session: &mut Session,
    place: &Place,
    table: &str,
    statement: &str,
) -> Result<Option<Vec<String>>, Error> {
    let Some((bare, keys)) = sql::apart(statement) else { return Ok(None) };
    session.run(&bare).await?;
    let mut left_out = Vec::new();
    for key in keys {
        let add = format!("ALTER TABLE {} ADD {key}", place.in_staging(table));
        match session.run(&add).await {
            Err(error) if is_for_a_key(&error) => {
                left_out.push(format!(
                    "a foreign key of table {table} is left out, because the server does not make it with the tables \
                     of the archive: {key}: {}",
                    super::super::describe(&error)
                ));
            }
            made => made?,
        }
    }
    Ok(Some(left_out))
}
