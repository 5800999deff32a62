//! The last look at what is staged: whether it can be swapped in, with everything that stays.

use super::super::connect::Session;
use super::super::objects::Object;
use super::super::render::identifier;
use super::foreign::{self, ForeignKey};
use super::journal::{Journal, State};
use super::place::Place;
use super::plan::{self, Plan};
use super::{Fault, admin, objects, settings, triggers};
use crate::source::database::warning;

const PROBE: &str = "portal_backup_probe";

/// Takes away the foreign keys of staged tables that lead out of the staging schema, and remembers them: they must
/// not bind what is live before the swap. `table`: only those of one; `None`: of all, also where the table that is
/// referred to was not staged.
pub(super) async fn hold_back(
    session: &mut Session,
    place: &Place,
    table: Option<&str>,
) -> Result<(), Fault> {
    let keys = match table {
        Some(table) => foreign::of_table(session, &place.staging, table).await?,
        None => foreign::of_schema(session, &place.staging).await?,
    };
    let staged = admin::tables(session, &place.staging).await?;
    for mut key in keys {
        let leaves = key.parent_schema != place.staging;
        let missing = !staged.iter().any(|(name, _)| *name == key.parent);
        if !leaves && (table.is_some() || !missing) {
            continue;
        }
        if !leaves {
            key.parent_schema.clone_from(&place.live);
        }
        Journal(place).hold(session, &key).await?;
        key.remove(session).await?;
    }
    if table.is_none() {
        give_back(session, place).await?;
    }
    Ok(())
}

/// Those that name the live schema, but a table of it that is replaced, can be made already.
async fn give_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let staged = admin::tables(session, &place.staging).await?;
    for key in Journal(place).held(session).await? {
        if key.parent_schema == place.live && staged.iter().any(|(name, _)| *name == key.parent) {
            let inner = ForeignKey { parent_schema: place.staging.clone(), ..key.clone() };
            inner.ensure(session).await?;
            Journal(place).forget_held(session, &key).await?;
        }
    }
    Ok(())
}

/// Checks that the swap will succeed, as far as that can be known; what users should know comes back.
pub(super) async fn check(
    session: &mut Session,
    place: &Place,
    mut archived: Vec<Object>,
) -> Result<Vec<String>, Fault> {
    hold_back(session, place, None).await?;
    let mut warnings = Vec::new();
    if !archived.is_empty() {
        warnings.extend(settings::fit(session, &mut archived).await?);
        warnings.extend(objects::settle_definers(session, place, &mut archived).await?);
        warnings.extend(objects::try_out(session, place, &mut archived).await?);
    }
    Journal(place).set_objects(session, plan::ARCHIVED, &archived).await?;
    let plan = plan::make(session, place).await?;
    objects::check_definers(session, place, &plan).await?;
    warnings.extend(probe_triggers(session, place, &plan).await?);
    for key in &plan.inward {
        probe(session, place, key).await?;
        warnings.extend(orphans(session, place, key).await?);
    }
    let live = admin::tables(session, &place.live).await?;
    for key in &plan.outward {
        if key.parent_schema == place.live && !live.iter().any(|(name, _)| *name == key.parent) {
            warnings.push(format!(
                "table {} refers to table {}, which neither the archive nor the database has",
                key.table, key.parent
            ));
        }
    }
    Journal(place).set(session, State::Ready).await?;
    Ok(warnings)
}

/// Makes the triggers that the staged tables will have, and drops them again; says which do not work now either.
async fn probe_triggers(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
) -> Result<Option<String>, Fault> {
    session.run(&format!("USE {}", identifier(&place.staging))).await?;
    let movable = plan.new_triggers.iter().filter(|trigger| trigger.is_movable());
    let result = triggers::create_all(session, movable, Some(&place.live)).await;
    for (name, _) in triggers::names(session, &place.staging).await? {
        triggers::drop(session, &place.staging, &name).await?;
    }
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    let broken: Vec<String> = result?.iter().map(triggers::Broken::shown).collect();
    Ok(warning(
        "dropped with the tables that are replaced, because they name columns that those do not have either: triggers",
        &broken,
    ))
}

/// Whether a table that stays can refer to the staged one: tried with an empty copy of it.
async fn probe(session: &mut Session, place: &Place, key: &ForeignKey) -> Result<(), Fault> {
    let table = place.in_staging(PROBE);
    let drop = format!("DROP TABLE IF EXISTS {table}");
    session.run(&drop).await?;
    session
        .run(&format!(
            "CREATE TABLE {table} LIKE {}",
            super::place::qualified(&key.schema, &key.table)
        ))
        .await?;
    let staged = ForeignKey { parent_schema: place.staging.clone(), ..key.clone() };
    session.run("SET SESSION foreign_key_checks=1").await?;
    let result = session.run(&format!("ALTER TABLE {table} ADD {}", staged.clause())).await;
    session.run("SET SESSION foreign_key_checks=0").await?;
    session.run(&drop).await?;
    result.map_err(|error| {
        Fault::Text(format!(
            "table {} is not in the archive and refers to {}, which the archive has in a form that does not allow it: {}",
            key.table,
            key.parent,
            super::super::describe(&error)
        ))
    })
}

/// Counts the rows of a table that stays whose counterparts are not in the archive.
async fn orphans(
    session: &mut Session,
    place: &Place,
    key: &ForeignKey,
) -> Result<Option<String>, Fault> {
    let pairs = || key.columns.iter().zip(&key.parent_columns);
    let on: Vec<_> = pairs()
        .map(|(column, parent)| format!("p.{} = c.{}", identifier(parent), identifier(column)))
        .collect();
    let set: Vec<_> =
        key.columns.iter().map(|column| format!("c.{} IS NOT NULL", identifier(column))).collect();
    let Some(first) = key.parent_columns.first() else {
        return Ok(None);
    };
    let query = format!(
        "SELECT COUNT(*) FROM {} c LEFT JOIN {} p ON {} WHERE {} AND p.{} IS NULL",
        super::place::qualified(&key.schema, &key.table),
        place.in_staging(&key.parent),
        on.join(" AND "),
        set.join(" AND "),
        identifier(first)
    );
    let count = session.rows::<u64>(&query).await?.pop().unwrap_or(0);
    Ok((count > 0).then(|| {
        format!(
            "{count} rows of table {}, which the archive does not have, refer to rows of {} that it does not have either",
            key.table, key.parent
        )
    }))
}
