//! What an archive holds: read once, before anything is done with it.

use std::collections::BTreeMap;

use archive::{Archive, EntryKind, EntryRecord, Format, ManifestInfo, Piece};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use crate::portal::{Placed, Placing};
use crate::source::database::ObjectText;

/// More than this in one definition of a table is no definition.
const LONGEST_SCHEME: u64 = 16 << 20;
const RESTORE_INFO: &str = "storage/restore_info";
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

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub files: u64,
    pub bytes: u64,
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
    let table = table.to_owned();
    match part {
        "scheme" => Some(DatabaseMember::Scheme { database, table }),
        "data" => Some(DatabaseMember::Data { database, table }),
        _ => None,
    }
}

/// What a member is of a database's objects: which database by its configured name, which kind, which name.
fn object_member(path: &str) -> Option<(String, String, String)> {
    let (database, rest) = path.strip_prefix("extra/objects/")?.split_once('/')?;
    let (kind, name) = rest.split_once('/')?;
    let name = name.strip_suffix(".sql")?;
    Some((database.to_owned(), kind.to_owned(), name.to_owned()))
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

    pub fn wants(&self, path: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|only| archive::is_at_or_in(path, only))
    }

    /// A table is wanted as a whole when any of its members is.
    pub fn wants_table(&self, database: Option<&str>, table: &str) -> bool {
        let folder = match database {
            None => "databases".to_owned(),
            Some(name) => format!("extra/databases/{name}"),
        };
        self.wants(&format!("{folder}/scheme/{table}"))
            || self.wants(&format!("{folder}/data/{table}"))
    }
}

/// Lists the archive. Errors with a sentence for the user.
pub async fn read(
    archive: &Archive,
    mut placing: Placing,
    only: &Only,
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
            let entries = foreign(archive, &mut placing, &mut list, only).await?;
            placing.learned();
            for (path, kind, size) in entries {
                list.file(&path, kind, size, &mut placing, only);
            }
        }
    }
    list.finish(archive, placing, only)
}

/// Reads an archive that can only be read from its start. Returns what may be files, which cannot be placed yet.
async fn foreign(
    archive: &Archive,
    placing: &mut Placing,
    list: &mut Lister,
    only: &Only,
) -> Result<Vec<(String, EntryKind, u64)>, String> {
    enum Reading {
        Nothing,
        Scheme(String, BytesMut),
        Info,
    }
    let mut files = Vec::new();
    let mut reading = Reading::Nothing;
    let mut pieces = Box::pin(archive.contents());
    while let Some(piece) = pieces.try_next().await.map_err(text)? {
        match piece {
            Piece::Entry(entry) => {
                reading = if list.is_scheme(&entry, only)? {
                    Reading::Scheme(entry.path.clone(), BytesMut::new())
                } else if entry.path == RESTORE_INFO {
                    Reading::Info
                } else {
                    Reading::Nothing
                };
                if matches!(entry.kind, EntryKind::File | EntryKind::Directory)
                    && database_member(&entry.path).is_none()
                {
                    files.push((entry.path, entry.kind, entry.size));
                } else {
                    list.take(entry, placing, only)?;
                }
            }
            Piece::Data(data) => match &mut reading {
                Reading::Scheme(_, content) => content.extend_from_slice(&data),
                Reading::Info => placing.learn(&data)?,
                Reading::Nothing => {}
            },
            Piece::End => {
                if let Reading::Scheme(path, content) =
                    std::mem::replace(&mut reading, Reading::Nothing)
                {
                    list.scheme(&path, content.freeze())?;
                }
            }
            Piece::Warning(warning) => list.warn(warning),
        }
    }
    Ok(files)
}

fn text(error: archive::Error) -> String {
    error.to_string()
}

#[derive(Default)]
struct Lister {
    dump: bool,
    databases: BTreeMap<Option<String>, ArchivedDatabase>,
    /// By the names of their databases.
    objects: BTreeMap<String, Vec<ObjectText>>,
    files: BTreeMap<usize, Counted>,
    warnings: Vec<String>,
    omitted: usize,
    unplaced: u64,
}

impl Lister {
    fn is_scheme(&self, entry: &EntryRecord, only: &Only) -> Result<bool, String> {
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

    fn scheme(&mut self, path: &str, content: Bytes) -> Result<(), String> {
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
        let Some((database, kind, name)) = object_member(path) else { return Ok(()) };
        let sql = String::from_utf8(content.into())
            .map_err(|_| format!("{path}: a definition is not UTF-8"))?;
        self.objects.entry(database).or_default().push(ObjectText { kind, name, sql });
        Ok(())
    }

    fn table(&mut self, database: Option<String>, table: String) -> &mut ArchivedTable {
        let entry = self.databases.entry(database.clone());
        let database =
            entry.or_insert_with(|| ArchivedDatabase { name: database, ..Default::default() });
        database.tables.entry(table).or_default()
    }

    fn take(
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

    fn file(&mut self, path: &str, kind: EntryKind, size: u64, placing: &mut Placing, only: &Only) {
        if !matches!(kind, EntryKind::File | EntryKind::Directory) || !only.wants(path) {
            return;
        }
        match placing.place(path) {
            Placed::Files(places) => {
                for place in places {
                    let counted = self.files.entry(place.filesystem).or_default();
                    if kind == EntryKind::File {
                        counted.files += 1;
                        counted.bytes += size;
                    }
                }
            }
            Placed::Skipped(why) => {
                self.unplaced += 1;
                self.warn(why);
            }
        }
    }

    fn warn(&mut self, warning: String) {
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
        if !only.is_everything() && self.databases.is_empty() && self.files.is_empty() {
            return Err("the archive has nothing of what was asked for".to_owned());
        }
        Ok(Contents {
            format: archive.format(),
            info,
            dump,
            databases: self.databases.into_values().collect(),
            files: self.files,
            warnings: self.warnings,
            placing,
        })
    }
}

impl Contents {
    /// Whether the archive has, or is known to have had nothing of, a filesystem.
    pub fn has_filesystem(&self, position: usize, name: &str, only: &Only) -> bool {
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
        assert!(Only::new(&["../x".to_owned()]).is_err());
        assert!(Only::default().wants("anything"));
    }
}
