//! An object as a member of an archive: a text that the `mariadb` program loads, in a form that is also read here.
//!
//! ```text
//! DROP VIEW IF EXISTS `v`;
//! SET sql_mode='', character_set_client=utf8mb4, collation_connection=utf8mb4_general_ci;
//! DELIMITER ;;
//! CREATE … VIEW `v` AS …
//! ;;
//! DELIMITER ;
//! ```
//! Where its schema has another default now than when the object was made, `ALTER DATABASE COLLATE …;` stands before
//! and after; before the DROP of a package stands the mode that it needs. A sequence has only its statements. Where a
//! name is not ASCII, `SET NAMES utf8mb4;` comes first.

use super::{Kind, Object, PACKAGES, alter_schema};
use crate::source::database::ObjectText;
use crate::source::database::mysql::scheme::NAMES;

const SEQUENCE_END: &str = ";\n";

impl Object {
    /// `default`: the schema's collation.
    pub fn text(&self, default: &str) -> ObjectText {
        let mut sql = self.beginning().into_bytes();
        // Its statement has a character set of its own, named before it.
        if !sql.is_ascii() || self.kind == Kind::Sequence && !self.statement.is_ascii() {
            sql.splice(..0, NAMES.bytes());
        }
        if self.kind == Kind::Sequence {
            sql.extend_from_slice(&self.statement);
            sql.extend_from_slice(SEQUENCE_END.as_bytes());
        } else {
            let delimiter = self.delimiter();
            if let Some(collation) = &self.schema_collation {
                sql.extend(format!("{};\n", alter_schema(collation)).into_bytes());
            }
            sql.extend(format!("{};\nDELIMITER {delimiter}\n", self.settings()).into_bytes());
            sql.extend_from_slice(&self.statement);
            sql.extend(format!("\n{delimiter}\nDELIMITER ;\n").into_bytes());
            if self.schema_collation.is_some() {
                sql.extend(format!("{};\n", alter_schema(default)).into_bytes());
            }
        }
        ObjectText { kind: self.kind.as_str().to_owned(), name: self.name.clone(), sql }
    }

    fn beginning(&self) -> String {
        let mode = if self.kind.is_package() { format!("{PACKAGES};\n") } else { String::new() };
        format!("{mode}{};\n", self.drop_statement())
    }

    fn delimiter(&self) -> String {
        let is_free =
            |text: &String| !self.statement.windows(text.len()).any(|part| part == text.as_bytes());
        let others = (0..).map(|number| format!("$${number}"));
        std::iter::once(";;".to_owned()).chain(others).find(is_free).unwrap_or_default()
    }

    /// Reads a text of [`Self::text`]; a trigger's table is then not known. None: it is not of this form.
    pub fn from_text(text: &ObjectText) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == text.kind)?;
        let mut object = Self {
            kind,
            name: text.name.clone(),
            table: None,
            statement: Vec::new(),
            sql_mode: String::new(),
            charset: "utf8mb4".to_owned(),
            collation: "utf8mb4_general_ci".to_owned(),
            time_zone: None,
            schema_collation: None,
        };
        let rest = text.sql.strip_prefix(NAMES.as_bytes()).unwrap_or(&text.sql);
        let rest = rest.strip_prefix(object.beginning().as_bytes())?;
        if kind == Kind::Sequence {
            object.statement = rest.strip_suffix(SEQUENCE_END.as_bytes())?.to_vec();
            return object.statement.starts_with(b"CREATE SEQUENCE ").then_some(object);
        }
        let mut rest = rest;
        let delimiter = loop {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = std::str::from_utf8(&rest[..end]).ok()?;
            rest = &rest[end + 1..];
            if let Some(delimiter) = line.strip_prefix("DELIMITER ") {
                break delimiter;
            } else if let Some(collation) = line.strip_prefix(&alter_schema("")) {
                object.schema_collation = Some(word(collation.strip_suffix(';')?)?);
            } else {
                object.set(line)?;
            }
        };
        let end = format!("\n{delimiter}\nDELIMITER ;\n");
        let end = rest.windows(end.len()).position(|part| part == end.as_bytes())?;
        object.statement = rest[..end].to_vec();
        object.statement.starts_with(b"CREATE ").then_some(object)
    }

    /// Reads what [`Self::settings`] writes.
    fn set(&mut self, line: &str) -> Option<()> {
        let line = line.strip_prefix("SET sql_mode='")?.strip_suffix(';')?;
        let (mode, rest) = line.split_once("', character_set_client=")?;
        let (charset, rest) = rest.split_once(", collation_connection=")?;
        let (collation, zone) = match rest.split_once(", time_zone='") {
            Some((collation, zone)) => (collation, Some(zone.strip_suffix('\'')?)),
            None => (rest, None),
        };
        let good = |text: &str, signs: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || signs.contains(c))
        };
        if !good(mode, ",") || !zone.is_none_or(|zone| good(zone, "+-:/")) {
            return None;
        }
        self.sql_mode = mode.to_owned();
        self.charset = word(charset)?;
        self.collation = word(collation)?;
        self.time_zone = zone.map(str::to_owned);
        Some(())
    }
}

