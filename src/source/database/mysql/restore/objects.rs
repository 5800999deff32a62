//! Views, routines, events and sequences of an archive: tried in the staging schema, put in place after the tables.

use std::collections::BTreeMap;

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object, PACKAGES, alter_schema};
use super::super::render::identifier;
use super::place::Place;
use super::plan::Plan;
use super::{Fault, admin, literal, triggers};
use crate::source::database::warning;

const PROBE: &str = "portal_backup_probe";

/// The definer does not exist; or we may not name another than ourselves.
const NO_SUCH_USER: u16 = 1449;
const NOT_OTHERS: &[u16] = &[NO_SUCH_USER, 1227, 1396];

/// What a view says that names what is not there: a table, a column, a routine; or a view of which that is true.
const NOT_THERE: &[u16] = &[1146, 1054, 1305, 1356, 4162];

/// Makes an object in the session's default schema.
pub(super) async fn create(session: &mut Session, object: &Object) -> Result<(), Fault> {
    let result = object.create(session).await;
    session.run(admin::SETTINGS).await?;
    Ok(result?)
}

async fn replace(session: &mut Session, object: &Object) -> Result<(), Fault> {
    let result = object.replace(session).await;
    session.run(admin::SETTINGS).await?;
    result.map_err(|error| failed(object, error.into()))
}

fn failed(object: &Object, fault: Fault) -> Fault {
    fault.about(&format!("{} cannot be made", object.shown()))
}

/// Gives objects whose definer cannot be named here the connection's own user for one; says which.
pub(super) async fn settle_definers(
    session: &mut Session,
    place: &Place,
    archived: &mut [Object],
) -> Result<Option<String>, Fault> {
    let own: Option<String> = session.rows("SELECT CURRENT_USER()").await?.pop();
    let own = own.unwrap_or_default();
    let (user, host) = own.rsplit_once('@').unwrap_or((&own, "%"));
    let clause = format!("DEFINER={}@{}", identifier(user), identifier(host));
    let mut exists: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    let mut changed = Vec::new();
    session.run(&format!("USE {}", identifier(&place.staging))).await?;
    for object in archived {
        let Some(definer) = object.definer().map(<[u8]>::to_vec) else { continue };
        let shown = String::from_utf8_lossy(&definer).into_owned();
        if !exists.contains_key(&definer) {
            let found = shown == clause || can_define(session, &shown).await?;
            exists.insert(definer.clone(), found);
        }
        if exists.get(&definer) == Some(&false) {
            object.set_definer(&clause);
            let name = shown.trim_start_matches("DEFINER=");
            changed.push(format!("{} ({name})", object.shown()));
        }
    }
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    Ok(warning(
        &format!("their definers do not exist here or may not be named, so they run as {own}"),
        &changed,
    ))
}

