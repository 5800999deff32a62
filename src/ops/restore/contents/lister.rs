//! Makes the list of what an archive holds, an entry at a time.

use std::collections::BTreeMap;

use archive::{Archive, EntryKind, EntryRecord};
use bytes::Bytes;

use super::super::count::{Counter, Repeated};
use super::{ArchivedDatabase, ArchivedTable, Contents, DatabaseMember, Only, database_member};
use crate::portal::{Placed, Placing};
use crate::source::database::ObjectText;

/// More than this is no definition: a portal of a million large objects has some ten MiB.
const LONGEST_SCHEME: u64 = 64 << 20;
/// How many sentences of one kind are told.
const TOLD: usize = 20;

#[derive(Default)]
pub(in crate::ops::restore) struct Lister {
    dump: bool,
    databases: BTreeMap<Option<String>, ArchivedDatabase>,
    /// By the names of their databases.
    objects: BTreeMap<String, Vec<ObjectText>>,
    files: Counter,
    pub repeated: Repeated,
    pub last_migration: Option<String>,
    warnings: Vec<String>,
    omitted: usize,
    unplaced: u64,
}

impl Lister {
    pub fn is_scheme(&self, entry: &EntryRecord, only: &Only) -> Result<bool, String> {
        match database_member(&entry.path) {
            Some(DatabaseMember::Scheme { database, table })
                if only.wants_table(database.as_deref(), &table) =>
            {
                match entry.size <= LONGEST_SCHEME {
                    true => Ok(true),
                    false => Err(format!("{} is too long for a table's definition", entry.path)),
                }
            }
            _ => Ok(false),
        }
    }

    pub fn scheme(&mut self, path: &str, content: Bytes) -> Result<(), String> {
        let Some(DatabaseMember::Scheme { database, table }) = database_member(path) else {
            return Ok(());
        };
        let sql = String::from_utf8(content.into())
            .map_err(|_| format!("{path}: the definition of a table is not UTF-8"))?;
        self.table(database, table).scheme = Some(sql);
        Ok(())
    }

    pub fn is_object(&self, entry: &EntryRecord, only: &Only) -> Result<bool, String> {
        let after_tables = format!("{}/{}.sql", ObjectText::WHOLE, ObjectText::AFTER_TABLES);
        let wanted = entry.kind == EntryKind::Object
            && object_member(&entry.path)
                .is_some_and(|(_, path)| only.is_everything() || path == after_tables);
        match wanted {
            true if entry.size > LONGEST_SCHEME => {
                Err(format!("{} is too long for a definition", entry.path))
            }
            wanted => Ok(wanted),
        }
    }

    pub fn object(&mut self, path: &str, content: Bytes) -> Result<(), String> {
        let Some((database, rest)) = object_member(path) else { return Ok(()) };
        let object = ObjectText::from_path(rest, content.into())
            .ok_or_else(|| format!("{path} is no definition's name"))?;
        self.objects.entry(database.to_owned()).or_default().push(object);
        Ok(())
    }

    fn table(&mut self, database: Option<String>, table: String) -> &mut ArchivedTable {
        let entry = self.databases.entry(database.clone());
        let database =
            entry.or_insert_with(|| ArchivedDatabase { name: database, ..Default::default() });
        database.tables.entry(table).or_default()
    }

    pub fn take(
        &mut self,
        entry: EntryRecord,
        placing: &mut Placing,
        only: &Only,
    ) -> Result<(), String> {
        if entry.path == "dump" {
            self.dump = true;
            return Ok(());
        }
        match database_member(&entry.path) {
            Some(DatabaseMember::Data { database, table }) => {
                if only.wants_table(database.as_deref(), &table) {
                    self.table(database, table).data = Some(entry);
                }
            }
            Some(DatabaseMember::Scheme { .. }) => {}
            None => self.file(&entry.path, entry.kind, entry.size, placing, only),
        }
        Ok(())
    }

    pub fn file(
        &mut self,
        path: &str,
        kind: EntryKind,
        size: u64,
        placing: &mut Placing,
        only: &Only,
    ) {
        if !matches!(kind, EntryKind::File | EntryKind::Directory) || !only.wants(path) {
            return;
        }
        match placing.place(path) {
            Placed::Files(places) => {
                let again = self.repeated.contains(path);
                for place in places {
                    match kind {
                        EntryKind::File => self.files.file(&place, size, again),
                        _ => self.files.meet(place.filesystem),
                    }
                }
            }
            Placed::Skipped(why) => {
                let module = path.strip_prefix("storage/").and_then(|rest| rest.split_once('/'));
                let unknown = placing.unknown_modules();
                if kind == EntryKind::File
                    && module.is_some_and(|(module, _)| !unknown.iter().any(|name| name == module))
                {
                    self.unplaced += 1;
                }
                self.warn(why);
            }
        }
    }

    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < TOLD {
            self.warnings.push(warning);
        } else {
            self.omitted += 1;
        }
    }

    pub fn finish(
        mut self,
        archive: &Archive,
        placing: Placing,
        only: &Only,
    ) -> Result<Contents, String> {
        if self.omitted > 0 {
            self.warnings.push(format!("and {} more of this kind", self.omitted));
        }
        for module in placing.unknown_modules() {
            self.warnings.push(format!(
                "the files of module {module:?} are left out: a restore does not handle it"
            ));
        }
        let info = archive.info().cloned();
        // One without tables may have views or routines all the same.
        let described = info.iter().flat_map(|info| info.databases.iter().enumerate());
        for (position, database) in described.filter(|_| only.is_everything()) {
            if self.objects.contains_key(&database.name) {
                let name = (position > 0).then(|| database.name.clone());
                let added = ArchivedDatabase { name: name.clone(), ..Default::default() };
                self.databases.entry(name).or_insert(added);
            }
        }
        for (position, database) in self.databases.values_mut().enumerate() {
            let described = info.as_ref().and_then(|info| match &database.name {
                None => info.databases.first(),
                Some(name) => info.databases.iter().find(|known| known.name == *name),
            });
            database.engine = described.map(|described| described.engine.clone());
            let called = described.map(|described| described.name.as_str());
            let objects = called.and_then(|called| self.objects.remove(called));
            database.objects = objects.unwrap_or_default();
            if info.is_none() && position == 0 {
                database.engine = Some("mysql".to_owned());
            }
            for (name, table) in &database.tables {
                if table.scheme.is_none() {
                    return Err(format!(
                        "the archive has rows of table {name} but not its definition"
                    ));
                }
            }
        }
        let dump = info.as_ref().map_or(self.dump, |info| info.dump);
        let last_migration = info.as_ref().and_then(|info| info.last_migration.clone());
        let files = self.files.counted();
        if !only.is_everything() && self.databases.is_empty() && files.is_empty() {
            return Err("the archive has nothing of what was asked for".to_owned());
        }
        Ok(Contents {
            format: archive.format(),
            info,
            dump,
            databases: self.databases.into_values().collect(),
            files,
            repeated: self.repeated,
            unplaced: self.unplaced,
            last_migration: last_migration.or(self.last_migration),
            warnings: self.warnings,
            placing,
        })
    }
}

/// What a member is of a database's objects: which database by its configured name, and its path there.
fn object_member(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("extra/objects/")?.split_once('/')
}
