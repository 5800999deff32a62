//! What stays in filesystems although they are replaced.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::targets::{FilesystemTarget, Targets};
use crate::portal::FilePlace;

/// By the positions of the filesystems.
#[derive(Debug, Default)]
pub struct Kept {
    /// What no restore touches. A storage that lies in a source now may not have done so when the archive was made.
    never: BTreeMap<usize, HashSet<String>>,
    /// Backups in DocSpace's documents. Where the archive has another file, its own takes the place.
    backups: Mutex<BTreeMap<usize, HashSet<String>>>,
}

impl Kept {
    pub fn of(targets: &Targets) -> Self {
        let by = |paths: fn(&FilesystemTarget) -> &Vec<String>| {
            let targets = targets.filesystems.iter();
            targets
                .map(|target| (target.position, paths(target).iter().cloned().collect()))
                .collect()
        };
        Self { never: by(|target| &target.kept), backups: Mutex::new(by(|target| &target.backups)) }
    }

    /// Whether a file of the archive may go to a place. A backup that lies there is not kept then.
    pub fn yields(&self, place: &FilePlace) -> bool {
        if holder(self.never.get(&place.filesystem), &place.path).is_some() {
            return false;
        }
        let mut backups = self.backups.lock().unwrap_or_else(PoisonError::into_inner);
        let backups = backups.get_mut(&place.filesystem);
        if let Some(folder) = holder(backups.as_deref(), &place.path) {
            backups.map(|backups| backups.remove(folder));
        }
        true
    }

    /// All that stays in a filesystem.
    pub fn paths(&self, filesystem: usize) -> Vec<String> {
        let backups = self.backups.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = [self.never.get(&filesystem), backups.get(&filesystem)];
        sets.into_iter().flatten().flatten().cloned().collect()
    }
}

/// The path itself or the folder above it that is among some.
fn holder<'a>(among: Option<&HashSet<String>>, path: &'a str) -> Option<&'a str> {
    let among = among.filter(|among| !among.is_empty())?;
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end]).find(|folder| among.contains(*folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_stay_and_backups_yield_to_the_archive() {
        let set = |path: &str| BTreeMap::from([(0, HashSet::from([path.to_owned()]))]);
        let kept = Kept { never: set("a/store"), backups: Mutex::new(set("f/file_9")) };
        let yields =
            |filesystem, path: &str| kept.yields(&FilePlace { filesystem, path: path.to_owned() });
        assert!(!yields(0, "a/store/x") && !yields(0, "a/store") && yields(1, "a/store/x"));
        assert!(yields(0, "a/stored") && yields(0, "f/file_91/x") && yields(1, "f/file_9/x"));
        let mut paths = kept.paths(0);
        paths.sort();
        assert_eq!(paths, ["a/store", "f/file_9"]);
        assert!(yields(0, "f/file_9/v1/x"));
        assert_eq!(kept.paths(0), ["a/store"]);
    }
}
