//! Names and literals in SQL, and the names of members.

/// The schema whose tables are called by their bare names.
pub(super) const DEFAULT_SCHEMA: &str = "public";

/// What a restore makes beside the live schemas begins so; a backup leaves it out.
pub(super) const BESIDE: &str = "portal_backup_";

/// The large objects, dumped as if they were a table. No user can make one of this name.
pub(super) const LARGE_OBJECTS: &str = "pg_catalog.pg_largeobject";

/// Always quoted, so that no keyword needs to be known.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// A string literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!(" E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// What a table is called outside SQL: `name`, or `schema.name` when it is not in the default schema.
pub(super) fn member(schema: &str, name: &str) -> String {
    match schema {
        DEFAULT_SCHEMA => part(name),
        _ => format!("{}.{}", part(schema), part(name)),
    }
}

/// A dot in a name must not look like the one between two.
fn part(name: &str) -> String {
    if name.contains(['.', '"']) { identifier(name) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_are_told_apart() {
        assert_eq!(member("public", "t"), "t");
        assert_eq!(member("Other one", "t"), "Other one.t");
        assert_ne!(member("public", "a.b"), member("a", "b"));
        assert_ne!(member("a", "b.c"), member("a.b", "c"));
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(qualified("a\"b", "c"), "\"a\"\"b\".\"c\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'"), " E'a\\\\'''");
    }
}
