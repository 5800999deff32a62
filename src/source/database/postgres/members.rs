//! Which member carries which definition: those of a table lie with it, what tables need before them, the rest after.

use std::collections::{BTreeMap, HashMap};

use super::catalog::Relation;
use super::items::{Item, preamble};

/// Definitions, member by member.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Before all tables.
    pub before: String,
    /// The texts of the tables' definitions, by the names of their members.
    pub tables: HashMap<String, String>,
    /// After all rows.
    pub after: String,
}

/// Says a table's place among the tables.
pub(super) const POSITION: &str = "-- Position: ";

/// What belongs to the table that it is of.
const OF_TABLE: &[&str] = &[
    "COMMENT",
    "SECURITY LABEL",
    "ACL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "DEFAULT",
    "CONSTRAINT",
    "INDEX",
];

/// What waits until all tables and rows are there, whatever it needs.
const AFTER: &[&str] = &[
    // One that is NOT VALID: rows may break it, so it must not be there when they come.
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "INDEX ATTACH",
    "EVENT TRIGGER",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
    "STATISTICS",
    "DEFAULT ACL",
];

/// Makes a table a partition.
const ATTACH: &str = "TABLE ATTACH";

/// What is said about another item, and lies where that lies.
const ABOUT: &[&str] = &["COMMENT", "SECURITY LABEL", "ACL"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    /// With the table of that number.
    Table(usize),
    After,
}

/// Divides the items, which come in an order in which they can be made.
///
/// `values`: what sets the sequences, `refresh`: what fills the materialised views; both by their numbers in the
/// catalog. Views are filled last, in the order in which they are made: one may read another.
pub(super) fn divide(
    items: Vec<Item>,
    relations: &BTreeMap<String, Relation>,
    values: &HashMap<u64, Item>,
    refresh: &HashMap<u64, Item>,
    encoding: &str,
) -> Members {
    // The tables in the order in which they are made.
    let by_oid: HashMap<u64, &String> =
        relations.iter().map(|(member, relation)| (relation.oid, member)).collect();
    let tables: Vec<usize> = (0..items.len())
        .filter(|index| items[*index].kind == "TABLE" && by_oid.contains_key(&items[*index].oid))
        .collect();
    let places = place(&items, &tables);

    let mut texts: HashMap<usize, String> = HashMap::new();
    // A partition that has its indexes already keeps them when it is attached; else it would be given others.
    let mut last: HashMap<usize, String> = HashMap::new();
    let (mut before, mut after) = (preamble(encoding), preamble(encoding));
    for (item, place) in items.iter().zip(&places) {
        let value = (item.kind == "SEQUENCE").then(|| values.get(&item.oid)).flatten();
        let text = item.text() + &value.map(Item::text).unwrap_or_default();
        match place {
            Place::Before => before += &text,
            Place::Table(table) if item.kind == ATTACH => *last.entry(*table).or_default() += &text,
            Place::Table(table) => *texts.entry(*table).or_default() += &text,
            Place::After => after += &text,
        }
    }
    for view in items.iter().filter(|item| item.kind == "MATERIALIZED VIEW") {
        after += &refresh.get(&view.oid).map(Item::text).unwrap_or_default();
    }
    let tables = tables
        .iter()
        .enumerate()
        .filter_map(|(position, index)| {
            let member = by_oid.get(&items[*index].oid)?;
            let text = texts.remove(index).unwrap_or_default()
                + last.get(index).map_or("", String::as_str);
            let head = format!("{POSITION}{} of {}\n", position + 1, tables.len());
            Some(((*member).clone(), head + &preamble(encoding) + &text))
        })
        .collect();
    Members { before, tables, after }
}

