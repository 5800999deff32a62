//! What an archive holds: read once, before anything is done with it.

use std::collections::BTreeMap;
use std::path::Path;

use archive::{Archive, EntryKind, EntryRecord, Format, ManifestInfo};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use super::count::{Counted, Counter, Repeated};
use super::foreign;
use crate::portal::{EXTRA_INDEX, INDEXES, Placed, Placing};
use crate::source::database::{ObjectText, member_of_table, table_of_member};

/// More than this is no definition: a portal of a million large objects has some ten MiB.
const LONGEST_SCHEME: u64 = 64 << 20;
pub(super) const RESTORE_INFO: &str = "storage/restore_info";
/// How many sentences of one kind are told.
const TOLD: usize = 20;

/// Everything that is known before the archive's contents are put anywhere.
#[derive(Debug)]
pub struct Contents {
    pub format: Format,
    pub info: Option<ManifestInfo>,
    pub dump: bool,
    /// The first is the portal's own, if the archive has one.
    pub databases: Vec<ArchivedDatabase>,
    /// Files and bytes for each configured filesystem, by its position.
    pub files: BTreeMap<usize, Counted>,
    /// Names of members that it has more than once.
    pub repeated: Repeated,
    /// How many files of the portal's own filesystem belong nowhere, though their modules are known.
    pub unplaced: u64,
    /// The last migration of DocSpace's database in it.
    pub last_migration: Option<String>,
    pub warnings: Vec<String>,
    pub placing: Placing,
}

#[derive(Debug, Default)]
pub struct ArchivedDatabase {
    /// None: the portal's own.
    pub name: Option<String>,
    /// As the manifest calls it.
    pub engine: Option<String>,
    pub tables: BTreeMap<String, ArchivedTable>,
    /// Definitions that belong to no one table; only when everything is wanted.
    pub objects: Vec<ObjectText>,
}

#[derive(Debug, Default)]
pub struct ArchivedTable {
    /// The text of the definition.
    pub scheme: Option<String>,
    pub data: Option<EntryRecord>,
}

impl ArchivedTable {
    /// Whether it is an empty one for databases that have none of its name.
    pub fn is_for_want_of_one(&self) -> bool {
        const START: &str = "CREATE TABLE IF NOT EXISTS ";
        let scheme = self.scheme.as_deref().unwrap_or_default().trim_start();
        let start = scheme.get(..START.len());
        self.data.is_none() && start.is_some_and(|start| start.eq_ignore_ascii_case(START))
    }
}

/// Which part of a database a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseMember {
    Scheme { database: Option<String>, table: String },
    Data { database: Option<String>, table: String },
}

/// What a member is of a database; None: none.
pub fn database_member(path: &str) -> Option<DatabaseMember> {
    let (database, rest) = match path.strip_prefix("extra/databases/") {
        Some(rest) => {
            let (name, rest) = rest.split_once('/')?;
            (Some(name.to_owned()), rest)
        }
        None => (None, path.strip_prefix("databases/")?),
    };
    let (part, table) = rest.split_once('/')?;
    let table = table_of_member(table);
    match part {
        "scheme" => Some(DatabaseMember::Scheme { database, table }),
        "data" => Some(DatabaseMember::Data { database, table }),
        _ => None,
    }
}

/// What a member is of a database's objects: which database by its configured name, and its path there.
fn object_member(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("extra/objects/")?.split_once('/')
}

/// Which members are wanted.
#[derive(Debug, Clone, Default)]
pub struct Only(Vec<String>);

impl Only {
    /// `paths`: members or folders of them; none: everything. Errors with the path that cannot be one.
    pub fn new(paths: &[String]) -> Result<Self, String> {
        let clean = |path: &String| {
            archive::clean_path(path.trim_end_matches('/')).map_err(|error| error.to_string())
        };
        Ok(Self(paths.iter().map(clean).collect::<Result<_, _>>()?))
    }

    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// An index is wanted as a whole when anything of it is.
    pub fn wants(&self, path: &str) -> bool {
        if let Some(rest) = path.strip_prefix(EXTRA_INDEX)
            && let Some((name, _)) = rest.split_once('/')
        {
            let index = &path[..EXTRA_INDEX.len() + name.len()];
            return self.wants_exactly(index)
                || self.0.iter().any(|only| archive::is_at_or_in(only, index));
        }
        self.wants_exactly(path)
    }

    fn wants_exactly(&self, path: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|only| archive::is_at_or_in(path, only))
    }

    /// A table is wanted as a whole when any of its members is.
    pub fn wants_table(&self, database: Option<&str>, table: &str) -> bool {
        let folder = match database {
            None => "databases".to_owned(),
            Some(name) => format!("extra/databases/{name}"),
        };
        let table = member_of_table(table);
        self.wants(&format!("{folder}/scheme/{table}"))
            || self.wants(&format!("{folder}/data/{table}"))
    }
}

