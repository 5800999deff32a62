//! The statements of a table's scheme member.

use crate::source::database::sql::{Chunk, Dialect, Guard, Limits, SchemeStatement, Splitter};
use crate::source::database::sqlite::{Source, order};
use crate::source::database::{DatabaseError, Trust};

/// The longest statement of a definition.
const MAX_DEFINITION: usize = 16 << 20;

/// What errors say that a definition is about.
pub(super) fn about(table: &str) -> String {
    format!("the definition of table {table}")
}

/// Hands the statements of a scheme to `run` with their texts, in order. Ends at the first that may not be run.
pub(super) fn statements(
    source: &Source,
    table: &str,
    sql: &[u8],
    trust: Trust,
    mut run: impl FnMut(SchemeStatement, &[u8]) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let refused = |error| source.failed(&about(table), error);
    let guard = Guard { dialect: Dialect::Sqlite, table, trust };
    let limits = Limits { statement: MAX_DEFINITION, ..Limits::default() };
    let mut splitter = Splitter::new(Dialect::Sqlite, limits);
    splitter.push(sql);
    splitter.finish();
    while let Some(chunk) = splitter.next().map_err(refused)? {
        let (text, judged) = match chunk {
            Chunk::Statement(text) => (text, guard.scheme(text)),
            Chunk::Rows(rows) => (&b""[..], guard.sequence(&rows)),
        };
        run(judged.map_err(refused)?, text)?;
    }
    Ok(())
}

/// Whether the definitions of an archive that is not ours would be run.
pub(in crate::source::database::sqlite) fn judge(
    source: &Source,
    schemes: &[(&str, &str)],
) -> Result<(), DatabaseError> {
    schemes.iter().try_for_each(|(table, sql)| {
        let (_, sql) = order::read(sql.as_bytes());
        statements(source, table, sql, Trust::Foreign, |_, _| Ok(()))
    })
}
