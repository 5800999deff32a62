//! Where the files of an archive go: the other direction of [`super::Portal::files`].

use super::docspace::layout::{Keeping, MODULES, document_folder, stored_of_other_member};
use super::docspace::stored::{StoredIndex, Whose, physical};
use super::indexes::{EXTRA_INDEX, INDEXES};
use super::sources::Source;
use super::{Portal, PortalError, StoredFile};
use crate::config::LayoutKind;

/// A place in a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// The position of the filesystem in the configuration; from [`INDEXES`] on, of the index.
    pub filesystem: usize,
    /// Relative to its root.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// A file of the portal, which may belong to several places.
    Files(Vec<FilePlace>),
    /// It goes nowhere; why, as a sentence.
    Skipped(String),
}

/// Places the members of one archive.
#[derive(Debug)]
pub struct Placing {
    layout: LayoutKind,
    /// The names of the configured filesystems.
    names: Vec<String>,
    indexes: Vec<String>,
    keeping: Keeping,
    stored: StoredIndex,
}

impl Portal {
    /// For an archive whose `storage/restore_info`, if it has one, is still to be learned.
    pub fn placing(&self) -> Placing {
        Placing {
            layout: self.layout,
            names: self.sources.iter().map(|source| source.name.clone()).collect(),
            indexes: self.indexes.iter().map(|index| index.name.clone()).collect(),
            keeping: self.sources.first().map_or(Keeping::Disc, keeping),
            stored: StoredIndex::default(),
        }
    }

    /// What of a filesystem a restore must not touch: storages and the catalog, relative to its root.
    pub fn kept(&self, filesystem: usize) -> Vec<String> {
        self.sources.get(filesystem).map(|source| source.excluded.clone()).unwrap_or_default()
    }
}

/// Backups that were made since and lie in DocSpace's documents, as a restore keeps them.
#[derive(Debug, Default)]
pub struct KeptBackups {
    /// The documents.
    pub ids: Vec<String>,
    /// The folders that show them, by their numbers.
    pub shown_in: Vec<String>,
    /// Their folders in the portal's own filesystem.
    pub folders: Vec<String>,
}

impl Portal {
    pub async fn kept_backups(&self) -> Result<KeptBackups, PortalError> {
        let (Some(identity), Some(source)) = (self.identity(), self.sources.first()) else {
            return Ok(KeptBackups::default());
        };
        let backups = identity.backups_in_documents().await?;
        if backups.is_empty() {
            return Ok(KeptBackups::default());
        }
        let keeping = keeping(source);
        let tenants = identity.tenants_now().await?;
        let mut kept = KeptBackups::default();
        for (owner, id) in backups {
            kept.ids.push(id.to_string());
            let owners = tenants.iter().filter(|tenant| owner == -1 || tenant.id == owner);
            kept.folders.extend(owners.map(|tenant| document_folder(keeping, tenant.id, id)));
        }
        let shown_in = identity.folders_of(&kept.ids).await?;
        kept.shown_in = shown_in.iter().map(i64::to_string).collect();
        Ok(kept)
    }
}

fn keeping(source: &Source) -> Keeping {
    if source.filesystem.is_local() { Keeping::Disc } else { Keeping::Cloud }
}

impl Placing {
    /// Takes the next piece of `storage/restore_info`.
    pub fn learn(&mut self, piece: &[u8]) -> Result<(), String> {
        self.stored.learn(piece)
    }

    pub fn learned(&mut self) {
        self.stored.learned();
    }

    /// To be called before the archive's members are gone through anew.
    pub fn restart(&mut self) {
        self.stored.restart();
    }

    /// Modules in the archive that no restore handles.
    pub fn unknown_modules(&self) -> &[String] {
        self.stored.unknown_modules()
    }

    /// Where a member goes that is a file or a directory. A member may be met twice, in the archive's order.
    pub fn place(&mut self, member: &str) -> Placed {
        if let Some(rest) = member.strip_prefix("extra/files/") {
            return self.other(rest);
        }
        if let Some(rest) = member.strip_prefix(EXTRA_INDEX) {
            return self.index(rest);
        }
        match self.layout {
            LayoutKind::Plain => match member.strip_prefix("storage/") {
                Some(path) if !self.names.is_empty() => {
                    Placed::Files(vec![FilePlace { filesystem: 0, path: path.to_owned() }])
                }
                Some(_) => Placed::Skipped(format!("{member}: no filesystem is configured")),
                None => unknown(member),
            },
            LayoutKind::Docspace => self.of_docspace(member),
        }
    }

    fn other(&self, rest: &str) -> Placed {
        let Some((name, path)) = rest.split_once('/') else { return unknown(rest) };
        match self.names.iter().position(|known| known == name) {
            Some(filesystem) => {
                Placed::Files(vec![FilePlace { filesystem, path: path.to_owned() }])
            }
            None => Placed::Skipped(format!("the filesystem {name:?} is not configured")),
        }
    }

    fn index(&self, rest: &str) -> Placed {
        let Some((name, path)) = rest.split_once('/') else { return unknown(rest) };
        match self.indexes.iter().position(|known| known == name) {
            Some(position) => {
                let filesystem = INDEXES + position;
                Placed::Files(vec![FilePlace { filesystem, path: path.to_owned() }])
            }
            None => Placed::Skipped(format!("the index {name:?} is not configured")),
        }
    }

    fn of_docspace(&mut self, member: &str) -> Placed {
        let whose = match stored_of_other_member(member) {
            Some(StoredFile { module, domain, path, tenant }) => MODULES
                .iter()
                .find(|known| known.name == module)
                .map(|known| vec![Whose { module: known.name, tenant, domain, path }])
                .unwrap_or_default(),
            None => self.stored.places(member),
        };
        if whose.is_empty() {
            return match member.starts_with("storage/") {
                true => Placed::Skipped(format!(
                    "{member}: storage/restore_info does not say whose it is"
                )),
                false => unknown(member),
            };
        }
        let places = whose.iter().filter_map(|whose| physical(self.keeping, whose));
        Placed::Files(places.map(|path| FilePlace { filesystem: 0, path }).collect())
    }

    /// The folders that a restore of everything replaces in a filesystem; `""` is all of it. `tenants`: those of
    /// the live portal, whose files are replaced too, as DocSpace replaces them.
    pub fn replaced(&self, filesystem: usize, tenants: &[i64]) -> Vec<String> {
        if self.layout == LayoutKind::Plain || filesystem > 0 {
            return vec![String::new()];
        }
        let mut ids = self.stored.tenants();
        ids.extend_from_slice(tenants);
        ids.sort_unstable();
        ids.dedup();
        let prefixes =
            |id: &i64| MODULES.iter().map(|m| m.prefix(self.keeping, *id)).collect::<Vec<_>>();
        ids.iter().flat_map(prefixes).collect()
    }
}

fn unknown(member: &str) -> Placed {
    Placed::Skipped(format!("{member} is no part of this portal"))
}
