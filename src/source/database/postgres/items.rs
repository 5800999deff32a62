//! The text of `pg_dump`, cut into its items, and items as text again.

mod lexer;

pub(super) use lexer::{Kind, lex, skip, statements};

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Item {
    /// `pg_dump`'s number; 0 where none is told.
    pub id: u64,
    /// The object's class and number in the catalog.
    pub class: u64,
    pub oid: u64,
    /// The numbers of the items that it needs.
    pub needs: Vec<u64>,
    pub name: String,
    /// `TABLE`, `FK CONSTRAINT` …
    pub kind: String,
    /// `-`: none.
    pub schema: String,
    pub owner: String,
    pub sql: String,
}

/// Session settings that `pg_dump` changes between items.
const BETWEEN: &[(&str, &str)] =
    &[("SET default_tablespace = ", "''"), ("SET default_table_access_method = ", "heap")];

/// What each member of definitions begins with.
pub(super) fn preamble(encoding: &str) -> String {
    format!(
        "SET client_encoding = '{encoding}';\nSET standard_conforming_strings = on;\n\
         SET check_function_bodies = false;\nSET xmloption = content;\nSET client_min_messages = warning;\n\
         SET row_security = off;\nSET default_tablespace = '';\nSET default_table_access_method = heap;\n\
         SELECT pg_catalog.set_config('search_path', '', false);\n"
    )
}

impl Item {
    /// A definition of our own making.
    pub fn new(kind: &str, schema: &str, name: &str, sql: String) -> Self {
        let text = str::to_owned;
        Self {
            kind: text(kind),
            schema: text(schema),
            name: text(name),
            owner: text("-"),
            sql,
            ..Self::default()
        }
    }

    /// As `pg_dump` writes it.
    pub fn text(&self) -> String {
        let line = |text: &str| text.replace(['\n', '\r'], " ");
        let mut after = String::new();
        for (set, default) in
            BETWEEN.iter().filter(|(set, _)| self.sql.starts_with("SET ") && self.sql.contains(set))
        {
            after += &format!("{set}{default};\n");
        }
        format!(
            "\n--\n-- Name: {}; Type: {}; Schema: {}; Owner: {}\n--\n\n{}\n{after}",
            line(&self.name),
            self.kind,
            line(&self.schema),
            line(&self.owner),
            self.sql.trim()
        )
    }
}

/// Cuts a text at its items' headings. What stands before the first is left out.
pub(super) fn parse(text: &str) -> Vec<Item> {
    let starts = headings(text);
    let mut items = Vec::new();
    // How the settings between the items stand where they are not at their defaults.
    let mut between = vec![String::new(); BETWEEN.len()];
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(text.len());
        let Some(mut item) = item(&text[*start..end]) else { continue };
        let mut own = between.concat();
        let (sql, set) = without_settings(&item.sql);
        for (which, line, at_start) in set {
            match at_start {
                // Ours, of this item alone.
                true => own.push_str(line),
                // pg_dump's, from the next item on.
                false => {
                    let default = line.trim_end().trim_end_matches(';').ends_with(BETWEEN[which].1);
                    between[which] =
                        if default { String::new() } else { line.trim_end().to_owned() + "\n" };
                }
            }
        }
        item.sql = own + trim_end(sql.trim());
        items.push(item);
    }
    items
}

/// A text without the lines that are settings; those with their places in [`BETWEEN`], and whether nothing stood before.
fn without_settings(text: &str) -> (String, Vec<(usize, &str, bool)>) {
    let (mut sql, mut found, mut at) = (String::new(), Vec::new(), 0);
    while at < text.len() {
        let begins = sql.trim_end();
        let set = match text[..at].is_empty() || text[..at].ends_with('\n') {
            true => BETWEEN.iter().position(|(set, _)| text[at..].starts_with(set)),
            false => None,
        };
        // (Not what stands in a body or a string, for those are one token.)
        let end = match set.filter(|_| begins.is_empty() || begins.ends_with(';')) {
            Some(which) => {
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
                found.push((which, &text[at..end], begins.is_empty()));
                end
            }
            None => {
                let end = skip(text, at);
                sql.push_str(&text[at..end]);
                end
            }
        };
        at = end;
    }
    (sql, found)
}

