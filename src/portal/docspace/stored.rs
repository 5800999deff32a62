//! Whose a file of an archive is: DocSpace's members do not name the tenant, `storage/restore_info` does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::layout::{Keeping, MODULES, Module};
use crate::portal::StoredFile;
use crate::portal::restore_info::FileList;

/// What `storage/restore_info` says, in some 16 bytes a file: the hash of the member, its tenant and its domain.
#[derive(Debug, Default)]
pub struct StoredIndex {
    list: FileList,
    hasher: RandomState,
    entries: Vec<Entry>,
    domains: Vec<String>,
    tenants: Vec<i64>,
    /// How often a member that several tenants have was placed.
    placed: HashMap<u64, usize>,
    unknown_modules: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    tenant: u32,
    domain: u32,
}

/// One place of a member: the module, the tenant and the path within the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    pub module: &'static str,
    pub tenant: i64,
    pub domain: String,
    pub path: String,
}

impl StoredIndex {
    /// Takes the next piece of the list. Errors when it is not such a list.
    pub fn learn(&mut self, piece: &[u8]) -> Result<(), String> {
        for stored in self.list.push(piece)? {
            self.add(stored);
        }
        Ok(())
    }

    /// The list has ended.
    pub fn learned(&mut self) {
        // Stable: tenants of one member stay in the list's order.
        self.entries.sort_by_key(|entry| entry.hash);
    }

    /// The tenants that have files, in ascending order.
    pub fn tenants(&self) -> Vec<i64> {
        let mut tenants = self.tenants.clone();
        tenants.sort_unstable();
        tenants
    }

    /// Modules of the list that a restore does not handle.
    pub fn unknown_modules(&self) -> &[String] {
        &self.unknown_modules
    }

    fn add(&mut self, stored: StoredFile) {
        if module(&stored.module).is_none() {
            if !self.unknown_modules.contains(&stored.module) {
                self.unknown_modules.push(stored.module);
            }
            return;
        }
        let parts = [stored.module.as_str(), stored.domain.as_str(), stored.path.as_str()];
        let mut member = "storage".to_owned();
        for part in parts.iter().flat_map(|part| part.split(['/', '\\'])) {
            if !part.is_empty() && part != "." {
                member.push('/');
                member.push_str(part);
            }
        }
        let domain = position(&mut self.domains, stored.domain);
        let tenant = position(&mut self.tenants, stored.tenant);
        self.entries.push(Entry { hash: self.hasher.hash_one(member.as_str()), tenant, domain });
    }

    /// The archive is gone through anew.
    pub fn restart(&mut self) {
        self.placed.clear();
    }

    /// The places of a member, as often as it is met: where several tenants have it, each place is filled by the
    /// first, and then again by its own if the archive has one.
    pub fn places(&mut self, member: &str) -> Vec<Whose> {
        let hash = self.hasher.hash_one(member);
        let start = self.entries.partition_point(|entry| entry.hash < hash);
        let count = self.entries[start..].iter().take_while(|entry| entry.hash == hash).count();
        let skip = if count > 1 {
            let placed = self.placed.entry(hash).or_default();
            let skip = *placed;
            *placed += 1;
            skip.min(count - 1)
        } else {
            0
        };
        let entries = &self.entries[start + skip..start + count];
        entries.iter().filter_map(|entry| self.whose(member, entry)).collect()
    }

    fn whose(&self, member: &str, entry: &Entry) -> Option<Whose> {
        let (name, rest) = member.strip_prefix("storage/")?.split_once('/')?;
        let domain = self.domains.get(entry.domain as usize)?.trim_matches(['/', '\\']);
        let domain = domain.replace('\\', "/");
        let path = match domain.as_str() {
            "" => rest,
            domain => rest.strip_prefix(domain)?.strip_prefix('/')?,
        };
        Some(Whose {
            module: module(name)?.name,
            tenant: *self.tenants.get(entry.tenant as usize)?,
            path: path.to_owned(),
            domain,
        })
    }
}

fn position<T: PartialEq>(known: &mut Vec<T>, value: T) -> u32 {
    let found = known.iter().position(|one| *one == value);
    found.unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    }) as u32
}

fn module(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name == name)
}

/// Where the file lies, relative to the filesystem's root.
pub fn physical(keeping: Keeping, whose: &Whose) -> Option<String> {
    let module = module(whose.module)?;
    let mut path = module.prefix(keeping, whose.tenant);
    if let Some(folder) = module.domain_folder(keeping, &whose.domain) {
        path.push('/');
        path.push_str(folder);
    }
    path.push('/');
    path.push_str(&whose.path);
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(xml: &str) -> StoredIndex {
        let mut index = StoredIndex::default();
        for piece in xml.as_bytes().chunks(7) {
            index.learn(piece).unwrap();
        }
        index.learned();
        index
    }

    #[test]
    fn docspace_s_own_list_is_understood() {
        let mut index = index(
            "<storage_restore><file>\n  <domain></domain>\n  <module>files</module>\n  \
             <path>folder_1000\\file_1\\v1\\a&amp;b.docx</path>\n  <tenant>1</tenant>\n</file>\
             <file><domain /><module>logo</module><path>/x.png</path><tenant>2</tenant></file>\
             <file><domain>logos_temp</domain><module>room_logos</module><path>y.png</path><tenant>2</tenant></file>\
             <file><domain></domain><module>odd</module><path>z</path><tenant>2</tenant></file></storage_restore>",
        );
        let places = index.places("storage/files/folder_1000/file_1/v1/a&b.docx");
        assert_eq!(places.len(), 1);
        assert_eq!(
            physical(Keeping::Disc, &places[0]).unwrap(),
            "Products/Files/00/00/01/folder_1000/file_1/v1/a&b.docx"
        );
        let places = index.places("storage/logo/x.png");
        assert_eq!(physical(Keeping::Disc, &places[0]).unwrap(), "Studio/00/00/02/logo/x.png");
        let places = index.places("storage/room_logos/logos_temp/y.png");
        assert_eq!(
            physical(Keeping::Disc, &places[0]).unwrap(),
            "Products/Files/logos/00/00/02/temp/y.png"
        );
        assert!(index.places("storage/odd/z").is_empty());
        assert_eq!(index.unknown_modules(), ["odd"]);
        assert_eq!(index.tenants(), [1, 2]);
    }

    #[test]
    fn a_member_of_two_tenants_goes_to_both() {
        let file = |tenant| {
            format!(
                "<file><domain></domain><module>logo</module><path>a</path><tenant>{tenant}</tenant></file>"
            )
        };
        let mut index =
            index(&format!("<storage_restore>{}{}</storage_restore>", file(1), file(2)));
        let tenants = |places: Vec<Whose>| places.iter().map(|w| w.tenant).collect::<Vec<_>>();
        assert_eq!(tenants(index.places("storage/logo/a")), [1, 2]);
        assert_eq!(tenants(index.places("storage/logo/a")), [2]);
        assert_eq!(tenants(index.places("storage/logo/a")), [2]);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut index = StoredIndex::default();
        assert!(index.learn(b"<storage_restore><file><tenant>one</tenant></file>").is_err());
    }
}
