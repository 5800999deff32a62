//! Our own table in a staged or swapped file: which attempt it is of, and what was loaded.

use rusqlite::{Connection, OptionalExtension, Result};

use crate::source::restore::AttemptId;

/// (Its name says that it is ours: backups leave it out.)
pub(super) const TABLE: &str = "portal_backup_swap";

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub attempt: String,
    /// There was no live file before.
    pub created: bool,
    pub loaded: Loaded,
}

/// What came from the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub tables: Vec<String>,
    /// Of each the type and the name that the schema has.
    pub objects: Vec<(String, String)>,
}

impl Loaded {
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.iter().any(|name| name.eq_ignore_ascii_case(table))
    }

    pub fn has_object(&self, kind: &str, name: &str) -> bool {
        self.objects.iter().any(|(of, known)| of == kind && known.eq_ignore_ascii_case(name))
    }

    /// Whether a table holds contents of a virtual table that came from the archive, by its name.
    pub fn has_shadowed(&self, table: &str) -> bool {
        let table = table.to_ascii_lowercase();
        let virtual_tables = self.objects.iter().filter(|(kind, _)| kind == "table");
        virtual_tables
            .map(|(_, name)| name.to_ascii_lowercase() + "_")
            .any(|of| table.starts_with(&of))
    }
}

impl Mark {
    pub fn is_of(&self, attempt: &AttemptId) -> bool {
        self.attempt == attempt.as_str()
    }

    /// Writes it into a database of the connection, within the caller's transaction.
    pub fn write(&self, db: &Connection, schema: &str) -> Result<()> {
        db.execute_batch(&format!(
            "DROP TABLE IF EXISTS {schema}.{TABLE}; CREATE TABLE {schema}.{TABLE} (what TEXT, value TEXT);"
        ))?;
        let mut insert = db.prepare(&format!("INSERT INTO {schema}.{TABLE} VALUES (?, ?)"))?;
        insert.execute(["attempt", &self.attempt])?;
        if self.created {
            insert.execute(["created", ""])?;
        }
        for table in &self.loaded.tables {
            insert.execute(["loaded", table])?;
        }
        for (kind, name) in &self.loaded.objects {
            insert.execute([kind, name])?;
        }
        Ok(())
    }

    /// Reads it from the main database; None if there is none.
    pub fn read(db: &Connection) -> Result<Option<Self>> {
        let exists = db
            .query_row("SELECT 1 FROM main.sqlite_schema WHERE name = ?", [TABLE], |_| Ok(()))
            .optional()?;
        if exists.is_none() {
            return Ok(None);
        }
        let mut mark = Self { attempt: String::new(), created: false, loaded: Loaded::default() };
        let mut select = db.prepare(&format!("SELECT what, value FROM main.{TABLE}"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let value: String = row.get(1)?;
            match row.get::<_, String>(0)?.as_str() {
                "attempt" => mark.attempt = value,
                "created" => mark.created = true,
                "loaded" => mark.loaded.tables.push(value),
                kind => mark.loaded.objects.push((kind.to_owned(), value)),
            }
        }
        Ok(Some(mark))
    }
}