/// Takes away what follows the last definition.
fn trim_end(sql: &str) -> &str {
    let after = |line: &str| {
        matches!(line, "" | "--" | "-- PostgreSQL database dump complete")
            || line.starts_with("-- Completed on ")
            || line.starts_with("\\unrestrict ")
    };
    let mut sql = sql.trim();
    loop {
        let (before, last) = sql.rsplit_once('\n').unwrap_or(("", sql));
        if !after(last) || sql.is_empty() {
            return sql;
        }
        sql = before.trim_end();
    }
}

/// One item from its heading on.
fn item(text: &str) -> Option<Item> {
    let mut item = Item::default();
    let mut rest = text.strip_prefix("--\n")?;
    let mut named = false;
    loop {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        if let Some(entry) = line.strip_prefix("-- TOC entry ") {
            let mut numbers = entry.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
            let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            (item.id, item.class, item.oid) = (next(), next(), next());
        } else if let Some(needs) = line.strip_prefix("-- Dependencies: ") {
            item.needs = needs.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        } else if let Some(name) = line.strip_prefix("-- Name: ") {
            // A name may hold what separates; what follows it does not.
            let (name, rest) = name.rsplit_once("; Type: ")?;
            let (kind, rest) = rest.split_once("; Schema: ")?;
            let (schema, owner) = rest.rsplit_once("; Owner: ")?;
            let owner = owner.split("; Tablespace: ").next().unwrap_or(owner);
            item.name = name.to_owned();
            item.kind = kind.to_owned();
            item.schema = schema.to_owned();
            item.owner = owner.to_owned();
            named = true;
        } else if line == "--" {
            break;
        } else if !line.starts_with("-- ") {
            return None;
        }
        if rest.is_empty() {
            break;
        }
    }
    item.sql = rest.to_owned();
    named.then_some(item)
}

/// Where headings begin: a line `--`, then one of those that [`item`] knows, neither inside a string nor a body.
fn headings(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let line_start = at == 0 || bytes[at - 1] == b'\n';
        if line_start
            && ["--\n-- TOC entry ", "--\n-- Name: "]
                .iter()
                .any(|head| text[at..].starts_with(head))
        {
            found.push(at);
        }
        at = skip(text, at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SET x = 1;\n\n--\n-- TOC entry 7 (class 2615 OID 16388)\n-- Name: a; b; Type: SCHEMA; Schema: -; Owner: me\n\
        -- Data Pos: 0\n--\n\nCREATE SCHEMA \"a; b\";\n\n\nSET default_tablespace = fast;\n\n--\n\
        -- TOC entry 8 (class 1255 OID 9)\n-- Dependencies: 7 7\n-- Name: f(); Type: FUNCTION; Schema: public; Owner: me; Tablespace: x\n--\n\n\
        CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$\n--\n-- Name: no; Type: TABLE; Schema: public; Owner: me\n--\n\
        select 'SET default_tablespace = y;' || E'\\'--';\nSET default_tablespace = z;\n $_$;\n\nSET default_tablespace = '';\n\n\
        --\n-- Name: c; Type: COMMENT; Schema: -; Owner: \n--\n\nCOMMENT ON SCHEMA public IS 'it''s\n--\n-- Name: x';\n\n\
        -- Completed on 2020\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n";

    #[test]
    fn items_are_found_and_nothing_that_looks_like_one() {
        let items = parse(TEXT);
        let kinds: Vec<_> = items.iter().map(|item| item.kind.as_str()).collect();
        assert_eq!(kinds, ["SCHEMA", "FUNCTION", "COMMENT"]);
        assert_eq!((items[0].id, items[0].class, items[0].oid), (7, 2615, 16388));
        assert_eq!((items[0].name.as_str(), items[0].schema.as_str()), ("a; b", "-"));
        assert_eq!(items[0].sql, "CREATE SCHEMA \"a; b\";");
        assert_eq!(items[1].needs, [7, 7]);
        assert_eq!(items[1].owner, "me");
        assert!(items[1].sql.starts_with("SET default_tablespace = fast;\nCREATE FUNCTION"));
        let end = "E'\\'--';\nSET default_tablespace = z;\n $_$;";
        assert!(items[1].sql.ends_with(end), "{}", items[1].sql);
        assert!(items[2].sql.starts_with("COMMENT"), "{}", items[2].sql);
        assert!(items[2].sql.ends_with("-- Name: x';"), "{:?}", items[2].sql);
    }

    #[test]
    fn what_was_written_is_read_again() {
        for item in parse(TEXT) {
            let again = parse(&(preamble("UTF8") + &item.text())).remove(0);
            assert_eq!((again.name, again.kind, again.sql), (item.name, item.kind, item.sql));
        }
    }
}
