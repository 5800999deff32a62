//! What a swap will do, found out before it does anything.

use std::collections::BTreeSet;

use mysql_async::Error;
use serde::{Deserialize, Serialize};

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object};
use super::foreign::{self, ForeignKey};
use super::journal::{self, Journal};
use super::place::Place;
use super::{Fault, admin, literal};
use crate::catalog::is_own_table;

/// The whole of a swap. It is written down before the first step, so that each can be undone by whoever reads it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    pub tables: Vec<Moved>,
    /// Of live tables that are replaced: they cannot move to another schema, so they are made again. (These lists are
    /// written down one by one: together they may be longer than a statement can be.)
    #[serde(skip)]
    pub triggers: Vec<Object>,
    /// What those tables have after the swap: the archive's triggers, and of the live ones those that it does not know.
    #[serde(skip)]
    pub new_triggers: Vec<Object>,
    /// The archive's views, routines and events, but those that the live schema has just so.
    #[serde(skip)]
    pub made: Vec<Object>,
    /// The live ones in whose place these come.
    #[serde(skip)]
    pub old: Vec<Object>,
    /// Live views that do not work: they cannot be made again.
    #[serde(default)]
    pub broken: Vec<String>,
    /// The live schema's default collation, which is another while some objects are made.
    pub collation: String,
    /// Of tables that stay, to tables that are replaced: they would follow the old ones away.
    pub inward: Vec<ForeignKey>,
    /// Of staged tables, to tables that stay: until the swap nothing may refer to those.
    pub outward: Vec<ForeignKey>,
    /// Of live tables, to tables that are not there yet but come: with these they would go again.
    pub unbound: Vec<ForeignKey>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Moved {
    pub name: String,
    /// There is a live table of this name.
    pub replaces: bool,
}

/// The tables that each schema has now.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    pub live: BTreeSet<String>,
    pub staging: BTreeSet<String>,
    pub kept: BTreeSet<String>,
}

impl Whereabouts {
    pub async fn read(session: &mut Session, place: &Place) -> Result<Self, Error> {
        let mut all = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        for (names, schema) in all.iter_mut().zip([&place.live, &place.staging, &place.kept]) {
            let tables = admin::tables(session, schema).await?;
            names.extend(tables.into_iter().map(|(name, _)| name));
        }
        let [live, staging, kept] = all;
        Ok(Self { live, staging, kept })
    }
}

/// Plans the swap of everything that is staged.
pub(super) async fn make(session: &mut Session, place: &Place) -> Result<Plan, Fault> {
    let live = admin::tables(session, &place.live).await?;
    let mut tables = Vec::new();
    for (name, staged) in admin::tables(session, &place.staging).await? {
        if name == journal::TABLE {
            continue;
        }
        if is_own_table(&name) || !(admin::is_base_table(&staged) || staged == "SEQUENCE") {
            return Err(Fault::Text(format!("{name} is not a table that can be put back")));
        }
        let found = live.iter().find(|(live, _)| *live == name);
        if let Some((_, kind)) = found
            && shown(kind) != shown(&staged)
        {
            return Err(Fault::Text(format!(
                "{name} is a {} in the archive, but a {} in the live database",
                shown(&staged),
                shown(kind)
            )));
        }
        tables.push(Moved { name, replaces: found.is_some() });
    }
    let replaced: BTreeSet<&str> =
        tables.iter().filter(|table| table.replaces).map(|table| table.name.as_str()).collect();
    let archived = Journal(place).objects(session, ARCHIVED).await?;
    let found = objects::read(session, &place.live).await?;
    let changes = Changes::find(&archived, found.objects, |table| replaced.contains(table));
    for object in archived.iter().filter(|object| object.kind == Kind::View) {
        let table = live.iter().find(|(name, kind)| *name == object.name && kind != "VIEW");
        if let Some((name, kind)) = table {
            return Err(Fault::Text(format!(
                "{name} is a view in the archive, but a {} in the live database",
                shown(kind)
            )));
        }
    }
    let mut live = foreign::of_schema(session, &place.live).await?;
    live.retain(|key| key.parent_schema == place.live);
    let comes = |name: &str| tables.iter().any(|table| table.name == name && !table.replaces);
    let unbound = live.iter().filter(|key| comes(&key.parent)).cloned().collect();
    let mut inward = live;
    inward.retain(|key| !replaced.contains(key.table.as_str()));
    inward.extend(foreign::from_elsewhere(session, &place.live).await?);
    inward.retain(|key| {
        key.schema != place.staging
            && key.schema != place.kept
            && replaced.contains(key.parent.as_str())
    });
    let outward = Journal(place).held(session).await?;
    check_names(session, place, &replaced, &outward).await?;
    let (collation, broken) = (found.collation, found.broken);
    let Changes { triggers, new_triggers, made, old } = changes;
    #[rustfmt::skip]
    let plan =
        Plan { tables, triggers, new_triggers, made, old, broken, collation, inward, outward, unbound };
    Ok(plan)
}

