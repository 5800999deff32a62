//! What an archive that is not ours may say: the shape of tables, types and sequences. Nothing that runs code of its
//! own, reads or writes files, or touches a schema that the restore does not replace.

use std::collections::BTreeSet;

use super::super::items::{is_word, skip};

/// How statements begin that only shape.
const ALLOWED: &[&[&str]] = &[
    &["create", "table"],
    &["create", "unlogged", "table"],
    &["create", "sequence"],
    &["create", "type"],
    &["create", "domain"],
    &["create", "index"],
    &["create", "unique", "index"],
    &["create", "schema"],
    &["create", "statistics"],
    &["alter", "table"],
    &["alter", "sequence"],
    &["alter", "type"],
    &["alter", "domain"],
    &["alter", "schema"],
    &["alter", "index"],
    &["alter", "statistics"],
    &["comment", "on"],
    &["grant"],
    &["revoke"],
    &["set", "default_tablespace"],
    &["set", "default_table_access_method"],
];

/// Words that may stand before a parenthesis: of the grammar, of types, and functions that only compute.
const BEFORE_PARENTHESIS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "bit",
    "bpchar",
    "brin",
    "btree",
    "by",
    "cache",
    "char",
    "character",
    "check",
    "columns",
    "constraint",
    "dec",
    "decimal",
    "default",
    "enum",
    "except",
    "exclude",
    "float",
    "from",
    "generated",
    "gin",
    "gist",
    "hash",
    "identity",
    "in",
    "include",
    "inherits",
    "interval",
    "is",
    "key",
    "list",
    "not",
    "null",
    "nulls",
    "numeric",
    "on",
    "or",
    "range",
    "reset",
    "set",
    "some",
    "spgist",
    "then",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "to",
    "unique",
    "values",
    "varbit",
    "varchar",
    "varying",
    "when",
    "where",
    "with",
    "abs",
    "btrim",
    "ceil",
    "char_length",
    "coalesce",
    "concat",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "gen_random_uuid",
    "greatest",
    "jsonb_typeof",
    "least",
    "left",
    "length",
    "lower",
    "ltrim",
    "make_interval",
    "md5",
    "mod",
    "nextval",
    "now",
    "nullif",
    "octet_length",
    "position",
    "replace",
    "right",
    "round",
    "rtrim",
    "strpos",
    "substr",
    "substring",
    "timezone",
    "to_tsvector",
    "trim",
    "upper",
];

/// Words before a name that may have a parenthesis behind it.
const BEFORE_NAME: &[&str] =
    &["table", "references", "on", "only", "exists", "inherits", "statistics"];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Not quoted, in lower case.
    Word(String),
    /// In double quotes.
    Quoted(String),
    /// As written, but for doubled quotes.
    String(String),
    Other(char),
}

impl Token {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }

    fn is(&self, word: &str) -> bool {
        match self {
            Self::Word(own) => own == word,
            Self::Other(own) => word.len() == 1 && word.starts_with(*own),
            _ => false,
        }
    }
}

/// Says why a text is refused. `schemas`: those that the restore replaces.
pub(super) fn check(sql: &str, schemas: &BTreeSet<String>) -> Result<(), String> {
    let tokens = tokens(sql)?;
    for statement in tokens.split(|token| token.is(";")).filter(|tokens| !tokens.is_empty()) {
        check_statement(statement, schemas)?;
    }
    Ok(())
}

