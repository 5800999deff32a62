//! What a swap will do, found out before it does anything.

use std::collections::BTreeSet;

use mysql_async::Error;
use serde::{Deserialize, Serialize};

use super::super::connect::Session;
use super::foreign::{self, ForeignKey};
use super::journal::{self, Journal};
use super::place::Place;
use super::triggers::{self, Trigger};
use super::{Fault, admin};
use crate::catalog::is_own_table;

/// The whole of a swap. It is written down before the first step, so that each can be undone by whoever reads it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    pub tables: Vec<Moved>,
    /// Of live tables that are replaced: they cannot move to another schema, so they are made again.
    pub triggers: Vec<Trigger>,
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
    for (name, kind) in admin::tables(session, &place.staging).await? {
        if name == journal::TABLE {
            continue;
        }
        if is_own_table(&name) || !admin::is_base_table(&kind) {
            return Err(Fault::Text(format!("{name} is not a table that can be put back")));
        }
        let found = live.iter().find(|(live, _)| *live == name);
        if let Some((_, kind)) = found
            && !admin::is_base_table(kind)
        {
            return Err(Fault::Text(format!(
                "{name} is a table in the archive, but a {} in the live database",
                kind.to_ascii_lowercase()
            )));
        }
        tables.push(Moved { name, replaces: found.is_some() });
    }
    let replaced: BTreeSet<&str> =
        tables.iter().filter(|table| table.replaces).map(|table| table.name.as_str()).collect();
    let triggers = triggers::read(session, &place.live, |table| replaced.contains(table)).await?;
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
    Ok(Plan { tables, triggers, inward, outward, unbound })
}

impl Plan {
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
