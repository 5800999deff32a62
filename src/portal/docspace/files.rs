//! The files of a dump, as DocSpace chooses and names them.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};

use super::elsewhere;
use super::identity::Identity;
use super::layout::{Keeping, MODULES, Module, member, other_member};
use crate::portal::sources::Source;
use crate::portal::{
    PortalEntry, PortalError, PortalFile, PortalFiles, StoredFile, Tenant, plain, restore_info,
};
use crate::source::files::{FileMeta, Listed};

/// Module by module, within it tenant by tenant; then the other filesystems as they are.
pub fn files(sources: Arc<[Source]>, identity: &Identity, tenants: &[Tenant]) -> PortalFiles {
    let Some(first) = sources.first().cloned() else {
        return stream::empty().boxed();
    };
    let (identity, ids) = (identity.clone(), in_order(tenants));
    let own = async move {
        // Which files hold earlier backups: those of a tenant, and of the installation (-1).
        let backups = identity.backup_files().await?;
        let warnings = elsewhere::warnings(&identity, &first).await?.into_iter();
        let warnings = stream::iter(warnings.map(|warning| Ok(PortalEntry::Skipped(warning))));
        Ok::<_, PortalError>(warnings.chain(of_modules(first, ids, backups)))
    };
    stream::once(own).try_flatten().chain(plain::others(sources)).boxed()
}

/// Where two tenants have a file of the same name, the earlier one keeps the ordinary member. The portals
/// that people use come before those of the installation's own settings (-1).
fn in_order(tenants: &[Tenant]) -> Vec<i64> {
    let mut ids: Vec<_> = tenants.iter().map(|tenant| tenant.id).collect();
    ids.sort_unstable_by_key(|&id| (id < 1, id));
    ids.dedup();
    ids
}

fn of_modules(source: Source, tenants: Vec<i64>, backups: Vec<(i64, String)>) -> PortalFiles {
    let keeping = if source.filesystem.is_local() { Keeping::Disc } else { Keeping::Cloud };
    let last = tenants.last().copied();
    let name = source.name.clone();
    let folders: Vec<Folder> = MODULES
        .iter()
        .flat_map(|module| tenants.iter().map(move |&tenant| (module, tenant)))
        .map(|(module, tenant)| Folder {
            module,
            tenant,
            prefix: module.prefix(keeping, tenant),
            backups: backups
                .iter()
                .filter(|(of, _)| *of == tenant || *of == -1)
                .map(|(_, file)| file.clone())
                .collect(),
            is_last: Some(tenant) == last,
        })
        .collect();
    let members = Arc::new(Mutex::new(Members::default()));
    let at_the_end = members.clone();
    let listed = stream::iter(folders).flat_map(move |folder| {
        let members = members.clone();
        source
            .list(&folder.prefix)
            .try_filter_map(move |listed| {
                let mut members = members.lock().unwrap_or_else(PoisonError::into_inner);
                ready(Ok(folder.entry(keeping, listed, &mut members)))
            })
            .map_err(PortalError::from)
    });
    let warnings = stream::once(async move {
        let members = at_the_end.lock().unwrap_or_else(PoisonError::into_inner);
        stream::iter(members.warnings(&name))
    });
    let warnings = warnings.flatten().map(|warning| Ok(PortalEntry::Skipped(warning)));
    listed.chain(warnings).boxed()
}

/// One module of one tenant.
struct Folder {
    module: &'static Module,
    tenant: i64,
    prefix: String,
    backups: Vec<String>,
    is_last: bool,
}

impl Folder {
    fn entry(&self, keeping: Keeping, listed: Listed, names: &mut Members) -> Option<PortalEntry> {
        let (file, denied) = match listed {
            Listed::File(file) => (file, None),
            Listed::Denied(file, why) => (file, Some(why)),
            Listed::Skipped(reason) => return Some(PortalEntry::Skipped(reason)),
        };
        let path = file.path.strip_prefix(&self.prefix)?.strip_prefix('/')?.to_owned();
        // DocSpace makes folders as it needs them.
        if (file.is_directory && denied.is_none())
            || !self.module.carries(keeping, &path, &self.backups)
        {
            return None;
        }
        let file = self.named(file, path, names);
        Some(match denied {
            None => PortalEntry::File(file),
            Some(why) => PortalEntry::Denied(file, why),
        })
    }

    fn named(&self, file: FileMeta, path: String, names: &mut Members) -> PortalFile {
        let module = self.module.name;
        let ordinary = member(module, &path);
        let place = names.take(module, &ordinary, self.tenant, self.is_last);
        let (member, stored) = match place {
            Place::Ordinary => {
                let (module, domain) = (module.to_owned(), String::new());
                (ordinary, Some(StoredFile { module, domain, path, tenant: self.tenant }))
            }
            Place::Beside => (other_member(self.tenant, module, &path), None),
        };
        PortalFile { filesystem: 0, file, member, stored }
    }
}

enum Place {
    /// Where DocSpace looks.
    Ordinary,
    /// Where only our own restore looks.
    Beside,
}

/// The names of members that were given away, as hashes: eight bytes a file, for one module at a time, and
/// none for the last tenant, so none at all where there is one tenant. Two names that share a hash
/// (one chance in ten million with two million files) cost no file: one of them lies beside.
#[derive(Default)]
struct Members {
    module: &'static str,
    seen: HashSet<u64>,
    hasher: RandomState,
    any: bool,
    /// Files of a tenant whose ordinary member was another's.
    taken: BTreeMap<i64, u64>,
    /// Files of a tenant whose name DocSpace's list of files cannot hold.
    unlisted: BTreeMap<i64, u64>,
}

impl Members {
    fn take(&mut self, module: &'static str, member: &str, tenant: i64, is_last: bool) -> Place {
        self.any = true;
        if module != self.module {
            self.module = module;
            self.seen.clear();
        }
        if !restore_info::can_hold(member) {
            *self.unlisted.entry(tenant).or_default() += 1;
            return Place::Beside;
        }
        let hash = self.hasher.hash_one(member);
        let is_new = if is_last { !self.seen.contains(&hash) } else { self.seen.insert(hash) };
        if is_new {
            return Place::Ordinary;
        }
        *self.taken.entry(tenant).or_default() += 1;
        Place::Beside
    }

    fn warnings(&self, filesystem: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        for (tenant, count) in &self.taken {
            warnings.push(format!(
                "{count} {} of tenant {tenant} {} another tenant's name, for which DocSpace's format has one \
                 place: kept under extra/tenants/{tenant}/, where DocSpace's own restore does not look",
                if *count == 1 { "file" } else { "files" },
                if *count == 1 { "has" } else { "have" },
            ));
        }
        for (tenant, count) in &self.unlisted {
            warnings.push(format!(
                "{count} {} of tenant {tenant} with control characters in the name: kept under \
                 extra/tenants/{tenant}/, where DocSpace's own restore does not look",
                if *count == 1 { "file" } else { "files" },
            ));
        }
        if !self.any {
            warnings.push(format!("filesystem {filesystem} holds no file of DocSpace's modules"));
        }
        warnings
    }
}