/// Names of constraints are those of the schema: a table that was renamed since the backup may have kept one.
async fn check_names(
    session: &mut Session,
    place: &Place,
    replaced: &BTreeSet<&str>,
    outward: &[ForeignKey],
) -> Result<(), Fault> {
    let version = session.rows::<String>("SELECT VERSION()").await?.pop().unwrap_or_default();
    let is_mariadb = version.contains("MariaDB");
    // MariaDB's checks are those of their tables, and since 12.1 its foreign keys are too.
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    if is_mariadb && (numbers.next(), numbers.next()) >= (Some(12), Some(1)) {
        return Ok(());
    }
    let checks = if is_mariadb { "" } else { ", 'CHECK'" };
    let mut names = [Vec::new(), Vec::new()];
    for (names, schema) in names.iter_mut().zip([&place.live, &place.staging]) {
        let query = format!(
            "SELECT TABLE_NAME, CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS \
             WHERE TABLE_SCHEMA = {} AND CONSTRAINT_TYPE IN ('FOREIGN KEY'{checks})",
            literal(schema)
        );
        *names = session.rows::<(String, String)>(&query).await?;
    }
    let [mut stay, mut come] = names;
    stay.retain(|(table, _)| !replaced.contains(table.as_str()));
    come.extend(outward.iter().map(|key| (key.table.clone(), key.name.clone())));
    for (table, name) in &come {
        let other = stay.iter().find(|(_, other)| other.eq_ignore_ascii_case(name));
        if let Some((other, _)) = other {
            return Err(Fault::Text(format!(
                "table {table} of the archive has a constraint {name}, and so has table {other}, which is not in the \
                 archive and stays: rename or drop that constraint, or the table"
            )));
        }
    }
    Ok(())
}

fn shown(kind: &str) -> String {
    match admin::is_base_table(kind) {
        true => "table".to_owned(),
        false => kind.to_ascii_lowercase(),
    }
}

/// What becomes of objects; see [`Plan`].
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    triggers: Vec<Object>,
    new_triggers: Vec<Object>,
    made: Vec<Object>,
    old: Vec<Object>,
}

impl Changes {
    fn find(archived: &[Object], live: Vec<Object>, is_replaced: impl Fn(&str) -> bool) -> Self {
        let mut changes = Self::default();
        // A package is one thing with its body: who makes the one anew drops the other.
        let differs = |object: &Object| !live.contains(object);
        let packages: BTreeSet<_> = archived
            .iter()
            .filter(|object| object.kind.is_package() && differs(object))
            .map(Object::place)
            .collect();
        for object in archived {
            if object.kind == Kind::Trigger {
                changes.new_triggers.push(object.clone());
            } else if differs(object)
                || object.kind.is_package() && packages.contains(&object.place())
            {
                changes.made.push(object.clone());
            }
        }
        for object in live {
            let known = archived.iter().any(|known| known.is_of_place(&object));
            if object.kind == Kind::Trigger && object.table.as_deref().is_some_and(&is_replaced) {
                if !known {
                    changes.new_triggers.push(object.clone());
                }
                changes.triggers.push(object);
            } else if match object.kind {
                Kind::Trigger => known,
                kind if kind.is_package() => packages.contains(&object.place()),
                _ => changes.made.iter().any(|made| made.is_of_place(&object)),
            } {
                changes.old.push(object);
            }
        }
        changes
    }
}

/// The journal's kind of what came from the archive.
pub(super) const ARCHIVED: &str = "object";
const LISTS: [&str; 4] = ["trigger", "new trigger", "made", "old"];

