//! What completes a loaded file: what had to wait for the rows, and a trial of what the live file has besides.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::State;
use crate::source::database::sqlite::objects::{Kind, Object};
use crate::source::database::sqlite::order;
use crate::source::database::sqlite::restore::carry::{self, Way, What};
use crate::source::database::sqlite::restore::mark::{Loaded, Mark};
use crate::source::database::sqlite::restore::{OTHER, beside};
use crate::source::database::{DatabaseError, warning};

impl State {
    /// Makes what had to wait, and tries whether everything fits what the live file has besides.
    pub(super) fn ready(&mut self, attempt: String) -> Result<Vec<String>, DatabaseError> {
        let what = "completing what was loaded";
        for (table, waiting) in &self.tables {
            let what = format!("indexes of table {table}");
            waiting.indexes.iter().try_for_each(|index| self.run(&what, index))?;
        }
        let source = self.source.clone();
        let failed = |error: rusqlite::Error| source.failed(what, error);
        self.sequences().map_err(failed)?;
        for (pragma, value) in &self.numbers {
            self.db.pragma_update(None, pragma, value).map_err(failed)?;
        }
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).map_err(failed)?;
        self.make_objects()?;
        self.arrange().map_err(failed)?;
        let schema_type = |kind| match kind {
            Kind::VirtualTable => "table".to_owned(),
            other => Kind::as_str(other).to_owned(),
        };
        let loaded = Loaded {
            tables: self.tables.keys().cloned().collect(),
            objects: self.objects.iter().map(|o| (schema_type(o.kind), o.name.clone())).collect(),
        };
        let created = !self.beside.live.exists();
        let mut warnings = Vec::new();
        if !created {
            carry::prepare(&self.db).map_err(failed)?;
            self.attach(what)?;
            warnings = try_out(&self.db, &loaded).map_err(failed)?;
            self.run(what, &format!("DETACH {OTHER}"))?;
        }
        Mark { attempt, created, loaded }.write(&self.db, "main").map_err(failed)?;
        // (An empty one in its place, for the connection must be closed before the file is synced.)
        let empty = Connection::open_in_memory().map_err(failed)?;
        let db = std::mem::replace(&mut self.db, empty);
        db.close().map_err(|(_, error)| failed(error))?;
        beside::sync(&self.beside.staged)
            .and_then(|()| self.beside.sync_folder())
            .map_err(|error| source.failed(what, error))?;
        Ok(warnings)
    }

    /// Virtual tables are written into the schema, because their contents are there already.
    fn make_objects(&self) -> Result<(), DatabaseError> {
        let what =
            |object: &Object| format!("{} {}", object.kind.as_str().replace('_', " "), object.name);
        let (tables, others): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|object| object.kind == Kind::VirtualTable);
        self.run("virtual tables", "PRAGMA writable_schema=ON")?;
        for table in tables {
            let insert = "INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql) \
                          VALUES ('table', ?1, ?1, 0, ?2)";
            let made = self.db.execute(insert, [&table.name, &table.sql]);
            made.map_err(|error| self.source.failed(&what(table), error))?;
        }
        self.run("virtual tables", "PRAGMA writable_schema=RESET")?;
        others.iter().try_for_each(|object| self.run(&what(object), &object.sql))
    }

    /// Lets the schema list everything in the order that it had.
    fn arrange(&self) -> rusqlite::Result<()> {
        let mut items = Vec::new();
        let mut indexes = self.db.prepare(
            "SELECT name FROM main.sqlite_schema WHERE type = 'index' \
             AND tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY rowid",
        )?;
        for (table, waiting) in &self.tables {
            let Some((own, positions)) = waiting.positions.split_first() else { continue };
            items.push((*own, ("table", table.clone())));
            let names = indexes.query_map([table], |row| row.get(0))?;
            let names = names.collect::<rusqlite::Result<Vec<String>>>()?;
            let of_table = positions.iter().zip(names);
            items.extend(of_table.map(|(position, name)| (*position, ("index", name))));
        }
        for object in &self.objects {
            let kind = match object.kind {
                Kind::VirtualTable => "table",
                kind => kind.as_str(),
            };
            items.extend(object.position.map(|position| (position, (kind, object.name.clone()))));
        }
        self.db.execute_batch("PRAGMA writable_schema=ON")?;
        order::arrange(&self.db, items)?;
        self.db.execute_batch("PRAGMA writable_schema=RESET")
    }

    /// An id that was given once must not be given again.
    fn sequences(&self) -> rusqlite::Result<()> {
        for (table, waiting) in &self.tables {
            let Some(last) = waiting.sequence else { continue };
            self.db.execute(
                "DELETE FROM main.sqlite_sequence WHERE name = ? COLLATE NOCASE",
                [table],
            )?;
            self.db.execute(
                "INSERT INTO main.sqlite_sequence (name, seq) SELECT name, ? FROM main.sqlite_schema \
                 WHERE type = 'table' AND name = ? COLLATE NOCASE",
                rusqlite::params![last, table],
            )?;
        }
        Ok(())
    }
}

/// Carries the definitions over, looks whether they work, and takes it back.
fn try_out(db: &Connection, loaded: &Loaded) -> rusqlite::Result<Vec<String>> {
    let way = Way { from: OTHER, to: "main" };
    let analysed: bool = db.query_row(
        &format!("SELECT EXISTS (SELECT 1 FROM {OTHER}.sqlite_schema WHERE name = 'sqlite_stat1')"),
        [],
        |row| row.get(0),
    )?;
    if analysed {
        db.execute_batch("PRAGMA analysis_limit=1000; ANALYZE main;")?;
    }
    let transaction = db.unchecked_transaction()?;
    let left = carry::carry(db, way, What::AllBut(loaded), false)?;
    let broken = carry::broken(db, way)?;
    let mut names = db.prepare(&format!(
        "SELECT name FROM {OTHER}.sqlite_schema WHERE type = 'table' AND rootpage = 0 ORDER BY 1"
    ))?;
    let mut virtual_tables =
        names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    virtual_tables.retain(|name| {
        let shadow = format!("{}_", name.to_ascii_lowercase());
        let filled =
            loaded.tables.iter().any(|table| table.to_ascii_lowercase().starts_with(&shadow));
        !filled && !loaded.has_object("table", name)
    });
    drop(names);
    transaction.rollback()?;
    db.execute_batch("PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON;")?;
    Ok([
        warning("left behind, because the archive has a table or an index of that name", &left),
        warning("stay, but do not fit the restored tables", &broken),
        warning("virtual tables stay with the contents that they have", &virtual_tables),
    ]
    .into_iter()
    .flatten()
    .collect())
}
