//! The values of sequences: they know no snapshot, so they are read after it was taken, and never are behind it.

use std::collections::HashMap;

use sqlx::Error;

use super::catalog::{UNLOGGED, number, text};
use super::connect::Session;
use super::items::Item;
use super::names::{literal, qualified};

/// So many sequences are asked at once.
const AT_ONCE: usize = 100;

/// For each sequence, by its number in the catalog, what sets its value.
pub(super) async fn values(session: &mut Session) -> Result<HashMap<u64, Item>, Error> {
    let query = format!(
        "SELECT c.oid::text, n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND c.relpersistence <> 't' \
         AND NOT {UNLOGGED} AND n.nspname !~ '^portal_backup_' ORDER BY 1"
    );
    let sequences: Vec<(u64, String, String)> = session
        .rows(&query)
        .await?
        .iter()
        .map(|row| (number(row, 0), text(row, 1), text(row, 2)))
        .collect();
    let mut values = HashMap::new();
    for some in sequences.chunks(AT_ONCE) {
        let queries: Vec<String> = some
            .iter()
            .map(|(oid, schema, name)| {
                format!(
                    "SELECT '{oid}', last_value::text, is_called::text FROM {}",
                    qualified(schema, name)
                )
            })
            .collect();
        // Their locks are given back: nobody is to wait for the end of a backup to drop one.
        session.run("SAVEPOINT sequences").await?;
        let rows = session.rows(&queries.join(" UNION ALL ")).await?;
        session.run("ROLLBACK TO SAVEPOINT sequences; RELEASE SAVEPOINT sequences").await?;
        for row in rows {
            let oid = number(&row, 0);
            let Some((_, schema, name)) = some.iter().find(|(known, ..)| *known == oid) else {
                continue;
            };
            let sql = format!(
                "SELECT pg_catalog.setval({}, {}, {});",
                literal(&qualified(schema, name)).trim_start(),
                text(&row, 1),
                text(&row, 2)
            );
            values.insert(oid, Item::new("SEQUENCE SET", schema, name, sql));
        }
    }
    Ok(values)
}
