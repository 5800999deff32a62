//! What tables there are, and the statements that make them.

use rusqlite::{Connection, OptionalExtension, Result};

use super::objects::{self, Object};
use super::order;
use super::render::identifier;
use crate::source::database::{Table, warning};

/// What the rowid is called, where no column is called so.
const ROWID: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// More cannot be read by one statement.
const MOST_COLUMNS: usize = 2000;

/// A table and what is needed to read it.
#[derive(Debug, Clone)]
pub(super) struct Details {
    /// The columns that can be written, quoted; a hidden rowid comes first, for others may refer to it.
    pub columns: Vec<String>,
    pub scheme: String,
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub tables: Vec<Table>,
    pub details: Vec<Details>,
    pub objects: Vec<Object>,
    pub warnings: Vec<String>,
}

pub(super) fn read(db: &Connection) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    let mut listing = db.prepare(
        "SELECT l.name, l.wr, s.sql, s.rowid FROM pragma_table_list AS l \
         JOIN sqlite_schema AS s ON s.type = 'table' AND s.name = l.name \
         WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND s.rootpage > 0 AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY l.name",
    )?;
    let found = listing
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<Vec<(String, bool, String, i64)>>>()?;
    let (trial, mut unknown) = (Connection::open_in_memory()?, Vec::new());
    let size: i64 = db.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get(0),
    )?;
    for (name, without_rowid, sql, position) in found {
        let columns = columns(db, "main", &name, without_rowid)?;
        // (Their text may end with a comment, so the `;` has its own line.)
        let mut scheme = format!("DROP TABLE IF EXISTS {};\n{sql}\n;\n", identifier(&name));
        if catalog.tables.is_empty() {
            // These belong to no table, and an application may tell by them what it has before it.
            scheme.insert_str(0, &numbers(db)?);
        }
        let indexes = indexes(db, &name)?;
        let texts = [&sql].into_iter().chain(indexes.iter().map(|(sql, _)| sql));
        unknown.extend(absent(&trial, texts).map(|what| format!("{name} ({what})")));
        indexes.iter().for_each(|(sql, _)| scheme.push_str(&format!("{sql}\n;\n")));
        let positions = indexes.iter().map(|(_, position)| *position);
        scheme.insert_str(0, &order::line([position].into_iter().chain(positions)));
        scheme.push_str(&sequence(db, &name)?);
        let estimated_bytes =
            estimate(db, &name, &columns, without_rowid)?.min(size.unsigned_abs() * 3);
        catalog.tables.push(Table { name, with_data: true, estimated_bytes });
        catalog.details.push(Details { columns, scheme });
    }
    catalog.objects = objects::read(db)?;
    catalog.warnings.extend(warning(
        "tables that need what only the portal's own program has, and that this service cannot restore",
        &unknown,
    ));
    Ok(catalog)
}

/// The collation or function, if any, for want of which a table with its indexes could not be made again.
fn absent<'a>(trial: &Connection, texts: impl Iterator<Item = &'a String>) -> Option<String> {
    let errors = texts.filter_map(|sql| trial.execute_batch(sql).err()).map(|e| e.to_string());
    let absent = |error: &String| {
        ["no such collation sequence: ", "no such function: "].iter().find_map(|what| {
            Some(format!("{}{}", what.strip_prefix("no such ")?, error.split_once(what)?.1))
        })
    };
    errors.into_iter().find_map(|error| absent(&error))
}