impl Plan {
    /// The lists of objects, each with the journal's kind.
    pub fn lists(&self) -> impl Iterator<Item = (&'static str, &Vec<Object>)> {
        LISTS.into_iter().zip([&self.triggers, &self.new_triggers, &self.made, &self.old])
    }

    pub fn lists_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Vec<Object>)> {
        let Self { triggers, new_triggers, made, old, .. } = self;
        LISTS.into_iter().zip([triggers, new_triggers, made, old])
    }

    /// The renames of the swap that were not done yet. `None`: all are done.
    pub fn forward(&self, place: &Place, at: &Whereabouts) -> Option<String> {
        let mut pairs = Vec::new();
        for Moved { name, .. } in self.tables.iter().filter(|table| table.replaces) {
            if !at.kept.contains(name) {
                pairs.push((place.in_live(name), place.in_kept(name)));
            }
        }
        for Moved { name, .. } in &self.tables {
            if at.staging.contains(name) {
                pairs.push((place.in_staging(name), place.in_live(name)));
            }
        }
        rename(&pairs)
    }

    /// The reverse of [`Self::forward`], for what was done.
    pub fn back(&self, place: &Place, at: &Whereabouts) -> Option<String> {
        let mut pairs = Vec::new();
        for name in self.taken(at) {
            pairs.push((place.in_live(name), place.in_staging(name)));
        }
        for Moved { name, .. } in &self.tables {
            if at.kept.contains(name) {
                pairs.push((place.in_kept(name), place.in_live(name)));
            }
        }
        rename(&pairs)
    }

    /// The tables whose live place the staged one has taken. The old one is never taken for it: it would be dropped.
    pub fn taken<'a>(&'a self, at: &'a Whereabouts) -> impl Iterator<Item = &'a str> {
        let taken = |table: &&Moved| {
            let Moved { name, replaces } = table;
            at.live.contains(name)
                && !at.staging.contains(name)
                && (!replaces || at.kept.contains(name))
        };
        self.tables.iter().filter(taken).map(|table| table.name.as_str())
    }
}

fn rename(pairs: &[(String, String)]) -> Option<String> {
    let list: Vec<_> = pairs.iter().map(|(from, to)| format!("{from} TO {to}")).collect();
    (!list.is_empty()).then(|| format!("RENAME TABLE {}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::restore::AttemptId;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plan() -> (Plan, Place) {
        let moved = |name: &str, replaces| Moved { name: name.to_owned(), replaces };
        let plan = Plan { tables: vec![moved("a", true), moved("n", false)], ..Plan::default() };
        (plan, Place::new("d", &AttemptId::new("x").unwrap()))
    }

    #[test]
    fn each_step_is_undone_from_wherever_it_stopped() {
        let (plan, place) = plan();
        let before =
            Whereabouts { live: names(&["a"]), staging: names(&["a", "n"]), kept: names(&[]) };
        let half =
            Whereabouts { live: names(&[]), staging: names(&["a", "n"]), kept: names(&["a"]) };
        let after =
            Whereabouts { live: names(&["a", "n"]), staging: names(&[]), kept: names(&["a"]) };
        assert_eq!(
            plan.forward(&place, &before).unwrap(),
            "RENAME TABLE `d`.`a` TO `d_pb_x_old`.`a`, `d_pb_x`.`a` TO `d`.`a`, `d_pb_x`.`n` TO `d`.`n`"
        );
        assert_eq!(plan.forward(&place, &after), None);
        assert_eq!(plan.back(&place, &before), None);
        assert_eq!(plan.back(&place, &half).unwrap(), "RENAME TABLE `d_pb_x_old`.`a` TO `d`.`a`");
        assert_eq!(
            plan.back(&place, &after).unwrap(),
            "RENAME TABLE `d`.`a` TO `d_pb_x`.`a`, `d`.`n` TO `d_pb_x`.`n`, `d_pb_x_old`.`a` TO `d`.`a`"
        );
    }

    #[test]
    fn an_old_table_is_never_taken_for_a_new_one() {
        let (plan, place) = plan();
        let lost = Whereabouts { live: names(&["a"]), ..Whereabouts::default() };
        assert_eq!(plan.back(&place, &lost), None);
    }
}