/// Lists the archive. Errors with a sentence for the user. `temp_dir`: where the list of one that can only be read
/// from its start waits.
pub async fn read(
    archive: &Archive,
    mut placing: Placing,
    only: &Only,
    temp_dir: &Path,
) -> Result<Contents, String> {
    let mut list = Lister::default();
    match archive.format() {
        Format::Framed => {
            // The list of whose files these are is the last of them, and each file needs it.
            if let Some(entry) = archive.find(RESTORE_INFO).await.map_err(text)?
                && entry.kind == EntryKind::Info
            {
                let mut content = Box::pin(archive.read(&entry, None));
                while let Some(piece) = content.try_next().await.map_err(text)? {
                    placing.learn(&piece)?;
                }
            }
            placing.learned();
            let mut entries = Box::pin(archive.entries());
            while let Some(entry) = entries.try_next().await.map_err(text)? {
                if list.is_scheme(&entry, only)? {
                    let content = archive.read(&entry, None).try_collect::<BytesMut>();
                    list.scheme(&entry.path, content.await.map_err(text)?.freeze())?;
                } else if list.is_object(&entry, only)? {
                    let content = archive.read(&entry, None).try_collect::<BytesMut>();
                    list.object(&entry.path, content.await.map_err(text)?.freeze())?;
                }
                list.take(entry, &mut placing, only)?;
            }
        }
        Format::GzipTar | Format::PlainTar => {
            foreign::list(archive, &mut placing, &mut list, only, temp_dir).await?;
        }
    }
    list.finish(archive, placing, only)
}

pub(super) fn text(error: archive::Error) -> String {
    error.to_string()
}

#[derive(Default)]
pub(super) struct Lister {
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

    fn is_object(&self, entry: &EntryRecord, only: &Only) -> Result<bool, String> {
        let wanted = entry.kind == EntryKind::Object && only.is_everything();
        match wanted && object_member(&entry.path).is_some() {
            true if entry.size > LONGEST_SCHEME => {
                Err(format!("{} is too long for a definition", entry.path))
            }
            wanted => Ok(wanted),
        }
    }

    fn object(&mut self, path: &str, content: Bytes) -> Result<(), String> {
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

    fn finish(
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

impl Contents {
    /// Whether the archive has, or is known to have had nothing of, a filesystem.
    pub fn has_filesystem(&self, position: usize, name: &str, only: &Only) -> bool {
        if position >= INDEXES {
            return false;
        }
        let listed = self.info.as_ref().is_some_and(|info| {
            let names = &info.filesystems;
            if position == 0 { !names.is_empty() } else { names.iter().any(|known| known == name) }
        });
        self.files.contains_key(&position) || (only.is_everything() && listed)
    }

    /// Bytes of statements and of files.
    pub fn bytes(&self) -> u64 {
        self.data_bytes() + self.files.values().map(|counted| counted.bytes).sum::<u64>()
    }

    pub fn data_bytes(&self) -> u64 {
        let tables = self.databases.iter().flat_map(|database| database.tables.values());
        tables.filter_map(|table| table.data.as_ref()).map(|data| data.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_databases_are_told_apart() {
        assert_eq!(
            database_member("databases/scheme/core_user"),
            Some(DatabaseMember::Scheme { database: None, table: "core_user".to_owned() })
        );
        assert_eq!(
            database_member("extra/databases/crm/data/a/b"),
            Some(DatabaseMember::Data {
                database: Some("crm".to_owned()),
                table: "a/b".to_owned()
            })
        );
        assert_eq!(database_member("databases/other/x"), None);
        assert_eq!(database_member("storage/files/x"), None);
    }

    #[test]
    fn only_means_members_and_folders() {
        let only =
            Only::new(&["storage/files/".to_owned(), "/databases/data/t".to_owned()]).unwrap();
        assert!(only.wants("storage/files/a") && !only.wants("storage/filesystem"));
        assert!(only.wants_table(None, "t") && !only.wants_table(None, "tt"));
        assert!(!only.wants_table(Some("x"), "t"));
        let only = Only::new(&["extra/index/search/_0.cfs".to_owned()]).unwrap();
        assert!(only.wants("extra/index/search/segments_2"));
        assert!(!only.wants("extra/index/other/_0.cfs"));
        assert!(Only::new(&["../x".to_owned()]).is_err());
        assert!(Only::default().wants("anything"));
    }
}