/// The columns of a table that can be written, quoted; first its rowid, unless it has none or a column is it.
pub(super) fn columns(
    db: &Connection,
    schema: &str,
    table: &str,
    without_rowid: bool,
) -> Result<Vec<String>> {
    let mut statement = db.prepare(
        "SELECT name, hidden, upper(type), pk FROM pragma_table_xinfo(?, ?) ORDER BY cid",
    )?;
    let all = statement
        .query_map([table, schema], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<Vec<(String, i64, String, i64)>>>()?;
    let mut columns: Vec<String> = all
        .iter()
        .filter(|(_, hidden, ..)| !matches!(hidden, 2 | 3)) // generated
        .map(|(name, ..)| identifier(name))
        .collect();
    let keys: Vec<_> = all.iter().filter(|(.., pk)| *pk > 0).collect();
    // (A key INTEGER … DESC is no rowid, but then the rowid is only written once more.)
    let is_key = matches!(keys[..], [(_, _, kind, _)] if kind == "INTEGER")
        && has_no_key_index(db, schema, table)?;
    if !without_rowid && !is_key && columns.len() < MOST_COLUMNS {
        let taken = |alias: &&&str| all.iter().any(|(name, ..)| name.eq_ignore_ascii_case(alias));
        if let Some(alias) = ROWID.iter().find(|alias| !taken(alias)) {
            columns.insert(0, (*alias).to_owned());
        }
    }
    Ok(columns)
}

/// An `INTEGER PRIMARY KEY` that is the rowid needs no index of its own.
fn has_no_key_index(db: &Connection, schema: &str, table: &str) -> Result<bool> {
    db.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM pragma_index_list(?, ?) WHERE origin = 'pk')",
        [table, schema],
        |row| row.get(0),
    )
}

fn numbers(db: &Connection) -> Result<String> {
    let mut text = String::new();
    for pragma in ["application_id", "user_version"] {
        // (Also when it is 0: the database that this is restored into may have another.)
        let number: i64 = db.pragma_query_value(None, pragma, |row| row.get(0))?;
        text.push_str(&format!("PRAGMA {pragma}={number};\n"));
    }
    Ok(text)
}

/// The definitions of its indexes, and where each stands in the schema.
fn indexes(db: &Connection, table: &str) -> Result<Vec<(String, i64)>> {
    let mut statement = db.prepare(
        "SELECT sql, rowid FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? COLLATE NOCASE \
         AND sql IS NOT NULL ORDER BY name",
    )?;
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// An AUTOINCREMENT counter may be beyond the largest id, and must not give an id twice.
fn sequence(db: &Connection, table: &str) -> Result<String> {
    let exists: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(String::new());
    }
    let last: Option<i64> = db
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?", [table], |row| row.get(0))
        .optional()?;
    Ok(last.map_or_else(String::new, |last| {
        let name = table.replace('\'', "''");
        format!(
            "DELETE FROM sqlite_sequence WHERE name='{name}';\n\
             INSERT INTO sqlite_sequence(name,seq) VALUES('{name}',{last});\n"
        )
    }))
}

/// Guesses from the first rows and the largest rowid: counting would read the whole table.
fn estimate(db: &Connection, table: &str, columns: &[String], without_rowid: bool) -> Result<u64> {
    const SAMPLE: i64 = 100;
    let table = identifier(table);
    let mut sizes: Vec<_> =
        columns.iter().map(|c| format!("ifnull(length(CAST({c} AS BLOB)),4)+3")).collect();
    // In pairs of pairs: a sum of many is deeper than SQLite allows.
    while sizes.len() > 1 {
        sizes = sizes.chunks(2).map(|pair| format!("({})", pair.join("+"))).collect();
    }
    let (rows, bytes): (i64, i64) = db.query_row(
        &format!(
            "SELECT count(*), ifnull(sum(size),0) FROM (SELECT {} AS size FROM {table} LIMIT {SAMPLE})",
            sizes.concat()
        ),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if rows < SAMPLE {
        return Ok(bytes.unsigned_abs());
    }
    // (A column may have the name, and then is something else.)
    let free = |alias: &&&str| !columns.iter().any(|c| c.eq_ignore_ascii_case(&identifier(alias)));
    let rowid = ROWID.iter().find(free).filter(|_| !without_rowid);
    let all = match rowid {
        Some(rowid) => format!("SELECT max({rowid}) FROM {table}"),
        None => format!("SELECT count(*) FROM {table}"),
    };
    let all: i64 = db.query_row(&all, [], |row| row.get(0)).unwrap_or_default();
    Ok((bytes / rows).saturating_mul(all.max(rows)).unsigned_abs())
}
