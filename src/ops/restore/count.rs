//! How many files go where. Of two members of one name the last counts, as it is the last that lies there in the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::portal::FilePlace;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub files: u64,
    pub bytes: u64,
}

/// The names that an archive has more than once, as hashes. Another name that shares one costs time and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Repeated {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Repeated {
    /// `hashes`: of all names, by `hasher`.
    pub fn among(hasher: RandomState, mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        let twice = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        Self { hashes: twice.collect(), hasher }
    }

    pub fn contains(&self, member: &str) -> bool {
        !self.hashes.is_empty() && self.hashes.contains(&self.hasher.hash_one(member))
    }
}

/// Counts the files of each filesystem, by its position.
#[derive(Debug, Default)]
pub struct Counter {
    counted: BTreeMap<usize, Counted>,
    hasher: RandomState,
    /// What lies in places that may be filled again.
    sizes: HashMap<u64, u64>,
}

impl Counter {
    /// Something lies in this filesystem, a folder perhaps.
    pub fn meet(&mut self, filesystem: usize) {
        self.counted.entry(filesystem).or_default();
    }

    /// `again`: whether the member is a repeated one.
    pub fn file(&mut self, place: &FilePlace, size: u64, again: bool) {
        let counted = self.counted.entry(place.filesystem).or_default();
        let before = match again {
            true => self.sizes.insert(self.hasher.hash_one((place.filesystem, &place.path)), size),
            false => None,
        };
        counted.files += u64::from(before.is_none());
        counted.bytes = counted.bytes - before.unwrap_or(0) + size;
    }

    pub fn counted(self) -> BTreeMap<usize, Counted> {
        self.counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_counts() {
        let hasher = RandomState::new();
        let hashes = ["a", "b", "a", "c"].map(|name| hasher.hash_one(name)).to_vec();
        let repeated = Repeated::among(hasher, hashes);
        assert!(repeated.contains("a") && !repeated.contains("b") && !repeated.contains("d"));
        let mut counter = Counter::default();
        for (path, size) in [("a", 100), ("b", 10), ("a", 1), ("c", 5)] {
            let place = FilePlace { filesystem: 0, path: path.to_owned() };
            counter.file(&place, size, repeated.contains(path));
        }
        assert_eq!(counter.counted()[&0], Counted { files: 3, bytes: 16 });
    }
}