/// The name of a character set or a collation.
fn word(text: &str) -> Option<String> {
    let good = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (good && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(kind: Kind, statement: &[u8]) -> Object {
        Object {
            kind,
            name: "o`".to_owned(),
            table: None,
            statement: statement.to_vec(),
            sql_mode: "ANSI_QUOTES,STRICT_ALL_TABLES".to_owned(),
            charset: "latin1".to_owned(),
            collation: "latin1_swedish_ci".to_owned(),
            time_zone: None,
            schema_collation: None,
        }
    }

    #[test]
    fn a_member_is_what_the_client_loads() {
        let mut event =
            object(Kind::Event, b"CREATE EVENT \"o`\" ON SCHEDULE EVERY 1 DAY DO SELECT ';;'");
        event.time_zone = Some("+00:00".to_owned());
        event.schema_collation = Some("latin1_bin".to_owned());
        let text = event.text("utf8mb4_bin");
        assert_eq!(
            String::from_utf8(text.sql.clone()).unwrap(),
            "DROP EVENT IF EXISTS `o```;\nALTER DATABASE COLLATE latin1_bin;\n\
             SET sql_mode='ANSI_QUOTES,STRICT_ALL_TABLES', character_set_client=latin1, \
             collation_connection=latin1_swedish_ci, time_zone='+00:00';\nDELIMITER $$0\n\
             CREATE EVENT \"o`\" ON SCHEDULE EVERY 1 DAY DO SELECT ';;'\n$$0\nDELIMITER ;\n\
             ALTER DATABASE COLLATE utf8mb4_bin;\n"
        );
        assert_eq!(Object::from_text(&text), Some(event));
        let text = ObjectText { kind: "view".to_owned(), ..text };
        assert_eq!(Object::from_text(&text), None);
    }

    #[test]
    fn a_setting_is_nothing_but_a_setting() {
        let text = object(Kind::View, b"CREATE VIEW v AS SELECT 1").text("x");
        let sql = String::from_utf8(text.sql.clone()).unwrap();
        for (from, to) in [
            ("latin1,", "latin1+1,"),
            ("ANSI_QUOTES", "' OR '"),
            ("DELIMITER ;;", "SELECT 1;\nDELIMITER ;;"),
            ("SET sql_mode", "SET GLOBAL sql_mode"),
        ] {
            let changed = ObjectText { sql: sql.replacen(from, to, 1).into(), ..text.clone() };
            assert_eq!(Object::from_text(&changed), None, "{to}");
        }
    }

    proptest! {
        #[test]
        fn any_statement_comes_back(rest in prop::collection::vec(prop::sample::select(b";$0\n'xD\xff".as_slice()), 0..40)) {
            for kind in [Kind::View, Kind::Sequence, Kind::PackageBody] {
                let mut expected = object(kind, &[b"CREATE SEQUENCE ", rest.as_slice()].concat());
                if kind == Kind::Sequence {
                    expected.sql_mode = String::new();
                    expected.charset = "utf8mb4".to_owned();
                    expected.collation = "utf8mb4_general_ci".to_owned();
                }
                prop_assert_eq!(Object::from_text(&expected.text("x")), Some(expected));
            }
        }

        #[test]
        fn nothing_makes_it_panic(sql in prop::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            let before = if head { &b"DROP VIEW IF EXISTS `v`;\n"[..] } else { b"" };
            let text = ObjectText { kind: "view".to_owned(), name: "v".to_owned(), sql: [before, &sql].concat() };
            let _ = Object::from_text(&text);
        }
    }
}
