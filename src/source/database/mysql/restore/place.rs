//! The schemas of an attempt.

use sha2::{Digest, Sha256};

use super::super::render::identifier;
use crate::source::restore::AttemptId;

/// A server's longest name, in characters.
const LONGEST: usize = 64;

/// The live schema and the two that an attempt has beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub live: String,
    /// Where tables are loaded; also the name of the lock of whoever changes anything.
    pub staging: String,
    /// Where the live tables are kept after the swap.
    pub kept: String,
}

impl Place {
    pub fn new(live: &str, attempt: &AttemptId) -> Self {
        const KEPT: &str = "_old";
        let tail = format!("_pb_{attempt}");
        let room = LONGEST - tail.len() - KEPT.len();
        let staging = if live.chars().count() <= room {
            format!("{live}{tail}")
        } else {
            // Two long names may begin alike.
            let digest = hex::encode(&Sha256::digest(live)[..4]);
            let head: String = live.chars().take(room - digest.len() - 1).collect();
            format!("{head}_{digest}{tail}")
        };
        Self { live: live.to_owned(), kept: format!("{staging}{KEPT}"), staging }
    }

    /// The same on a server that has all names in lower case.
    pub fn lowered(&self) -> Self {
        Self {
            live: self.live.to_lowercase(),
            staging: self.staging.to_lowercase(),
            kept: self.kept.to_lowercase(),
        }
    }

    pub fn in_live(&self, table: &str) -> String {
        qualified(&self.live, table)
    }

    pub fn in_staging(&self, table: &str) -> String {
        qualified(&self.staging, table)
    }

    pub fn in_kept(&self, table: &str) -> String {
        qualified(&self.kept, table)
    }
}

/// The quoted name of something in a schema.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_attempt_and_never_too_long() {
        let attempt = AttemptId::new("a".repeat(24)).unwrap();
        let place = Place::new("docspace", &attempt);
        assert_eq!(place.staging, format!("docspace_pb_{attempt}"));
        assert_eq!(place.kept, format!("docspace_pb_{attempt}_old"));
        let long = |end: &str| Place::new(&format!("{}{end}", "é".repeat(60)), &attempt);
        assert_eq!(long("a").kept.chars().count(), 64);
        assert_ne!(long("a").staging, long("b").staging);
        assert_eq!(long("a"), long("a"));
    }
}
