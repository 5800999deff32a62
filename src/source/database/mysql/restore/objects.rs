//! Views, routines, events and sequences of an archive: tried in the staging schema, put in place after the tables.

use std::collections::BTreeMap;

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::{self, Kind, Object, PACKAGES, alter_schema};
use super::super::render::identifier;
use super::super::scheme::WRONG_MERGE;
use super::journal::Journal;
use super::place::Place;
use super::plan::Plan;
use super::{Fault, admin, literal, triggers};
use crate::source::database::warning;

const PROBE: &str = "portal_backup_probe";

/// The definer does not exist; or we may not name another than ourselves.
const NO_SUCH_USER: u16 = 1449;
const NOT_OTHERS: &[u16] = &[1227, 1396];

/// What a view says that names what is not there: a table, a column, a routine; or a view of which that is true, or a
/// MERGE table.
const NOT_THERE: &[u16] = &[1146, 1054, 1305, 1356, 4162, WRONG_MERGE];

/// The same, or its definer may not use what it names.
const NOT_THERE_YET: &[u16] = &[1146, 1054, 1305, 1356, 4162, WRONG_MERGE, 1370];

/// The journal's kind of views that are in place of none yet.
const WAITING: &str = "waiting";

/// Makes an object in the session's default schema.
pub(super) async fn create(session: &mut Session, object: &Object) -> Result<(), Fault> {
    let result = object.create(session).await;
    session.run(admin::SETTINGS).await?;
    Ok(result?)
}

async fn replace(session: &mut Session, object: &Object) -> Result<(), Fault> {
    let result = object.replace(session).await;
    session.run(admin::SETTINGS).await?;
    Ok(result?)
}

fn failed(object: &Object, fault: Fault) -> Fault {
    fault.about(&format!("{} cannot be made", object.shown()))
}

/// Whom objects may run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Definer {
    Good,
    Missing,
    /// Exists or not: the connection's user may not name it.
    Denied,
}

/// The connection's user, and the clause that names it as the definer.
async fn own_definer(session: &mut Session) -> Result<(String, String), Error> {
    let own: Option<String> = session.rows("SELECT CURRENT_USER()").await?.pop();
    let own = own.unwrap_or_default();
    let (user, host) = own.rsplit_once('@').unwrap_or((&own, "%"));
    let clause = format!("DEFINER={}@{}", identifier(user), identifier(host));
    Ok((own, clause))
}

/// Of objects, the definers' clauses, and what they are good for here.
async fn definers<'a>(
    session: &mut Session,
    place: &Place,
    objects: impl Iterator<Item = &'a Object>,
) -> Result<BTreeMap<Vec<u8>, Definer>, Fault> {
    let (_, own) = own_definer(session).await?;
    let mut found: BTreeMap<Vec<u8>, Definer> = BTreeMap::new();
    session.run(&format!("USE {}", identifier(&place.staging))).await?;
    for definer in objects.filter_map(Object::definer) {
        if !found.contains_key(definer) {
            let known = match definer == own.as_bytes() {
                true => Definer::Good,
                false => probe_definer(session, &String::from_utf8_lossy(definer)).await?,
            };
            found.insert(definer.to_vec(), known);
        }
    }
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    Ok(found)
}

/// Gives objects whose definer cannot be named here the connection's own user for one; says which.
pub(super) async fn settle_definers(
    session: &mut Session,
    place: &Place,
    archived: &mut [Object],
) -> Result<Option<String>, Fault> {
    let (own, clause) = own_definer(session).await?;
    let known = definers(session, place, archived.iter()).await?;
    let mut changed = Vec::new();
    for object in archived {
        let Some(definer) = object.definer() else { continue };
        if known.get(definer) != Some(&Definer::Good) {
            changed.push(format!("{} ({})", object.shown(), shown_definer(definer)));
            object.set_definer(&clause);
        }
    }
    Ok(warning(
        &format!("their definers do not exist here or may not be named, so they run as {own}"),
        &changed,
    ))
}

