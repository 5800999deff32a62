//! Keeps DocSpace's own tables and the catalog equal: what is made here is written there, and what was made
//! there is taken over, so that the services can be swapped either way. The catalog is told what is still
//! to be written by counters in its rows, so nothing is lost when DocSpace's database is away.

mod archives;
mod audit;
mod schedules;

use jiff::Timestamp;

use crate::app::App;
use crate::jobs::{JobFilter, JobKind, JobState};
use crate::ops::OpError;
use crate::portal::PortalError;
use crate::portal::docspace::identity::Identity;

/// Takes over what was changed in DocSpace's tables. Does nothing in the plain layout.
pub async fn pull(app: &App) -> Result<(), OpError> {
    let Some(identity) = reachable(app).await? else { return Ok(()) };
    let restored_on = last_restore(app).await?;
    let schedules = schedules::pull(app, identity, restored_on).await;
    schedules.and(archives::pull(app, identity).await)
}

/// Writes what DocSpace's tables do not show yet. Does nothing in the plain layout.
pub async fn push(app: &App) -> Result<(), OpError> {
    let Some(identity) = reachable(app).await? else { return Ok(()) };
    // What one table does not take must not stand in the way of the others.
    let schedules = schedules::push(app, identity).await;
    let archives = archives::push(app, identity).await;
    schedules.and(archives).and(audit::push(app, identity).await)
}

/// Writes again what a process that was killed may have left out of the audit trail. Does nothing in the plain
/// layout.
pub async fn mend(app: &App) -> Result<(), OpError> {
    let Some(identity) = reachable(app).await? else { return Ok(()) };
    audit::mend(app, identity).await
}

/// The first error of several rows: a row that is refused must not stand in the way of the others, but a
/// database that does not answer is not asked for each.
#[derive(Default)]
struct Refused(Option<PortalError>);

impl Refused {
    /// False: this one was refused.
    fn note(&mut self, written: Result<(), PortalError>) -> Result<bool, PortalError> {
        match written {
            Ok(()) => Ok(true),
            Err(error @ PortalError::Refused(_)) => {
                self.0.get_or_insert(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn result(self) -> Result<(), OpError> {
        self.0.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// DocSpace's tables, unless a restore is about to put others in their place.
async fn reachable(app: &App) -> Result<Option<&Identity>, OpError> {
    let Some(identity) = app.portal.identity() else { return Ok(None) };
    if !app.config.portal.docspace.mirror {
        return Ok(None);
    }
    let filter =
        JobFilter { kind: Some(JobKind::Restore), unfinished: true, ..JobFilter::default() };
    let restoring = app.queue.latest(filter).await?;
    Ok(restoring.is_none().then_some(identity))
}

/// A restore puts back the tables of another time: what they say then is not what anybody wants now.
async fn last_restore(app: &App) -> Result<Option<Timestamp>, OpError> {
    let filter = JobFilter {
        kind: Some(JobKind::Restore),
        state: Some(JobState::Succeeded),
        ..JobFilter::default()
    };
    let jobs = app.queue.list(filter, 1, 0).await?.items;
    Ok(jobs.first().and_then(|job| job.finished_on))
}
