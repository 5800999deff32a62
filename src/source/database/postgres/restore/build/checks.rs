//! Checks in tables' own definitions whose answer may be another one now: those that call users' functions, which may
//! have been changed since, or may read other tables, or that tell the time.

use super::super::super::catalog::text;
use super::super::super::connect::Session;
use super::super::super::items::Item;
use super::super::super::names::{identifier, qualified};
use super::super::Fault;
use super::super::lost::among;
use crate::source::database::Trust;

/// Functions that a check `k` calls, by the server's own form of it.
const CALLED: &str = "pg_catalog.regexp_matches(k.conbin::text, ':(?:func|opfunc)id ([0-9]+)', 'g') AS called (numbers)";

/// Takes them away until the rows are there. Returns what makes them again, parents' first: heirs' own are merged then.
pub(super) async fn put_off(
    session: &mut Session,
    schemas: &[String],
) -> Result<Vec<(Item, Trust)>, Fault> {
    let query = format!(
        "SELECT n.nspname::text, c.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relkind IN ('r', 'p') \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype = 'c' AND k.coninhcount = 0 AND k.convalidated AND {} \
         AND (k.conbin::text LIKE '%{{SQLVALUEFUNCTION %' OR EXISTS (SELECT 1 FROM {CALLED} \
           JOIN pg_catalog.pg_proc p ON p.oid = called.numbers[1]::oid \
           WHERE p.provolatile <> 'i' OR p.pronamespace <> 'pg_catalog'::regnamespace)) ORDER BY 1, 2, 3",
        among("n.nspname", schemas)
    );
    let mut off = Vec::new();
    loop {
        // An heir's own is no longer its parent's too, once that is gone.
        let found = session.rows(&query).await?;
        if found.is_empty() {
            return Ok(off);
        }
        for row in found {
            let (schema, table, name) = (text(&row, 0), text(&row, 1), text(&row, 2));
            let (of, constraint) = (qualified(&schema, &table), identifier(&name));
            let make = format!("ALTER TABLE {of} ADD CONSTRAINT {constraint} {};", text(&row, 3));
            let item = Item::new("CHECK CONSTRAINT", &schema, &format!("{table} {name}"), make);
            off.push((item, Trust::Own));
            session.run(&format!("ALTER TABLE {of} DROP CONSTRAINT {constraint}")).await?;
        }
    }
}
