//! The archive's definitions, run in the new schemas.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::catalog::{self, Relation};
use super::super::connect::Session;
use super::super::items::Item;
use super::definitions::Definitions;
use super::journal::{Place, Swapped};
use super::judge::judge_one;
use super::warnings::Warnings;
use super::{Fault, MAY_GIVE, aside, bound, extensions, opclasses};
use crate::source::database::Trust;

mod checks;
mod constraint;
mod run;

/// Made after the rows, which is faster.
const DEFERRED: &[&str] = &["CONSTRAINT", "CHECK CONSTRAINT", "INDEX"];

/// What may stand after the tables because it needs one.
const EARLY: &[&str] = &[
    "VIEW",
    "MATERIALIZED VIEW",
    "CAST",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
];

/// What was made so far.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub schemas: Vec<Swapped>,
    pub relations: BTreeMap<String, Relation>,
    pub deferred: Vec<(Item, Trust)>,
    /// Schemas that stay, for the extensions in them that cannot be moved.
    pub fixed: BTreeSet<String>,
}

pub(super) struct Builder<'a> {
    session: &'a mut Session,
    place: &'a Place,
    warnings: &'a mut Warnings,
    /// The schemas that are replaced or added.
    schemas: BTreeSet<String>,
    /// Those that stay as they are.
    fixed: BTreeSet<String>,
    /// Whom we may give things to.
    roles: HashSet<String>,
    /// A foreign key that rows break is not made: they may be those of tables that stay.
    pub strict_keys: bool,
}

impl<'a> Builder<'a> {
    pub async fn new(
        session: &'a mut Session,
        place: &'a Place,
        warnings: &'a mut Warnings,
        schemas: BTreeSet<String>,
        fixed: BTreeSet<String>,
    ) -> Result<Self, Fault> {
        let roles = roles(session).await?;
        Ok(Self { session, place, warnings, schemas, fixed, roles, strict_keys: false })
    }

    /// Puts the live schemas aside and makes everything but what waits for the rows.
    pub async fn build(&mut self, definitions: &mut Definitions) -> Result<Built, Fault> {
        let mut built = Built::default();
        bound::note(self.session, self.place).await?;
        let mut schemas = Vec::new();
        for name in definitions.schemas() {
            if !definitions.fills(&name) && aside::holds_fixed(self.session, &name).await? {
                self.fixed.insert(name);
            } else if !aside::is_fixed(self.session, &name).await? {
                schemas.push(name);
            }
        }
        bound::silence(self.session, &schemas).await?;
        for name in schemas {
            let replaces = aside::exists(self.session, &name).await?;
            let swapped = Swapped { number: built.schemas.len(), name: name.clone(), replaces };
            aside::replace(self.session, self.place, &swapped, !definitions.has_objects).await?;
            built.schemas.push(swapped);
            self.schemas.insert(name);
        }
        extensions::follow(self.session, self.place, &built.schemas).await?;
        if definitions.items().any(opclasses::is_default) {
            opclasses::make_room(self.session, self.place, &built.schemas).await?;
        }
        for (item, trust) in std::mem::take(&mut definitions.before) {
            self.run(&item, trust).await?;
        }
        let mut tables = std::mem::take(&mut definitions.tables);
        tables.sort_by_key(|(position, ..)| *position);
        let mut attach = Vec::new();
        for (_, items, trust) in tables {
            for item in items {
                match item.kind.as_str() {
                    "TABLE ATTACH" => attach.push((item, trust)),
                    kind if DEFERRED.contains(&kind) || is_about_deferred(&item) => {
                        built.deferred.push((item, trust));
                    }
                    _ => self.run(&item, trust).await?,
                }
            }
        }
        for (item, trust) in attach {
            self.run(&item, trust).await?;
        }
        let schemas: Vec<String> = self.schemas.iter().cloned().collect();
        // Comments on them are among the rest.
        built.deferred.splice(0..0, checks::put_off(self.session, &schemas).await?);
        if definitions.has_objects {
            definitions.after = self.early(std::mem::take(&mut definitions.after)).await?;
        }
        built.fixed = self.fixed.clone();
        built.relations = catalog::relations(self.session).await?;
        built.relations.retain(|_, relation| self.schemas.contains(&relation.schema));
        Ok(built)
    }

    /// Makes what can be made before the rows, for they may name a view, or be checked by a function that reads one.
    /// Returns the rest.
    async fn early(&mut self, after: Vec<(Item, Trust)>) -> Result<Vec<(Item, Trust)>, Fault> {
        let (mut rest, mut after) = (Vec::new(), after.into_iter());
        for (item, trust) in after.by_ref() {
            let kind = item.kind.as_str();
            if !EARLY.contains(&kind) {
                rest.push((item, trust));
            } else if self.run_apart(&item, trust).await?.is_err() {
                // What names a view fails without it; without a function or a cast it may find another.
                let is_view = kind.ends_with("VIEW");
                rest.push((item, trust));
                if !is_view {
                    break;
                }
            }
        }
        rest.extend(after);
        Ok(rest)
    }

    /// Fills materialised views. What one cannot be filled with (a view that is filled later, a function that needs
    /// what is not here) is no reason to go without all the rest.
    pub async fn fill(&mut self, mut views: Vec<(Item, Trust)>) -> Result<(), Fault> {
        loop {
            let (before, mut failed) = (views.len(), Vec::new());
            for (view, trust) in views {
                if trust == Trust::Foreign {
                    judge_one(&view, &self.schemas)?;
                }
                if let Err(fault) = self.run_apart(&view, trust).await? {
                    failed.push((view, trust, fault));
                }
            }
            if failed.is_empty() || failed.len() == before {
                for (view, _, fault) in failed {
                    let why = fault.text();
                    self.warnings.add(format!(
                        "materialised view {}.{} is left without rows: {why}",
                        view.schema, view.name
                    ));
                }
                return Ok(());
            }
            views = failed.into_iter().map(|(view, trust, _)| (view, trust)).collect();
        }
    }

    /// Makes foreign keys between tables that are restored, each of which reads its table whole: later the tables that
    /// stay would be locked meanwhile. Those to tables that stay are added to `later`.
    pub async fn early_keys(
        &mut self,
        keys: Vec<(Item, Trust)>,
        later: &mut Vec<(Item, Trust)>,
    ) -> Result<(), Fault> {
        let mut left = Vec::new();
        for (key, trust) in keys {
            if self.run_apart(&key, trust).await?.is_err() {
                left.push((key, trust));
            }
        }
        // Comments on them come behind.
        later.splice(0..0, left);
        Ok(())
    }
}

/// The roles that we may give things to.
async fn roles(session: &mut Session) -> Result<HashSet<String>, Fault> {
    let query = format!(
        "SELECT rolname::text FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, {MAY_GIVE})"
    );
    Ok(session.column(&query).await?.into_iter().collect())
}

fn is_about_deferred(item: &Item) -> bool {
    item.kind == "COMMENT"
        && (item.name.starts_with("INDEX ") || item.name.starts_with("CONSTRAINT "))
}
