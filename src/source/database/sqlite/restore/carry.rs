//! Carries over from one database to another, attached to the same connection, what an archive does not know.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::mark::{self, Loaded};
use crate::catalog::is_own_table;
use crate::source::database::sqlite::render::identifier;
use crate::source::database::sqlite::scheme;

/// From where to where: names of schemas of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub from: &'static str,
    pub to: &'static str,
}

/// What is carried.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// Everything but what came from the archive.
    AllBut(&'a Loaded),
    /// The catalog's tables: what they say of running jobs is true whatever becomes of the rest.
    Own,
}

impl What<'_> {
    /// `shadow`: it holds what a virtual table has.
    fn includes(self, table: &str, shadow: bool) -> bool {
        !table.eq_ignore_ascii_case(mark::TABLE)
            && match self {
                Self::AllBut(loaded) => {
                    !(loaded.has_table(table) || shadow && loaded.has_shadowed(table))
                }
                Self::Own => is_own_table(table),
            }
    }
}

/// How a connection must be set for this, outside of a transaction.
pub(super) fn prepare(db: &Connection) -> Result<()> {
    db.execute_batch(
        "PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA trusted_schema=OFF; \
         PRAGMA writable_schema=ON; PRAGMA cache_size=-16000;",
    )
}

/// Carries tables with their indexes, counters and statistics; of everything also views, triggers and virtual
/// tables. Runs in the caller's transaction, again if need be. `rows`: false for the definitions only. Returns the
/// names of objects that had to be left behind.
pub(super) fn carry(db: &Connection, way: Way, what: What<'_>, rows: bool) -> Result<Vec<String>> {
    if let What::AllBut(loaded) = what {
        // What an earlier try carried.
        let to = way.to;
        for (id, kind, name, _) in listed(db, to)? {
            if !loaded.has_object(&kind, &name) {
                db.execute(&format!("DELETE FROM {to}.sqlite_schema WHERE rowid = ?"), [id])?;
            }
        }
        db.execute_batch("PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON;")?;
    }
    for (table, ..) in tables(db, way.to, what)? {
        db.execute_batch(&format!("DROP TABLE {}.{}", way.to, identifier(&table)))?;
    }
    let mut left = Vec::new();
    for (table, without_rowid, sql) in tables(db, way.from, what)? {
        run_in(db, way.to, &sql)?;
        if rows {
            let name = identifier(&table);
            let columns = scheme::columns(db, way.from, &table, without_rowid)?.join(",");
            db.execute_batch(&format!(
                "INSERT INTO {}.{name} ({columns}) SELECT {columns} FROM {}.{name} NOT INDEXED",
                way.to, way.from
            ))?;
        }
        left.extend(indexes(db, way, &table, what)?);
        for (list, column) in [("sqlite_sequence", "name"), ("sqlite_stat1", "tbl")] {
            if has(db, way.from, list)? && has(db, way.to, list)? {
                let (to, from) = (way.to, way.from);
                db.execute(&format!("DELETE FROM {to}.{list} WHERE {column} = ?"), [&table])?;
                db.execute(
                    &format!(
                        "INSERT INTO {to}.{list} SELECT * FROM {from}.{list} WHERE {column} = ?"
                    ),
                    [&table],
                )?;
            }
        }
    }
    match what {
        What::AllBut(loaded) => left.extend(objects(db, way, loaded)?),
        What::Own => {}
    }
    Ok(left)
}

/// Name, whether it is WITHOUT ROWID, definition.
fn tables(db: &Connection, schema: &str, what: What<'_>) -> Result<Vec<(String, bool, String)>> {
    // Those that virtual tables keep their contents in are called shadows, where their module is known.
    let mut listing = db.prepare(&format!(
        "SELECT l.name, l.wr, s.sql, l.type = 'shadow' FROM pragma_table_list AS l \
         JOIN {schema}.sqlite_schema AS s ON s.type = 'table' AND s.name = l.name AND s.rootpage > 0 \
         WHERE l.schema = ? AND l.type IN ('table', 'shadow') AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY s.rowid",
    ))?;
    let all = listing
        .query_map([schema], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<Vec<(String, bool, String, bool)>>>()?;
    let all = all.into_iter().filter(|(name, _, _, shadow)| what.includes(name, *shadow));
    Ok(all.map(|(name, without_rowid, sql, _)| (name, without_rowid, sql)).collect())
}

/// Returns those that had to be left behind: a table that was renamed keeps the names of its indexes, and a new one may
/// have them too.
fn indexes(db: &Connection, way: Way, table: &str, what: What<'_>) -> Result<Vec<String>> {
    let mut statement = db.prepare(&format!(
        "SELECT sql, name FROM {}.sqlite_schema WHERE type = 'index' AND tbl_name = ? COLLATE NOCASE \
         AND sql IS NOT NULL ORDER BY rowid",
        way.from
    ))?;
    let all = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(String, String)>>>()?;
    let mut left = Vec::new();
    for (sql, name) in all {
        let taken = format!("SELECT 1 FROM {}.sqlite_schema WHERE name = ? COLLATE NOCASE", way.to);
        let taken = db.query_row(&taken, [&name], |_| Ok(())).optional()?.is_some();
        match what {
            What::AllBut(_) if taken => left.push(format!("index {name} of table {table}")),
            _ => run_in(db, way.to, &sql)?,
        }
    }
    Ok(left)
}

/// Runs a definition as SQLite keeps it, which always begins with one of these, in a schema.
fn run_in(db: &Connection, schema: &str, sql: &str) -> Result<()> {
    for begin in ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "] {
        if let Some(rest) = sql.strip_prefix(begin) {
            return db.execute_batch(&format!("{begin}{schema}.{rest}"));
        }
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some(format!(
            "a definition in its schema is none: {}",
            sql.chars().take(80).collect::<String>()
        )),
    ))
}