async fn can_define(session: &mut Session, definer: &str) -> Result<bool, Fault> {
    let view = identifier(PROBE);
    let create = format!("CREATE OR REPLACE {definer} VIEW {view} AS SELECT 1 AS one");
    match session.run(&create).await {
        Ok(()) => {}
        Err(Error::Server(error)) if NOT_OTHERS.contains(&error.code) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let warnings: Vec<(String, u16, String)> = session.rows("SHOW WARNINGS").await?;
    session.run(&format!("DROP VIEW {view}")).await?;
    Ok(!warnings.iter().any(|(_, code, _)| *code == NO_SUCH_USER))
}

/// Makes everything but events in the staging schema, as a trial, and leaves of `archived` what can be put in place;
/// what users should know comes back. Triggers learn their tables by this.
pub(super) async fn try_out(
    session: &mut Session,
    place: &Place,
    archived: &mut Vec<Object>,
) -> Result<Vec<String>, Fault> {
    // (Events would run.)
    let live = objects::read(session, &place.live).await?.objects;
    let stays: Vec<&Object> =
        live.iter().filter(|object| !archived.iter().any(|new| new.is_of_place(object))).collect();
    session.run(&format!("USE {}", identifier(&place.staging))).await?;
    let result = make_all(session, place, archived, &stays).await;
    if result.is_err() && session.try_run("DO 1").await.is_err() {
        return result; // Nothing more can be done on this connection.
    }
    drop_all(session, place).await?;
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    result
}

async fn make_all(
    session: &mut Session,
    place: &Place,
    archived: &mut Vec<Object>,
    stays: &[&Object],
) -> Result<Vec<String>, Fault> {
    for object in archived.iter().filter(|object| object.kind.is_routine()) {
        create(session, object).await.map_err(|fault| failed(object, fault))?;
    }
    for object in stays.iter().filter(|object| object.kind.is_routine()) {
        // Views may call it. If it does not work, it does not work now either.
        let _ = create(session, object).await;
    }
    let mut views: Vec<&Object> =
        archived.iter().filter(|object| object.kind == Kind::View).collect();
    make_views(session, &mut views).await?;
    if !views.is_empty() {
        stand_in(session, place).await?;
        views.extend(stays.iter().filter(|object| object.kind == Kind::View));
        make_views(session, &mut views).await?;
    }
    let missing: Vec<String> = views.iter().map(|view| view.name.clone()).collect();
    let lost: Vec<String> = archived
        .iter()
        .filter(|object| object.kind == Kind::View && missing.contains(&object.name))
        .map(|object| object.name.clone())
        .collect();
    archived.retain(|object| object.kind != Kind::View || !missing.contains(&object.name));

    let named: Vec<String> = archived
        .iter()
        .filter(|object| !object.is_movable())
        .map(|object| object.name.clone())
        .collect();
    archived.retain(Object::is_movable);
    let new = archived.iter().filter(|object| object.kind == Kind::Trigger);
    triggers::create_all(session, new).await?;
    let tables: BTreeMap<String, String> =
        triggers::names(session, &place.staging).await?.into_iter().collect();
    for object in archived.iter_mut().filter(|object| object.kind == Kind::Trigger) {
        object.table = tables.get(&object.name).cloned();
    }
    Ok([
        warning(
            "left out, because they name what neither the archive nor the database has: views",
            &lost,
        ),
        warning("left out, because they name the database that they are of: triggers", &named),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Makes views, also those that need each other in another order; what is left names what is not there.
async fn make_views(session: &mut Session, views: &mut Vec<&Object>) -> Result<(), Fault> {
    loop {
        let before = views.len();
        let mut waiting = Vec::new();
        for view in std::mem::take(views) {
            match create(session, view).await {
                Ok(()) => {}
                Err(fault) if NOT_THERE.contains(&fault.code()) => waiting.push(view),
                Err(fault) => return Err(failed(view, fault)),
            }
        }
        *views = waiting;
        if views.is_empty() || views.len() == before {
            return Ok(());
        }
    }
}

/// Views of the live tables that the archive does not have, under their names.
async fn stand_in(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let staged = admin::tables(session, &place.staging).await?;
    for (name, kind) in admin::tables(session, &place.live).await? {
        if admin::is_base_table(&kind) && !staged.iter().any(|(known, _)| *known == name) {
            let (here, there) = (place.in_staging(&name), place.in_live(&name));
            session
                .run(&format!("CREATE SQL SECURITY INVOKER VIEW {here} AS SELECT * FROM {there}"))
                .await?;
        }
    }
    Ok(())
}

/// Drops everything from the staging schema that is no table.
async fn drop_all(session: &mut Session, place: &Place) -> Result<(), Fault> {
    for (name, _) in triggers::names(session, &place.staging).await? {
        triggers::drop(session, &place.staging, &name).await?;
    }
    for (name, kind) in admin::tables(session, &place.staging).await? {
        if kind == "VIEW" {
            session.run(&format!("DROP VIEW IF EXISTS {}", place.in_staging(&name))).await?;
        }
    }
    let query = format!(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {}",
        literal(&place.staging)
    );
    let routines: Vec<(String, String)> = session.rows(&query).await?;
    for (kind, name) in routines {
        if kind.starts_with("PACKAGE") {
            session.run(PACKAGES).await?;
        }
        session.run(&format!("DROP {kind} IF EXISTS {}", place.in_staging(&name))).await?;
    }
    session.run(admin::SETTINGS).await?;
    Ok(())
}

/// Puts the archive's objects in the live schema, in the place of those of their names. May be done again.
pub(super) async fn put(session: &mut Session, place: &Place, plan: &Plan) -> Result<(), Fault> {
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    for trigger in plan.old.iter().filter(|object| object.kind == Kind::Trigger) {
        trigger.drop(session).await?;
    }
    replace_all(session, &plan.made).await
}

/// The reverse of [`put`], from wherever it stopped.
pub(super) async fn put_back(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
) -> Result<(), Fault> {
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    let is_new = |made: &&Object| !plan.old.iter().any(|old| old.is_of_place(made));
    for object in plan.made.iter().rev().filter(is_new) {
        object.drop(session).await?;
    }
    session.run(admin::SETTINGS).await?;
    replace_all(session, &plan.old).await
}

async fn replace_all(session: &mut Session, objects: &[Object]) -> Result<(), Fault> {
    let mut waiting: Vec<&Object> = objects.iter().collect();
    loop {
        let before = waiting.len();
        let mut last = None;
        for object in std::mem::take(&mut waiting) {
            match replace(session, object).await {
                Ok(()) => {}
                // It may need another view that comes later.
                Err(fault) if object.kind == Kind::View => {
                    last = Some(fault);
                    waiting.push(object);
                }
                Err(fault) => return Err(fault),
            }
        }
        match last {
            None => return Ok(()),
            Some(fault) if waiting.len() == before => return Err(fault),
            Some(_) => {}
        }
    }
}

/// Sets the live schema's default back, if whoever made an object was ended while it was another.
pub(super) async fn set_collation(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
) -> Result<(), Fault> {
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    let now: Option<String> = session.rows("SELECT @@collation_database").await?.pop();
    if !plan.collation.is_empty() && now.as_deref() != Some(plan.collation.as_str()) {
        session.run(&alter_schema(&plan.collation)).await?;
    }
    Ok(())
}