/// Whether what is live could be made again, should the restore have to be undone.
pub(super) async fn check_definers(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
) -> Result<(), Fault> {
    let live = || plan.triggers.iter().chain(&plan.old);
    let known = definers(session, place, live()).await?;
    let denied: Vec<String> = live()
        .filter_map(|object| {
            let definer = object.definer()?;
            let is_denied = known.get(definer) == Some(&Definer::Denied);
            is_denied.then(|| format!("{} ({})", object.shown(), shown_definer(definer)))
        })
        .collect();
    match warning("of the live database, others are the definers of", &denied) {
        None => Ok(()),
        Some(which) => Err(Fault::Text(format!(
            "{which}; a failed restore could not make them again, because the database's user may not name another \
             definer: grant it SET USER on *.* (MySQL: SET_USER_ID or SET_ANY_DEFINER)"
        ))),
    }
}

fn shown_definer(clause: &[u8]) -> String {
    String::from_utf8_lossy(clause).trim_start_matches("DEFINER=").to_owned()
}

async fn probe_definer(session: &mut Session, definer: &str) -> Result<Definer, Fault> {
    let view = identifier(PROBE);
    let create = format!("CREATE OR REPLACE {definer} VIEW {view} AS SELECT 1 AS one");
    match session.run(&create).await {
        Ok(()) => {}
        Err(Error::Server(error)) if error.code == NO_SUCH_USER => return Ok(Definer::Missing),
        Err(Error::Server(error)) if NOT_OTHERS.contains(&error.code) => {
            return Ok(Definer::Denied);
        }
        Err(error) => return Err(error.into()),
    }
    let warnings: Vec<(String, u16, String)> = session.rows("SHOW WARNINGS").await?;
    session.run(&format!("DROP VIEW {view}")).await?;
    let is_missing = warnings.iter().any(|(_, code, _)| *code == NO_SUCH_USER);
    Ok(if is_missing { Definer::Missing } else { Definer::Good })
}

/// Makes everything but events in the staging schema, as a trial, and leaves of `archived` what can be put in place;
/// what users should know comes back. Triggers learn their tables by this. All of it is the connection's user's there:
/// others have their rights in the live schema.
pub(super) async fn try_out(
    session: &mut Session,
    place: &Place,
    archived: &mut Vec<Object>,
) -> Result<Vec<String>, Fault> {
    // (Events would run.)
    let live = objects::read(session, &place.live).await?.objects;
    let stays: Vec<&Object> =
        live.iter().filter(|object| !archived.iter().any(|new| new.is_of_place(object))).collect();
    let (_, own) = own_definer(session).await?;
    let own_copy = |object: &Object| {
        let mut copy = object.clone();
        copy.set_definer(&own);
        copy
    };
    let tried: Vec<Object> = archived.iter().map(own_copy).collect();
    let stays: Vec<Object> = stays.into_iter().map(own_copy).collect();
    session.run(&format!("USE {}", identifier(&place.staging))).await?;
    let result = make_all(session, place, archived, &tried, &stays).await;
    if result.is_err() && session.try_run("DO 1").await.is_err() {
        return result; // Nothing more can be done on this connection.
    }
    drop_all(session, place, &tried).await?;
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    result
}

async fn make_all(
    session: &mut Session,
    place: &Place,
    archived: &mut Vec<Object>,
    tried: &[Object],
    stays: &[Object],
) -> Result<Vec<String>, Fault> {
    for object in tried.iter().filter(|object| object.kind.is_routine()) {
        create(session, object).await.map_err(|fault| failed(object, fault))?;
    }
    for object in stays.iter().filter(|object| object.kind.is_routine()) {
        // Views may call it. If it does not work, it does not work now either.
        let _ = create(session, object).await;
    }
    let mut views: Vec<&Object> = tried.iter().filter(|object| object.kind == Kind::View).collect();
    make_views(session, &mut views).await?;
    if !views.is_empty() {
        stand_in(session, place).await?;
        views.extend(stays.iter().filter(|object| object.kind == Kind::View));
        make_views(session, &mut views).await?;
    }
    let is_lost =
        |view: &Object| view.kind == Kind::View && views.iter().any(|lost| lost.name == view.name);
    // What another schema has after its own restore, nobody knows yet: they may work then, with all that is on them.
    let may_come = archived.iter().any(|view| is_lost(view) && view.leads_out());
    let mut lost = Vec::new();
    if !may_come {
        archived.retain(|view| {
            let keep = !is_lost(view);
            if !keep {
                lost.push(view.name.clone());
            }
            keep
        });
    }

    let named: Vec<String> = archived
        .iter()
        .filter(|object| !object.is_movable())
        .map(|object| object.name.clone())
        .collect();
    archived.retain(Object::is_movable);
    let new = archived.iter().filter(|object| object.kind == Kind::Trigger);
    let broken = triggers::create_all(session, new, None).await?;
    let is_broken = |object: &Object| broken.iter().any(|broken| broken.name == object.name);
    archived.retain(|object| object.kind != Kind::Trigger || !is_broken(object));
    let broken: Vec<String> = broken.iter().map(triggers::Broken::shown).collect();
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
        warning(
            "left out, because they name columns that their tables do not have: triggers",
            &broken,
        ),
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
            let create =
                format!("CREATE SQL SECURITY INVOKER VIEW {here} AS SELECT * FROM {there}");
            match session.run(&create).await {
                Err(Error::Server(error)) if error.code == WRONG_MERGE => {}
                made => made?,
            }
        }
    }
    Ok(())
}