fn check_statement(tokens: &[Token], schemas: &BTreeSet<String>) -> Result<(), String> {
    let begins = |words: &[&str]| {
        tokens.len() >= words.len() && words.iter().zip(tokens).all(|(word, token)| token.is(word))
    };
    let shown: Vec<&str> = tokens.iter().take(3).map(|token| token.name().unwrap_or("…")).collect();
    let shown = shown.join(" ");
    if begins(&["select"]) {
        return match sets_value(tokens, schemas) {
            true => Ok(()),
            false => Err(format!("it says {shown:?}")),
        };
    }
    if !ALLOWED.iter().any(|words| begins(words)) {
        return Err(format!("it says {shown:?}"));
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Other('(') => {
                depth += 1;
                check_call(tokens, index, schemas)?;
            }
            Token::Other(')') => depth -= 1,
            // CREATE TABLE … AS runs a query.
            token
                if depth == 0
                    && token.is("as")
                    && tokens.iter().take(3).any(|token| token.is("table")) =>
            {
                return Err("it makes a table of a query".to_owned());
            }
            _ => {}
        }
        let begins_path = token.name().is_some() && (index == 0 || !tokens[index - 1].is("."));
        if begins_path && tokens.get(index + 1).is_some_and(|next| next.is(".")) {
            let schema = token.name().unwrap_or_default();
            if schema != "pg_catalog" && !schemas.contains(schema) {
                return Err(format!("it names schema {schema:?}, which is not restored"));
            }
        }
    }
    if tokens.iter().take(2).any(|token| token.is("type"))
        && begins(&["create"])
        && !tokens.iter().any(|token| token.is("as"))
    {
        return Err("it makes a type of functions".to_owned());
    }
    let named = match tokens[0].name() {
        Some("grant" | "revoke") => {
            let on = tokens.iter().position(|token| token.is("on"));
            let end = tokens.iter().rposition(|token| token.is("to") || token.is("from"));
            on.zip(end).is_some_and(|(on, end)| {
                on + 2 < end
                    && tokens[on + 2..end]
                        .split(|token| token.is(","))
                        .all(|name| names_restored(&tokens[on + 1], name, schemas))
            })
        }
        Some("comment") => {
            // COMMENT ON CONSTRAINT c ON t; a domain's: ON DOMAIN d.
            let on = tokens.iter().rposition(|token| token.is("on")).unwrap_or_default();
            let end = tokens.iter().position(|token| token.is("is")).unwrap_or_default();
            match tokens.get(on + 1..end) {
                Some([kind, name @ ..]) if on == 1 || kind.is("domain") => {
                    names_restored(kind, name, schemas)
                }
                Some(name) => tokens[2].is("constraint") && is_restored(name, schemas),
                None => false,
            }
        }
        Some("alter") => {
            let optional = ["if", "exists", "only"];
            let name = tokens[2..].iter().skip_while(|t| optional.iter().any(|word| t.is(word)));
            let name: Vec<Token> = name.take(3).cloned().collect();
            names_restored(&tokens[1], &name, schemas)
        }
        Some("create") if begins(&["create", "schema"]) => {
            tokens.get(2..3).is_some_and(|name| names_restored(&tokens[1], name, schemas))
        }
        _ => true,
    };
    match named {
        true => Ok(()),
        false => Err(format!("it says {shown:?} of what is not restored")),
    }
}

/// Whether a name is that of something in a schema that is restored, or of such a schema.
fn names_restored(kind: &Token, name: &[Token], schemas: &BTreeSet<String>) -> bool {
    if kind.is("schema") {
        return name.first().and_then(Token::name).is_some_and(|name| schemas.contains(name));
    }
    let kinds = ["table", "column", "sequence", "type", "domain", "index", "statistics"];
    kinds.iter().any(|known| kind.is(known)) && is_restored(name, schemas)
}

/// Whether it begins with a schema that is restored.
fn is_restored(name: &[Token], schemas: &BTreeSet<String>) -> bool {
    matches!(name, [schema, dot, ..]
        if dot.is(".") && schema.name().is_some_and(|schema| schemas.contains(schema)))
}

/// Whether a text, as it stands in quotes, names something in a schema that is restored.
fn text_is_restored(text: &str, schemas: &BTreeSet<String>) -> bool {
    !text.contains('\\')
        && tokens(text).is_ok_and(|name| name.len() == 3 && is_restored(&name, schemas))
}

/// Whether a statement is `SELECT pg_catalog.setval('sequence', number[, boolean])`, of a sequence that is restored. What
/// it does to another would stay, whatever becomes of the transaction.
fn sets_value(tokens: &[Token], schemas: &BTreeSet<String>) -> bool {
    let begins = ["select", "pg_catalog", ".", "setval", "("];
    tokens.len() > begins.len()
        && begins.iter().zip(tokens).all(|(word, token)| token.is(word))
        && match &tokens[begins.len()..] {
            [Token::String(name), values @ .., last] => {
                let value = |t: &Token| matches!(t, Token::Word(_)) || t.is(",") || t.is("-");
                text_is_restored(name, schemas) && values.iter().all(value) && last.is(")")
            }
            _ => false,
        }
}

