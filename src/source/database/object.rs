//! Definitions that belong to no one table, as members of an archive.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a member's name cannot have, or not without changing its meaning.
const ODD: &AsciiSet = &CONTROLS.add(b'%').add(b'/').add(b'\\');

/// The name of a table's members: any name has one of its own, which is one part of a path.
pub fn member_of_table(name: &str) -> String {
    match name {
        "" => "%".to_owned(),
        "." | ".." => name.replace('.', "%2E"),
        _ => encoded(name),
    }
}

/// The name as it is, but for what is odd: people and other programs look for members by it, and in percents a long
/// one would be too long for a file's.
fn encoded(name: &str) -> String {
    let mut member = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter.is_ascii() {
            true => member.extend(utf8_percent_encode(letter.encode_utf8(&mut [0; 4]), ODD)),
            false => member.push(letter),
        }
    }
    member
}

/// The reverse of [`member_of_table`]; names that others wrote are hardly ever changed by it.
pub fn table_of_member(name: &str) -> String {
    match name {
        "%" => String::new(),
        _ => percent_decode_str(name).decode_utf8_lossy().into_owned(),
    }
}

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

    /// The member of one of them that holds what is made when all tables are there.
    pub const AFTER_TABLES: &str = "post-data";

    /// The member's path after the database's name.
    pub fn path(&self) -> String {
        format!("{}/{}.sql", self.kind, encoded(&self.name))
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
    fn any_table_has_members_of_its_own() {
        let names =
            ["plain", "a/b", "a//b", "x", "x/", "/x", ".", "..", "", "%", "50%", "%2F", "é\n\\"];
        let members: std::collections::BTreeSet<_> =
            names.iter().map(|name| member_of_table(name)).collect();
        assert_eq!(members.len(), names.len());
        for name in names {
            let path = format!("databases/data/{}", member_of_table(name));
            assert_eq!(archive::clean_path(&path).unwrap(), path);
            assert_eq!(table_of_member(&member_of_table(name)), name);
        }
        for same in ["core_user", "таблица 1", "表"] {
            assert_eq!(member_of_table(same), same);
        }
    }

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
        let long = ObjectText { kind: "view".to_owned(), name: "表".repeat(64), sql: Vec::new() };
        assert_eq!(long.path(), format!("view/{}.sql", long.name));
        // As archives had it before.
        assert_eq!(ObjectText::from_path("view/%C3%A9.sql", Vec::new()).unwrap().name, "é");
        assert!(ObjectText::from_path("view", Vec::new()).is_none());
        assert!(ObjectText::from_path("view/a", Vec::new()).is_none());
    }
}
