//! Definitions that belong to no one table, as members of an archive.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a member's name cannot have, or not without changing its meaning.
const ODD: &AsciiSet = &CONTROLS.add(b'%').add(b'/').add(b'\\');

/// Definitions that belong to no one table: the member `extra/objects/{database}/{kind}/{name}.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectText {
    /// `view`, `trigger`, `procedure` …; [`ObjectText::WHOLE`] for texts of all kinds.
    pub kind: String,
    pub name: String,
    /// In UTF-8, unless the text itself says that it is in another character set.
    pub sql: Vec<u8>,
}

impl ObjectText {
    /// The kind of texts that hold many definitions of all kinds.
    pub const WHOLE: &str = "schema";

    /// The member's path after the database's name.
    pub fn path(&self) -> String {
        format!("{}/{}.sql", self.kind, utf8_percent_encode(&self.name, ODD))
    }

    /// The reverse of [`Self::path`].
    pub fn from_path(path: &str, sql: Vec<u8>) -> Option<Self> {
        let (kind, name) = path.split_once('/')?;
        let name = percent_decode_str(name.strip_suffix(".sql")?).decode_utf8().ok()?;
        Some(Self { kind: kind.to_owned(), name: name.into_owned(), sql })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_has_a_member_of_its_own() {
        for name in ["plain", "a/b", "..", "50%", "%2F", "é\n\\", "x.sql"] {
            let sql = b"CREATE".to_vec();
            let object = ObjectText { kind: "view".to_owned(), name: name.to_owned(), sql };
            let path = object.path();
            assert_eq!(path.matches('/').count(), 1, "{path}");
            assert!(!path.contains(['\\', '\n']), "{path}");
            assert_eq!(ObjectText::from_path(&path, b"CREATE".to_vec()).unwrap(), object);
        }
        assert!(ObjectText::from_path("view", Vec::new()).is_none());
        assert!(ObjectText::from_path("view/a", Vec::new()).is_none());
    }
}
