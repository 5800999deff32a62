//! The settings that objects of an archive are made under, as far as this server has them.

use std::collections::BTreeMap;

use mysql_async::Error;

use super::super::connect::Session;
use super::super::objects::{Kind, Object, events_run};
use super::{Fault, admin, other};
use crate::source::database::warning;

/// The server has no such mode.
const WRONG_VALUE: u16 = 1231;

/// Takes modes away that the server does not have, and events that it could not make, which nothing else tells before
/// the swap; says which.
pub(super) async fn fit(
    session: &mut Session,
    archived: &mut Vec<Object>,
) -> Result<Vec<String>, Fault> {
    let lacking = fit_modes(session, archived).await?;
    let others = other::fit_collations(session, archived).await?;
    let runs = events_run(session).await?;
    let (mut refused, mut past) = (Vec::new(), Vec::new());
    let mut kept = Vec::new();
    for object in std::mem::take(archived) {
        if object.kind == Kind::Event {
            match session.run(&object.settings()).await {
                Err(Error::Server(error)) => {
                    refused.push(format!("{} ({})", object.name, error.message));
                    continue;
                }
                other => other?,
            }
            if runs && object.may_run() && is_past(session, &object).await? {
                past.push(object.name);
                continue;
            }
        }
        kept.push(object);
    }
    *archived = kept;
    session.run("SET NAMES utf8mb4").await?;
    session.run("SET SESSION time_zone='+00:00'").await?;
    session.run(admin::SETTINGS).await?;
    Ok([
        warning("made without SQL modes that this server does not have", &lacking),
        warning("made with the nearest of collations that this server does not have", &others),
        warning("left out, because the server refuses their settings: events", &refused),
        warning("left out, because their time has passed: events", &past),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Says which objects lost which modes.
async fn fit_modes(session: &mut Session, archived: &mut [Object]) -> Result<Vec<String>, Fault> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut lacking = Vec::new();
    for object in archived {
        if !known.contains_key(&object.sql_mode) {
            let mut modes: Vec<&str> = object.sql_mode.split(',').collect();
            if !is_mode(session, &object.sql_mode).await? {
                let mut good = Vec::new();
                for mode in modes {
                    if is_mode(session, mode).await? {
                        good.push(mode);
                    }
                }
                modes = good;
            }
            known.insert(object.sql_mode.clone(), modes.join(","));
        }
        let Some(modes) = known.get(&object.sql_mode).filter(|modes| **modes != object.sql_mode)
        else {
            continue;
        };
        let lost = object.sql_mode.split(',').filter(|mode| !modes.split(',').any(|m| m == *mode));
        let lost: Vec<&str> = lost.collect();
        lacking.push(format!("{} ({})", object.shown(), lost.join(" ")));
        object.sql_mode.clone_from(modes);
    }
    Ok(lacking)
}

async fn is_mode(session: &mut Session, mode: &str) -> Result<bool, Error> {
    match session.run(&format!("SET sql_mode='{mode}'")).await {
        Err(Error::Server(error)) if error.code == WRONG_VALUE => Ok(false),
        other => other.map(|()| true),
    }
}

/// In the session's time zone, which is the event's.
async fn is_past(session: &mut Session, event: &Object) -> Result<bool, Error> {
    let Some(last) = event.last_time() else { return Ok(false) };
    let query = format!("SELECT COALESCE(CAST({} AS DATETIME) < NOW(), 0)", super::literal(last));
    Ok(session.rows::<bool>(&query).await?.pop() == Some(true))
}
