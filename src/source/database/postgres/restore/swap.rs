//! The swap, its undoing, and the end of what was put aside.

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::super::connect::Session;
use super::super::url::Target;
use super::belonging::Late;
use super::journal::{self, Place, State};
use super::warnings::Warnings;
use super::{Fault, aside, bind, bound, extensions, large, opclasses};
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// How long the swap waits for tables that stay and that others use.
const WAIT_SWAP: &str = "SET LOCAL lock_timeout = '10s'";
/// The way back has to succeed.
const WAIT_BACK: &str = "SET LOCAL lock_timeout = '60s'";

/// What goes is used by whoever began before the swap and has not ended yet: the caller waits for them.
const WAIT_DROP: &str = "SET lock_timeout = '5s'";

/// What an attempt staged.
pub(super) struct StagedSchemas {
    target: Target,
    place: Place,
    /// The attempt's transaction, in the process that staged it.
    held: Mutex<Option<(Session, Late)>>,
    /// It was staged by this very value, so that nothing there means that it is lost.
    expected: bool,
}

/// What an attempt of that name swapped, maybe in another process.
pub(in super::super) fn staged(target: &Target, attempt: &AttemptId) -> Box<dyn Staged> {
    Box::new(StagedSchemas {
        target: target.clone(),
        place: Place::new(attempt),
        held: Mutex::new(None),
        expected: false,
    })
}

impl StagedSchemas {
    pub fn held(target: Target, place: Place, session: Session, late: Late) -> Self {
        Self { target, place, held: Mutex::new(Some((session, late))), expected: true }
    }

    async fn swap_in(&self) -> Result<(), Fault> {
        let mut held = self.held.lock().await;
        if let Some((mut session, late)) = held.take() {
            match commit(&mut session, &self.place, &late).await {
                Ok(()) => {
                    session.close().await;
                    return Ok(());
                }
                Err(fault) if !session.is_broken() => {
                    // It may be tried again.
                    *held = Some((session, late));
                    return Err(fault);
                }
                // Lost in the middle: the journal says which side of the commit it was.
                Err(fault) => {
                    tracing::warn!(?fault, "the connection was lost while it swapped");
                    drop(session);
                }
            }
        }
        let (mut session, _) = journal::open(&self.target, &self.place).await?;
        let state = self.place.state(&mut session).await?;
        session.close().await;
        match state {
            State::Swapped => Ok(()),
            State::Nothing | State::Finishing if !self.expected => Ok(()),
            _ => Err(Fault::Text("what was staged is gone; nothing was changed".to_owned())),
        }
    }
}

/// Commits the attempt's transaction, with the tables that stay.
async fn commit(session: &mut Session, place: &Place, late: &Late) -> Result<(), Fault> {
    session.run("SAVEPOINT swap").await?;
    let moved = async {
        session.run(WAIT_SWAP).await?;
        bind::move_over(session, place).await?;
        // What it has to say was told when it was tried.
        late.make(session, place, &mut Warnings::default()).await?;
        place.set(session, State::Swapped).await
    }
    .await;
    match moved {
        Ok(()) => Ok(session.run("COMMIT").await?),
        Err(fault) => {
            if !session.is_broken() {
                session.run("ROLLBACK TO SAVEPOINT swap").await?;
            }
            Err(fault.at("nothing was changed"))
        }
    }
}

/// Puts back what an attempt swapped, as far as it came.
pub(super) async fn roll_back(target: &Target, place: &Place) -> Result<(), Fault> {
    let (mut session, _) = journal::open(target, place).await?;
    match place.state(&mut session).await? {
        State::Nothing => {
            session.close().await;
            return Ok(());
        }
        State::Swapped => {
            session.run("BEGIN").await?;
            session.run(WAIT_BACK).await?;
            put_back(&mut session, place).await?;
            place.set(&mut session, State::RolledBack).await?;
            session.run("COMMIT").await?;
        }
        State::RolledBack => {}
        State::Finishing => {
            drop_kept(&mut session, place).await?;
            session.close().await;
            return Err(Fault::Text(
                "the restore was complete and its old tables were being dropped; that was finished"
                    .to_owned(),
            ));
        }
    }
    session.run(WAIT_DROP).await?;
    large::drop_new(&mut session, place).await?;
    for swapped in place.schemas(&mut session).await? {
        aside::drop(&mut session, &place.dropped(swapped.number)).await?;
    }
    place.drop(&mut session).await?;
    session.close().await;
    Ok(())
}

async fn put_back(session: &mut Session, place: &Place) -> Result<(), Fault> {
    let schemas = place.schemas(session).await?;
    let names: Vec<String> = schemas.iter().map(|swapped| swapped.name.clone()).collect();
    bound::silence(session, &names).await?;
    large::put_back(session, place).await?;
    bind::move_back(session, place).await?;
    for swapped in &schemas {
        if aside::exists(session, &swapped.name).await? {
            aside::rename(session, &swapped.name, &place.dropped(swapped.number)).await?;
        }
        if swapped.replaces {
            aside::rename(session, &place.kept(swapped.number), &swapped.name).await?;
        }
    }
    extensions::put_back(session, place).await?;
    let away: Vec<String> = schemas.iter().map(|swapped| place.dropped(swapped.number)).collect();
    opclasses::put_back(session, place, &away).await?;
    bound::again(session, place, &away, false).await?;
    bound::put_back(session, place).await
}

/// Drops what was put aside; the journal goes last, so that whoever comes next knows what the rest is.
async fn drop_kept(session: &mut Session, place: &Place) -> Result<(), Fault> {
    session.run(WAIT_DROP).await?;
    for swapped in place.schemas(session).await? {
        aside::drop(session, &place.kept(swapped.number)).await?;
    }
    place.drop(session).await
}

#[async_trait]
impl Staged for StagedSchemas {
    async fn swap(&self) -> Result<(), RestoreError> {
        let result = self.swap_in().await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "swapping the schemas"))?)
    }

    async fn roll_back(&self) -> Result<(), RestoreError> {
        if let Some((mut session, _)) = self.held.lock().await.take()
            && !session.is_broken()
            && session.run("ROLLBACK").await.is_ok()
        {
            session.close().await;
        }
        let result = roll_back(&self.target, &self.place).await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "putting the old schemas back"))?)
    }

    async fn finish(&self) -> Result<(), RestoreError> {
        let finish = async {
            let (mut session, _) = journal::open(&self.target, &self.place).await?;
            match self.place.state(&mut session).await? {
                State::Nothing => {}
                State::Swapped | State::Finishing => {
                    self.place.set(&mut session, State::Finishing).await?;
                    drop_kept(&mut session, &self.place).await?;
                }
                State::RolledBack => {
                    return Err(Fault::Text(
                        "the restored schemas are not in place, so the old ones are not dropped"
                            .to_owned(),
                    ));
                }
            }
            session.close().await;
            Ok(())
        };
        let result: Result<(), Fault> = finish.await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "dropping the old schemas"))?)
    }
}