/// Drops everything from the staging schema that is no table.
async fn drop_all(session: &mut Session, place: &Place, objects: &[Object]) -> Result<(), Fault> {
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
    for library in objects.iter().filter(|object| object.kind == Kind::Library) {
        library.drop(session).await?;
    }
    session.run(admin::SETTINGS).await?;
    Ok(())
}

/// Puts the archive's objects in the live schema, in the place of those of their names. May be done again. Views that
/// cannot be made yet wait for [`settle`].
pub(super) async fn put(session: &mut Session, place: &Place, plan: &Plan) -> Result<(), Fault> {
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    for trigger in plan.old.iter().filter(|object| object.kind == Kind::Trigger) {
        trigger.drop(session).await?;
    }
    let (waiting, _) = replace_all(session, &plan.made).await?;
    Journal(place).set_objects(session, WAITING, &waiting).await
}

/// Puts those in their place that waited for another schema; says which cannot be made even now.
pub(super) async fn settle(session: &mut Session, place: &Place) -> Result<Option<String>, Fault> {
    let waiting = Journal(place).objects(session, WAITING).await?;
    if waiting.is_empty() {
        return Ok(None);
    }
    session.run(&format!("USE {}", identifier(&place.live))).await?;
    let (waiting, _) = replace_all(session, &waiting).await?;
    Journal(place).set_objects(session, WAITING, &waiting).await?;
    let names: Vec<String> = waiting.into_iter().map(|view| view.name).collect();
    Ok(warning(
        "left out, because they name what is not there, or what their definers may not use: views",
        &names,
    ))
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
    let (waiting, last) = replace_all(session, &plan.old).await?;
    if let (Some(fault), true) = (last, waiting.iter().any(|old| !plan.broken.contains(&old.name)))
    {
        return Err(fault);
    }
    for view in waiting {
        tracing::warn!(view = %view.name, "it did not work before the restore either, and cannot be made again");
        view.drop(session).await?;
    }
    Ok(())
}

/// Views that fail are tried again after the others. Those come back that still name what is not there, with what the
/// server says of the last one.
async fn replace_all(
    session: &mut Session,
    objects: &[Object],
) -> Result<(Vec<Object>, Option<Fault>), Fault> {
    let mut waiting: Vec<&Object> = objects.iter().collect();
    loop {
        let before = waiting.len();
        let (mut last, mut other) = (None, None);
        for object in std::mem::take(&mut waiting) {
            let Err(fault) = replace(session, object).await else { continue };
            if object.kind == Kind::Trigger && triggers::missing_column(&fault).is_some() {
                tracing::warn!(trigger = %object.name, "it did not work before the restore either, and cannot be made again");
                continue;
            }
            let is_missing = NOT_THERE_YET.contains(&fault.code());
            let fault = failed(object, fault);
            if object.kind != Kind::View {
                return Err(fault);
            }
            *(if is_missing { &mut last } else { &mut other }) = Some(fault);
            waiting.push(object);
        }
        if waiting.is_empty() || waiting.len() == before {
            return match other {
                Some(fault) => Err(fault),
                None => Ok((waiting.into_iter().cloned().collect(), last)),
            };
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
