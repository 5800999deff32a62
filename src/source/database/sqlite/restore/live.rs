//! What a restore would find.

use rusqlite::Connection;
use rustix::fs::{Access, access};

use super::beside::{folder, resolve};
use crate::catalog::is_own_table;
use crate::source::database::sqlite::objects::Kind;
use crate::source::database::sqlite::render::identifier;
use crate::source::database::sqlite::{Source, open, server};
use crate::source::database::{DatabaseError, Live, LiveObject, LiveTable};
use crate::source::restore::Space;

/// While the file is replaced nobody can write it; jobs whose catalog lies in it can be without it for seconds only.
const MAX_WITH_CATALOG: u64 = 1 << 30;

/// Looks at the live file; blocks, and changes nothing.
pub(in crate::source::database::sqlite) fn live(source: &Source) -> Result<Live, DatabaseError> {
    let path = resolve(&source.path);
    let folder = folder(&path);
    let mut live = Live {
        server: server(),
        tables: Vec::new(),
        folds_case: true,
        objects: Vec::new(),
        space: Space::of(folder),
        copied: 0,
        problems: Vec::new(),
    };
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        live.problems.push(format!("the folder {} cannot be written: {error}", folder.display()));
    }
    if !path.exists() {
        return Ok(live);
    }
    // (Opening it otherwise than through SQLite would end the locks that this process has on it.)
    if let Err(error) = access(&path, Access::READ_OK | Access::WRITE_OK) {
        live.problems.push(format!("{} cannot be written: {error}", path.display()));
    }
    match read(source, &mut live) {
        Err(error) if is_damage(&error) => live.problems.push(format!(
            "{error}: move {} away, and the archive's takes its place",
            path.display()
        )),
        Err(error) => return Err(error),
        Ok(true) if live.copied > MAX_WITH_CATALOG => live.problems.push(format!(
            "the catalog lies in {}, which is too large to be replaced under it: give the catalog a database of \
             its own",
            path.display()
        )),
        Ok(_) => {}
    }
    Ok(live)
}

/// Reads what the file has; whether the catalog is among it.
fn read(source: &Source, live: &mut Live) -> Result<bool, DatabaseError> {
    let db = open::database(source)?;
    let failed = |error| source.failed("reading its tables", error);
    live.tables = tables(&db).map_err(failed)?;
    live.objects = objects(&db).map_err(failed)?;
    live.copied = live.tables.iter().map(|table| table.bytes).sum();
    has_catalog(&db).map_err(failed)
}

/// Whether the file is no database, or no longer a whole one, as SQLite says it.
fn is_damage(error: &DatabaseError) -> bool {
    let text = error.to_string();
    ["file is not a database", "disk image is malformed"].iter().any(|said| text.contains(said))
}

pub(in crate::source::database::sqlite) fn count(
    source: &Source,
    tables: &[String],
) -> Result<Vec<Option<u64>>, DatabaseError> {
    let db = open::database(source)?;
    let count = |table: &String| {
        let query = format!("SELECT count(*) FROM {}", identifier(table));
        let rows = db.query_row(&query, [], |row| row.get::<_, i64>(0));
        let rows = rows.map_err(|error| source.failed(&format!("table {table}"), error))?;
        Ok(Some(rows.unsigned_abs()))
    };
    tables.iter().map(count).collect()
}

fn has_catalog(db: &Connection) -> rusqlite::Result<bool> {
    let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let mut rows = names.query([])?;
    while let Some(row) = rows.next()? {
        if is_own_table(&row.get::<_, String>(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<LiveTable>> {
    let mut listing = db.prepare(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let found = listing
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, bool)>>>()?;
    let size: u64 = db.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
    )?;
    let mut tables = Vec::new();
    for (name, without_rowid) in found.into_iter().filter(|(name, _)| !is_own_table(name)) {
        let table = identifier(&name);
        let rows = match without_rowid {
            true => format!("SELECT count(*) FROM {table}"),
            // Exact only where nothing was deleted; but counting reads the whole table.
            false => format!("SELECT ifnull(max(_rowid_) - min(_rowid_) + 1, 0) FROM {table}"),
        };
        let rows = db.query_row(&rows, [], |row| row.get::<_, i64>(0));
        // (The difference of rowids may be more than a number holds, and a column may be called _rowid_.)
        let rows = rows.unwrap_or_default().max(0).unsigned_abs();
        tables.push(LiveTable { name, rows, bytes: 0 });
    }
    // Without counting pages, which reads everything: by their rows.
    let all: u64 = tables.iter().map(|table| table.rows + 1).fold(0, u64::saturating_add).max(1);
    for table in &mut tables {
        table.bytes = (u128::from(size) * u128::from(table.rows + 1) / u128::from(all)) as u64;
    }
    Ok(tables)
}

fn objects(db: &Connection) -> rusqlite::Result<Vec<LiveObject>> {
    let mut listing = db.prepare(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'trigger') \
         OR type = 'table' AND rootpage = 0 ORDER BY type, name",
    )?;
    let objects = listing.query_map([], |row| {
        let kind = Kind::of(&row.get::<_, String>(0)?).as_str();
        Ok(LiveObject { kind, name: row.get(1)? })
    })?;
    objects.collect()
}
