//! What an archive holds: read once, before anything is done with it.

use std::collections::BTreeMap;
use std::path::Path;

use archive::{Archive, EntryKind, EntryRecord, Format, ManifestInfo};
use bytes::BytesMut;
use futures::TryStreamExt;

use super::count::{Counted, Repeated};
use super::foreign;
use crate::portal::{EXTRA_INDEX, INDEXES, Placing};
use crate::source::database::{ObjectText, member_of_table, table_of_member};

pub(super) use lister::Lister;

mod lister;

pub(super) const RESTORE_INFO: &str = "storage/restore_info";

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
    /// Definitions that belong to no one table; when not everything is wanted, those alone that may belong to several.
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