/// What stands before a parenthesis.
fn check_call(tokens: &[Token], at: usize, schemas: &BTreeSet<String>) -> Result<(), String> {
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return Ok(()) };
    let Some(name) = before.name() else { return Ok(()) };
    let mut start = at - 1;
    while start >= 2 && tokens[start - 1].is(".") {
        start -= 2;
    }
    let of_catalog = start == at - 1 || (start + 2 == at - 1 && tokens[start].is("pg_catalog"));
    if matches!(before, Token::Word(_)) && of_catalog && BEFORE_PARENTHESIS.contains(&name) {
        // It takes a number from the sequence for good.
        let takes = match tokens.get(at + 1) {
            _ if name != "nextval" => true,
            Some(Token::String(sequence)) => text_is_restored(sequence, schemas),
            _ => false,
        };
        return match takes {
            true => Ok(()),
            false => Err("it takes numbers from what is not restored".to_owned()),
        };
    }
    // A grant's columns.
    let grants = tokens[0].is("grant") || tokens[0].is("revoke");
    if grants && ["select", "insert", "update", "references"].iter().any(|word| before.is(word)) {
        return Ok(());
    }
    // Only a name of what is restored; and behind the ON of CREATE STATISTICS stand expressions.
    let of_statistics = tokens.iter().take(2).any(|token| token.is("statistics"));
    let named = is_restored(&tokens[start..at], schemas)
        && start.checked_sub(1).is_some_and(|index| {
            let word = &tokens[index];
            BEFORE_NAME.iter().any(|known| word.is(known)) && !(of_statistics && word.is("on"))
        });
    match named {
        true => Ok(()),
        false => Err(format!("it calls {name:?}")),
    }
}

fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if is_word(byte) {
            let end = (at..bytes.len())
                .find(|index| !is_word(bytes[*index]) && bytes[*index] != b'$')
                .unwrap_or(bytes.len());
            let word = sql[at..end].to_lowercase();
            if bytes.get(end) == Some(&b'"') {
                return Err("it writes a name in an unusual way".to_owned());
            }
            tokens.push(Token::Word(word));
            at = end;
            continue;
        }
        let end = skip(sql, at);
        match byte {
            b'\'' => {
                let inner = sql.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
                tokens.push(Token::String(inner.replace("''", "'")));
            }
            b'"' => {
                let inner = sql.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
                tokens.push(Token::Quoted(inner.replace("\"\"", "\"")));
            }
            b'\\' => return Err("it holds a command of psql".to_owned()),
            b'$' => return Err("it holds a body of code".to_owned()),
            b'-' | b'/' if end > at + 1 => {}
            byte if byte.is_ascii_whitespace() => {}
            byte => tokens.push(Token::Other(char::from(byte))),
        }
        at = end;
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(sql: &str) -> Result<(), String> {
        check(sql, &BTreeSet::from(["public".to_owned(), "crm".to_owned()]))
    }

    #[test]
    fn shapes_are_allowed() {
        for sql in [
            "CREATE TABLE public.t (\n id integer NOT NULL, m public.mood DEFAULT 'a'::public.mood, p numeric(10,2),\n \
             v character varying(20) DEFAULT ''::character varying, g integer GENERATED ALWAYS AS ((id + 1)) STORED,\n \
             d timestamp(3) without time zone DEFAULT now(), CONSTRAINT c CHECK ((id > 0)))\nPARTITION BY RANGE (id);\n\n\
             ALTER TABLE public.t OWNER TO postgres;",
            "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.t_id_seq'::regclass);",
            "ALTER TABLE ONLY public.x ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES crm.t(id) ON DELETE CASCADE;",
            "CREATE UNIQUE INDEX i ON public.t USING btree (lower(v)) WHERE (id > 3);",
            "CREATE TYPE public.mood AS ENUM ('a', 'b;--');",
            "SELECT pg_catalog.setval('\"public\".\"t_id_seq\"', 4, true);",
            "GRANT SELECT ON TABLE public.t TO PUBLIC;",
            "GRANT SELECT(id) ON TABLE public.t TO x;",
            "GRANT USAGE ON SCHEMA crm TO x WITH GRANT OPTION;",
            "COMMENT ON COLUMN public.t.id IS 'pg_read_file(';",
            "COMMENT ON CONSTRAINT c ON crm.t IS 'IS NULL';",
            "COMMENT ON CONSTRAINT c ON DOMAIN crm.d IS 'x';",
            "CREATE STATISTICS public.s (dependencies) ON a, b FROM public.t;",
            "ALTER INDEX public.parent ATTACH PARTITION crm.part;",
            "CREATE SCHEMA crm;",
        ] {
            assert_eq!(judge(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for sql in [
            "COPY public.t FROM PROGRAM 'id';",
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE plpython3u AS 'import os';",
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$select 1$$;",
            "DO $$ BEGIN END $$;",
            "\\! id\nCREATE TABLE public.t (a int);",
            "CREATE TABLE public.t (a text DEFAULT pg_read_file('/etc/passwd'));",
            "CREATE TABLE public.t (a text DEFAULT \"pg_read_file\"('/etc/passwd'));",
            "CREATE TABLE public.t (a text DEFAULT pg_catalog.pg_read_file('/etc/passwd'));",
            "CREATE TABLE public.t (a text DEFAULT crm.lower('x'));",
            "CREATE TABLE public.t AS SELECT 1;",
            "ALTER TABLE other.secret OWNER TO me;",
            "ALTER SCHEMA other OWNER TO me;",
            "CREATE VIEW public.v AS SELECT 1;",
            "CREATE RULE r AS ON INSERT TO public.t DO ALSO DELETE FROM public.t;",
            "CREATE TRIGGER t BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION crm.f();",
            "CREATE TYPE public.x (INPUT = f, OUTPUT = g);",
            "GRANT pg_execute_server_program TO PUBLIC;",
            "SELECT pg_catalog.setval(lo_import('/etc/passwd'), 1);",
            "SELECT 1;",
            "SET session_authorization = x;",
            "ALTER SYSTEM SET archive_command = 'id';",
            "CREATE TABLE public.t (a int DEFAULT (1 OPERATOR(crm.+) 2));",
            "CREATE TABLE public.t (a text DEFAULT U&\"pg_read_f\\0069le\"('x'));",
            "DROP TABLE public.t;",
            "GRANT SELECT ON TABLE pg_catalog.pg_authid TO PUBLIC;",
            "GRANT SELECT ON TABLE pg_authid TO PUBLIC;",
            "GRANT SELECT ON TABLE public.t, pg_authid TO PUBLIC;",
            "GRANT SELECT ON pg_authid TO PUBLIC;",
            "GRANT ALL ON SCHEMA secret TO PUBLIC;",
            "GRANT ALL ON SCHEMA public, secret TO PUBLIC;",
            "REVOKE ALL ON TABLE pg_catalog.pg_class FROM PUBLIC;",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO x;",
            "SELECT pg_catalog.setval('\"other\".\"seq\"', 1);",
            "SELECT pg_catalog.setval('seq', 1);",
            "SELECT pg_catalog.setval('public.seq', lo_import('/etc/passwd'));",
            "SELECT pg_catalog.setval('public.seq', 1), lo_import('x');",
            "SELECT pg_catalog.setval('public.seq', 1) FROM x;",
            "CREATE TABLE public.t (a int DEFAULT setval('public.s', 1));",
            "CREATE TABLE public.t (a int DEFAULT nextval('other.s'::regclass));",
            "CREATE STATISTICS public.s ON pg_catalog.lo_export(1, '/x'), a FROM public.t;",
            "CREATE STATISTICS public.s ON public.f(1), a FROM public.t;",
            "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE x;",
            "ALTER TABLE secret OWNER TO x;",
            "ALTER TABLE IF EXISTS pg_catalog.pg_authid OWNER TO x;",
            "COMMENT ON TABLE pg_catalog.pg_class IS 'x';",
            "COMMENT ON ROLE postgres IS 'x';",
            "COMMENT ON DATABASE postgres IS 'x';",
            "COMMENT ON CONSTRAINT c ON other.t IS 'x';",
        ] {
            assert!(judge(sql).is_err(), "{sql}");
        }
    }
}
