//! What belongs to tables and waits until all are there: foreign keys, triggers, row security and the like. Where only
//! some tables of an archive are restored, theirs come with them.

use std::collections::BTreeSet;

use super::super::connect::Session;
use super::super::items::Item;
use super::super::names::{identifier, literal};
use super::Fault;
use super::build::Builder;
use super::journal::{Place, Swapped};
use super::warnings::Warnings;
use crate::source::database::Trust;

/// What is made when the tables that stay are beside those that are restored: it may need them.
#[derive(Default)]
pub(super) struct Late {
    pub items: Vec<(Item, Trust)>,
    /// The schemas that are replaced or added.
    pub schemas: BTreeSet<String>,
}

impl Late {
    pub async fn make(
        &self,
        session: &mut Session,
        place: &Place,
        warnings: &mut Warnings,
    ) -> Result<(), Fault> {
        let mut builder =
            Builder::new(session, place, warnings, self.schemas.clone(), BTreeSet::new()).await?;
        builder.strict_keys = true;
        for (item, trust) in &self.items {
            builder.run(item, *trust).await?;
        }
        Ok(())
    }
}

/// Whether an item is of one of the tables that other items make. Its name begins with the table's, and its text names
/// that; only the text tells table `a` with a key `b c` from table `a b` with a key `c`.
pub(super) fn belongs(item: &Item, of_tables: &[&Item]) -> bool {
    if item.kind == "INDEX ATTACH" {
        let is_index = |made: &&Item| match made.kind.as_str() {
            "INDEX" => made.name == item.name,
            "CONSTRAINT" => made.name.ends_with(&format!(" {}", item.name)),
            _ => false,
        };
        return of_tables.iter().any(|made| made.schema == item.schema && is_index(made));
    }
    let mut tables = of_tables.iter().filter(|made| made.kind == "TABLE");
    tables.any(|table| {
        let (schema, name) = (&table.schema, &table.name);
        let in_text = |before: &str, after: &[char]| {
            let spelled = [name.clone(), identifier(name)];
            let spelled = spelled.iter().flat_map(|name| {
                [schema.clone(), identifier(schema)]
                    .map(|schema| format!("{before}{schema}.{name}"))
            });
            spelled.into_iter().any(|table| {
                let mut found = item.sql.match_indices(&table);
                found.any(|(at, _)| item.sql[at + table.len()..].starts_with(after))
            })
        };
        match item.kind.as_str() {
            "STATISTICS" => in_text(" FROM ", &[';']),
            "ROW SECURITY" => item.schema == *schema && item.name == *name,
            "CONSTRAINT" | "FK CONSTRAINT" | "CHECK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" => {
                item.schema == *schema
                    && item.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
                    && in_text(" ", &[' ', ';', '\n'])
            }
            "COMMENT" => {
                let kinds = ["CONSTRAINT ", "TRIGGER ", "RULE ", "POLICY "];
                item.schema == *schema
                    && kinds.iter().any(|kind| item.name.starts_with(kind))
                    && in_text(" ON ", &[' '])
            }
            _ => false,
        }
    })
}

/// What of the replaced tables is not there again. Asked when an archive did not bring it at all.
pub(super) async fn missing(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<Vec<String>, Fault> {
    let mut missing = Vec::new();
    for swapped in schemas.iter().filter(|swapped| swapped.replaces) {
        let query = format!(
            "WITH o AS (SELECT conrelid AS rel, 'constraint ' || conname AS name FROM pg_catalog.pg_constraint \
                 WHERE conparentid = 0 AND (contype = 'f' OR (contype = 'c' AND NOT convalidated)) \
               UNION ALL SELECT tgrelid, 'trigger ' || tgname FROM pg_catalog.pg_trigger WHERE NOT tgisinternal \
               UNION ALL SELECT ev_class, 'rule ' || rulename FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' \
               UNION ALL SELECT polrelid, 'policy ' || polname FROM pg_catalog.pg_policy \
               UNION ALL SELECT oid, 'row security' FROM pg_catalog.pg_class WHERE relrowsecurity \
               UNION ALL SELECT stxrelid, 'statistics ' || stxname FROM pg_catalog.pg_statistic_ext), \
             c AS (SELECT n.nspname AS schema, c.relname AS tbl, o.name FROM o \
               JOIN pg_catalog.pg_class c ON c.oid = o.rel JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) \
             SELECT name || ' of table ' || tbl FROM c WHERE schema = {kept} \
             AND EXISTS (SELECT 1 FROM pg_catalog.pg_class x JOIN pg_catalog.pg_namespace m ON m.oid = x.relnamespace \
               WHERE m.nspname = {new} AND x.relname = c.tbl AND x.relkind IN ('r', 'p')) \
             AND NOT EXISTS (SELECT 1 FROM c x WHERE x.schema = {new} AND x.tbl = c.tbl AND x.name = c.name) ORDER BY 1",
            kept = literal(&place.kept(swapped.number)),
            new = literal(&swapped.name)
        );
        missing.extend(session.column(&query).await?);
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_table_is_known_by_its_text() {
        let item =
            |kind: &str, name: &str, sql: &str| Item::new(kind, "public", name, sql.to_owned());
        let (table, index) = (item("TABLE", "a", ""), item("INDEX", "a_idx", ""));
        let of_tables = [&table, &index];
        for (kind, name, sql, expected) in [
            (
                "FK CONSTRAINT",
                "a b c",
                "ALTER TABLE ONLY public.a\n    ADD CONSTRAINT \"b c\"",
                true,
            ),
            (
                "FK CONSTRAINT",
                "a b c",
                "ALTER TABLE ONLY public.\"a b\"\n    ADD CONSTRAINT c",
                false,
            ),
            ("POLICY", "a own", "CREATE POLICY own ON public.a USING (true);", true),
            ("ROW SECURITY", "a", "ALTER TABLE public.a ENABLE ROW LEVEL SECURITY;", true),
            ("ROW SECURITY", "ab", "ALTER TABLE public.ab ENABLE ROW LEVEL SECURITY;", false),
            ("TRIGGER", "ab t", "CREATE TRIGGER t AFTER INSERT ON public.ab FOR EACH ROW", false),
            ("COMMENT", "TRIGGER t ON a", "COMMENT ON TRIGGER t ON public.a IS 'x';", true),
            ("COMMENT", "TRIGGER t ON ab", "COMMENT ON TRIGGER t ON public.ab IS 'x';", false),
            ("STATISTICS", "s", "CREATE STATISTICS public.s ON x, y FROM public.a;", true),
            ("STATISTICS", "s", "CREATE STATISTICS public.s ON x, y FROM public.ab;", false),
            ("INDEX ATTACH", "a_idx", "ALTER INDEX public.r ATTACH PARTITION public.a_idx;", true),
            ("INDEX ATTACH", "b_idx", "ALTER INDEX public.r ATTACH PARTITION public.b_idx;", false),
            ("VIEW", "a b", "CREATE VIEW public.v AS SELECT * FROM public.a;", false),
        ] {
            assert_eq!(
                belongs(&item(kind, name, sql), &of_tables),
                expected,
                "{kind} {name} {sql}"
            );
        }
    }
}