fn place(items: &[Item], tables: &[usize]) -> Vec<Place> {
    let index_of: HashMap<u64, usize> =
        items.iter().enumerate().map(|(index, item)| (item.id, index)).collect();
    let needs = |item: &Item| -> Vec<usize> {
        item.needs.iter().filter_map(|id| index_of.get(id).copied()).collect()
    };
    let is_table = |index: usize| tables.binary_search(&index).is_ok();
    let mut places = vec![Place::Before; items.len()];
    for (index, item) in items.iter().enumerate() {
        let kind = item.kind.as_str();
        let needed = needs(item);
        places[index] = if is_table(index) {
            Place::Table(index)
        } else if kind == ATTACH {
            let part = tables.iter().find(|table| {
                items[**table].name == item.name && items[**table].schema == item.schema
            });
            part.map_or(Place::After, |table| Place::Table(*table))
        } else if AFTER.contains(&kind) || is_not_valid(item) {
            Place::After
        } else if let Some(table) =
            owner(items, item, &needed, is_table).filter(|_| OF_TABLE.contains(&kind))
        {
            Place::Table(table)
        } else if let (true, Some(about)) =
            (ABOUT.contains(&kind) || kind == "SEQUENCE OWNED BY", needed.first())
        {
            places[*about]
        } else if needed.iter().all(|needed| places[*needed] == Place::Before) && kind != "INDEX" {
            Place::Before
        } else {
            Place::After
        };
    }
    early(items, tables, &needs, &mut places);
    places
}

/// Whether rows may break it, as they may a NOT NULL since PostgreSQL 18: it must not be there when they come.
fn is_not_valid(item: &Item) -> bool {
    item.kind == "CONSTRAINT" && item.sql.trim_end().ends_with(" NOT VALID;")
}

/// The table that an item is a part of, among those it needs.
fn owner(
    items: &[Item],
    item: &Item,
    needed: &[usize],
    is_table: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut found: Vec<usize> = needed.iter().copied().filter(|needed| is_table(*needed)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => None,
        [one] => Some(*one),
        // It needs others too; the name begins with that of its table.
        several => several.iter().copied().find(|table| {
            let table = &items[*table];
            let rest = item.name.strip_prefix(table.name.as_str());
            table.schema == item.schema && rest.is_some_and(|rest| rest.starts_with(' '))
        }),
    }
}

/// What needs a table, and is needed by another, cannot wait: it goes with the first that needs it.
fn early(
    items: &[Item],
    tables: &[usize],
    needs: &dyn Fn(&Item) -> Vec<usize>,
    places: &mut [Place],
) {
    for table in tables {
        let parts: Vec<usize> =
            (0..items.len()).filter(|index| places[*index] == Place::Table(*table)).collect();
        let mut pending: Vec<usize> = parts.iter().flat_map(|part| needs(&items[*part])).collect();
        while let Some(index) = pending.pop() {
            if places[index] == Place::After && !AFTER.contains(&items[index].kind.as_str()) {
                places[index] = Place::Table(*table);
                pending.extend(needs(&items[index]));
                // What is said about it comes along.
                let id = items[index].id;
                for (about, place) in items.iter().zip(places.iter_mut()) {
                    if *place == Place::After
                        && ABOUT.contains(&about.kind.as_str())
                        && about.needs.first() == Some(&id)
                    {
                        *place = Place::Table(*table);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u64, kind: &str, name: &str, needs: &[u64]) -> Item {
        let mut item = Item::new(kind, "public", name, format!("-- {kind} {name};"));
        (item.id, item.oid, item.needs) = (id, id, needs.to_vec());
        item
    }

    #[test]
    fn each_definition_lies_where_it_can_be_made() {
        let items = vec![
            item(1, "TYPE", "mood", &[]),
            item(2, "TABLE", "t", &[1]),
            item(3, "COMMENT", "TABLE t", &[2]),
            item(4, "FUNCTION", "f(t)", &[2]),
            item(40, "ACL", "FUNCTION f", &[4]),
            item(5, "TABLE", "x", &[4, 2]),
            item(6, "SEQUENCE", "t_id_seq", &[2]),
            item(7, "SEQUENCE OWNED BY", "t_id_seq", &[6]),
            item(8, "VIEW", "v", &[2, 1]),
            item(9, "FUNCTION", "g()", &[]),
            item(10, "COMMENT", "VIEW v", &[8]),
            item(11, "DEFAULT", "t id", &[6, 2, 2, 5]),
            item(12, "CONSTRAINT", "t t_pkey", &[2]),
            item(13, "INDEX", "on_matview", &[8]),
            item(14, "FK CONSTRAINT", "x fk", &[2, 5, 12]),
            item(15, "TABLE ATTACH", "x", &[2, 5]),
        ];
        let tables = [1, 5];
        let t = Place::Table(1);
        let x = Place::Table(5);
        use Place::{After, Before};
        assert_eq!(
            place(&items, &tables),
            [Before, t, t, x, x, x, t, t, After, Before, After, t, t, After, After, x]
        );
    }
}
