//! What a restore has to say.

use std::collections::BTreeSet;

/// Of those of which there may be one for each definition, as many are listed; the others are counted.
const LISTED: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Warnings {
    list: Vec<String>,
    more: BTreeSet<String>,
    kept: Vec<String>,
}

impl Warnings {
    pub fn add(&mut self, warning: String) {
        if self.list.contains(&warning) {
            return;
        }
        match self.list.len() < LISTED {
            true => self.list.push(warning),
            false => drop(self.more.insert(warning)),
        }
    }

    /// Adds what is listed however much there is: it says what is lost.
    pub fn list(&mut self, warning: Option<String>) {
        self.list.extend(warning);
    }

    /// Something is in the database already. Whether it is as the archive has it is not known, so it is only named.
    pub fn keep(&mut self, what: String) {
        self.kept.push(what);
    }

    pub fn told(self) -> Vec<String> {
        let mut told = self.list;
        if !self.kept.is_empty() {
            told.push(format!(
                "kept as they are in the database, which has one of each: {}",
                self.kept.join(", ")
            ));
        }
        if !self.more.is_empty() {
            told.push(format!("and {} more warnings, which are not listed", self.more.len()));
        }
        told
    }
}
