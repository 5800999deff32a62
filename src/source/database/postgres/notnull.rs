//! Names of NOT NULL constraints on inherited columns: `pg_dump` 18 writes them as they are, so one that needs quotes would
//! be another name, an error, or whatever it says.

use sqlx::Error;

use super::catalog::{number, text};
use super::connect::{Session, Texts};
use super::names::identifier;

/// A constraint whose name needs quotes.
#[derive(Debug)]
pub(super) struct NotNull {
    /// The table's number in the catalog.
    table: u64,
    name: String,
    /// In SQL.
    column: String,
}

/// All of them. (Those of tables are in the catalog since PostgreSQL 18.)
pub(super) async fn odd(session: &mut Session) -> Result<Vec<NotNull>, Error> {
    let query = "SELECT k.conrelid::text, k.conname::text, pg_catalog.quote_ident(a.attname) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid \
         AND a.attnum = k.conkey[1] WHERE k.contype = 'n' AND pg_catalog.quote_ident(k.conname) <> k.conname";
    let constraint =
        |row: &Texts| NotNull { table: number(row, 0), name: text(row, 1), column: text(row, 2) };
    Ok(session.rows(query).await?.iter().map(constraint).collect())
}

/// The text of `pg_restore` with these names in quotes. Done before it is cut, for a name may have a quote in it.
pub(super) fn quote(mut all: String, constraints: &[NotNull]) -> String {
    for NotNull { table, name, column } in constraints {
        let heading = format!("(class 1259 OID {table})\n");
        let line = format!("\n    CONSTRAINT {name} NOT NULL {column}");
        let Some(start) = all.find(&heading) else { continue };
        let end = all[start..].find("\n-- TOC entry ").map_or(all.len(), |end| start + end);
        if let Some(at) = all[start..end].find(&line) {
            let quoted = format!("\n    CONSTRAINT {} NOT NULL {column}", identifier(name));
            all.replace_range(start + at..start + at + line.len(), &quoted);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_in_their_table_alone() {
        let heir = |number: u32| {
            format!(
                "--\n-- TOC entry 3 (class 1259 OID {number})\n-- Name: t; Type: TABLE; Schema: x; Owner: y\n--\n\n\
                 CREATE TABLE x.t (\n    CONSTRAINT it's \"so\" NOT NULL a,\n    b integer\n)\nINHERITS (x.p);\n\n"
            )
        };
        let odd = NotNull { table: 7, name: "it's \"so\"".to_owned(), column: "a".to_owned() };
        let quoted = quote(heir(6) + &heir(7), &[odd]);
        let expected = heir(7).replace("it's \"so\"", "\"it's \"\"so\"\"\"");
        assert_eq!(quoted, heir(6) + &expected);
    }
}
