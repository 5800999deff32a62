//! What becomes of a database: of its tables, its rows and what else it has.

use std::collections::HashSet;

use super::{ObjectPlan, RestorePlan, TableAction, TablePlan};
use crate::catalog::is_own_table;
use crate::ops::restore::contents::{ArchivedDatabase, Only};
use crate::ops::restore::space::Needs;
use crate::ops::restore::targets::DatabaseTarget;
use crate::source::database::{DatabaseError, LiveObject, ObjectText, Trust, warning};

pub async fn judge(
    database: &mut ArchivedDatabase,
    target: &DatabaseTarget,
    only: &Only,
    trust: Option<Trust>,
    needs: &mut Needs,
    plan: &mut RestorePlan,
) {
    let mut live = match target.database.live().await {
        Ok(live) => live,
        Err(error) => {
            plan.problems.push(error.to_string());
            return;
        }
    };
    let ours = live.server.engine.as_str();
    if let Some(theirs) = database.engine.as_deref()
        && family(theirs) != family(ours)
    {
        plan.problems
            .push(format!("the archive holds a {theirs} database, and {} is {ours}", target.name));
        return;
    }
    plan.problems.append(&mut live.problems);
    let known: HashSet<_> = live.tables.iter().map(|table| live.folded(&table.name)).collect();
    let exists = |name: &str| known.contains(&live.folded(name));
    // Of some tables DocSpace's archives carry no rows, and say that they are made only where they are missing.
    database.tables.retain(|name, table| !(table.is_for_want_of_one() && exists(name)));
    for (name, table) in &database.tables {
        if is_own_table(name) {
            continue;
        }
        plan.tables.push(TablePlan {
            database: target.name.clone(),
            name: name.clone(),
            rows: match &table.data {
                None => Some(0),
                Some(data) => data.rows,
            },
            bytes: table.data.as_ref().map_or(0, |data| data.size),
            action: match exists(name) {
                true => TableAction::Replace,
                false => TableAction::Create,
            },
        });
    }
    if only.is_everything() {
        let unknown = live.tables.iter().map(|table| &table.name);
        let ours: HashSet<_> = database.tables.keys().map(|name| live.folded(name)).collect();
        let unknown = unknown.filter(|name| !ours.contains(&live.folded(name)));
        plan.tables_kept.extend(unknown.filter(|name| !is_own_table(name)).cloned());
    }
    if trust == Some(Trust::Foreign)
        && let Err(error) = judge_text(database, target)
    {
        plan.problems.push(error.to_string());
    }
    judge_objects(database, target, &live.objects, trust, plan);
    let needed: u64 =
        database.tables.values().filter_map(|t| t.data.as_ref()).map(|d| d.size * 2).sum();
    needs.add(format!("database {}", target.name), needed + live.copied, live.space);
}

/// Whether what an archive that is not ours defines would be run; its rows are judged as they are loaded.
fn judge_text(database: &ArchivedDatabase, target: &DatabaseTarget) -> Result<(), DatabaseError> {
    let tables = database.tables.iter().filter(|(name, _)| !is_own_table(name));
    let schemes: Vec<_> = tables
        .filter_map(|(name, table)| Some((name.as_str(), table.scheme.as_deref()?)))
        .collect();
    target.database.judge(&schemes, &database.objects)
}

/// What becomes of views, triggers and the like.
fn judge_objects(
    database: &ArchivedDatabase,
    target: &DatabaseTarget,
    live: &[LiveObject],
    trust: Option<Trust>,
    plan: &mut RestorePlan,
) {
    let texts = database.objects.iter().filter(|object| object.kind != ObjectText::WHOLE);
    let (comes, left): (Vec<_>, Vec<_>) = texts.partition(|_| trust == Some(Trust::Own));
    if !left.is_empty() {
        plan.warnings.push(format!(
            "{}: {} views, triggers, routines or events of the archive are left out, unless its digest is known here \
             or it is trusted (--trust)",
            target.name,
            left.len()
        ));
    }
    let same = |a: &LiveObject, b: &ObjectText| a.kind == b.kind && a.name == b.name;
    let stays = live.iter().filter(|known| !comes.iter().any(|object| same(known, object)));
    let stays: Vec<String> =
        stays.map(|object| format!("{} {}", object.kind.replace('_', " "), object.name)).collect();
    plan.warnings.extend(warning(&format!("{}: stays as it is", target.name), &stays));
    for object in comes {
        let replaces = live.iter().any(|known| same(known, object));
        plan.objects.push(ObjectPlan {
            database: target.name.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            action: if replaces { TableAction::Replace } else { TableAction::Create },
        });
    }
}

/// Engines that read each other's dumps.
pub fn family(engine: &str) -> &str {
    match engine {
        "mariadb" => "mysql",
        other => other,
    }
}