fn has(db: &Connection, schema: &str, table: &str) -> Result<bool> {
    let query = format!("SELECT 1 FROM {schema}.sqlite_schema WHERE name = ?");
    Ok(db.query_row(&query, [table], |_| Ok(())).optional()?.is_some())
}

/// Number, type, name and table of all that has no pages, triggers last.
fn listed(db: &Connection, schema: &str) -> Result<Vec<(i64, String, String, String)>> {
    let mut listing = db.prepare(&format!(
        "SELECT rowid, type, name, tbl_name FROM {schema}.sqlite_schema \
         WHERE type IN ('view', 'trigger') OR type = 'table' AND rootpage = 0 \
         ORDER BY type = 'trigger', rowid"
    ))?;
    listing.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
}

/// Views, virtual tables and triggers are written into the schema as they are, because they may name functions and
/// modules that only the portal has.
fn objects(db: &Connection, way: Way, loaded: &Loaded) -> Result<Vec<String>> {
    let Way { from, to } = way;
    let mut left = Vec::new();
    for (id, kind, name, table) in listed(db, from)? {
        if loaded.has_object(&kind, &name) {
            continue;
        }
        let fits: bool = match kind.as_str() {
            // A table where a view was, or the other way round, has other triggers.
            "trigger" => db.query_row(
                &format!(
                    "SELECT EXISTS (SELECT 1 FROM {to}.sqlite_schema AS new JOIN {from}.sqlite_schema AS old \
                     ON old.type = new.type AND old.name = new.name COLLATE NOCASE \
                     WHERE old.type IN ('table', 'view') AND new.name = ? COLLATE NOCASE)"
                ),
                [&table],
                |row| row.get(0),
            )?,
            _ => db.query_row(
                &format!(
                    "SELECT NOT EXISTS (SELECT 1 FROM {to}.sqlite_schema WHERE type <> 'trigger' \
                     AND name = ? COLLATE NOCASE)"
                ),
                [&name],
                |row| row.get(0),
            )?,
        };
        if fits {
            db.execute(
                &format!(
                    "INSERT INTO {to}.sqlite_schema (type, name, tbl_name, rootpage, sql) \
                     SELECT type, name, tbl_name, 0, sql FROM {from}.sqlite_schema WHERE rowid = ?"
                ),
                params![id],
            )?;
        } else {
            left.push(format!("{} {name}", if kind == "table" { "virtual table" } else { &kind }));
        }
    }
    // Reads the schema again: whatever is wrong with it shows now.
    db.execute_batch("PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON;")?;
    db.query_row(&format!("SELECT count(*) FROM {to}.sqlite_schema"), [], |_| Ok(()))?;
    Ok(left)
}

/// Views and triggers that work in one schema and not in the other, each by its name. Runs in a transaction that is
/// taken back.
pub(super) fn broken(db: &Connection, way: Way) -> Result<Vec<String>> {
    let mut listing = db.prepare(&format!(
        "SELECT type, name, tbl_name FROM {}.sqlite_schema WHERE type IN ('view', 'trigger') ORDER BY 1, 2",
        way.to
    ))?;
    let all = listing
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(String, String, String)>>>()?;
    drop(listing);
    let mut found = Vec::new();
    for (kind, name, table) in all {
        let view_works =
            |schema| db.prepare(&format!("SELECT * FROM {schema}.{}", identifier(&name))).is_ok();
        if kind == "view" {
            if view_works(way.from) && !view_works(way.to) {
                found.push(format!("view {name}"));
            }
        } else if triggers_compile(db, way.from, &table)
            && !triggers_compile(db, way.to, &table)
            && !compiles_alone(db, way.to, &table, &name)?
        {
            found.push(format!("trigger {name} on {table}"));
        }
    }
    Ok(found)
}

/// Whether a trigger compiles without the others of its table.
fn compiles_alone(db: &Connection, schema: &str, table: &str, trigger: &str) -> Result<bool> {
    const READ_AGAIN: &str = "PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON;";
    db.execute_batch("SAVEPOINT alone")?;
    db.execute(
        &format!(
            "DELETE FROM {schema}.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND name <> ?"
        ),
        [table, trigger],
    )?;
    db.execute_batch(READ_AGAIN)?;
    let compiles = triggers_compile(db, schema, table);
    db.execute_batch("ROLLBACK TO alone; RELEASE alone;")?;
    db.execute_batch(READ_AGAIN)?;
    Ok(compiles)
}

fn triggers_compile(db: &Connection, schema: &str, table: &str) -> bool {
    let Ok(columns) = scheme::columns(db, schema, table, true) else { return false };
    let set: Vec<_> = columns.iter().map(|column| format!("{column} = NULL")).collect();
    let name = identifier(table);
    [
        format!("INSERT INTO {schema}.{name} DEFAULT VALUES"),
        format!("DELETE FROM {schema}.{name}"),
        format!("UPDATE {schema}.{name} SET {}", set.join(",")),
    ]
    .iter()
    .all(|sql| db.prepare(sql).is_ok())
}
