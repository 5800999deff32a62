//! The swap, its undoing and its end.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::{Error, Opts};

use super::super::connect::Session;
use super::super::objects::Object;
use super::super::render::identifier;
use super::super::scheme::WRONG_MERGE;
use super::journal::{self, Found, Journal, State};
use super::place::{Place, qualified};
use super::plan::{self, Plan, Whereabouts};
use super::{Fault, admin, objects, sequences, triggers};
use crate::source::database::DatabaseError;
use crate::source::database::mysql::Target;
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// Putting the old state back must not fail because somebody reads a table for a while.
const WAIT_BACK: Duration = Duration::from_secs(300);

/// What an attempt staged.
pub(super) struct StagedTables {
    pub target: Target,
    pub place: Place,
    /// Whether there must be something.
    pub expected: bool,
}

/// What an attempt left behind, as far as its name tells.
pub(in super::super) async fn staged(
    target: &Target,
    attempt: &AttemptId,
) -> Result<Box<dyn Staged>, DatabaseError> {
    let live = target.database();
    let place = Place::new(live, attempt);
    Ok(Box::new(StagedTables { target: target.clone(), place, expected: false }))
}

#[async_trait]
impl Staged for StagedTables {
    async fn swap(&self) -> Result<(), RestoreError> {
        let result = self.swap_in().await;
        Ok(result
            .map_err(|fault| fault.of(&self.target.name, "putting the restored tables in place"))?)
    }

    async fn settle(&self) -> Result<Vec<String>, RestoreError> {
        let result = self.settle_in().await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "making the views that waited"))?)
    }

    async fn roll_back(&self) -> Result<(), RestoreError> {
        let result = roll_back(&self.target.opts, &self.place).await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "putting the old tables back"))?)
    }

    async fn finish(&self) -> Result<(), RestoreError> {
        let result = self.drop_kept().await;
        Ok(result.map_err(|fault| fault.of(&self.target.name, "dropping the old tables"))?)
    }
}

impl StagedTables {
    async fn swap_in(&self) -> Result<(), Fault> {
        let (mut session, place) = admin::open(&self.target.opts, &self.place).await?;
        let place = &place;
        let journal = Journal(place);
        let plan = match journal.find(&mut session).await? {
            Found::Nothing | Found::At(State::Finishing) if !self.expected => return Ok(()),
            Found::At(State::Swapped) => return Ok(()),
            Found::At(State::Swapping | State::Making) => journal.plan(&mut session).await?,
            Found::At(State::Ready) => {
                let plan = plan::make(&mut session, place).await?;
                journal.set_plan(&mut session, &plan).await?;
                journal.set(&mut session, State::Swapping).await?;
                plan
            }
            _ => return Err(Fault::Text("what was staged is incomplete or gone".to_owned())),
        };
        let wait = self.target.lock_wait;
        admin::wait_for_tables(&mut session, wait).await?;
        if let Err(fault) = rename(&mut session, place, &plan).await {
            // On a connection that still serves, it is put right at once; else by whoever rolls back.
            return Err(match take_back(&mut session, place, &plan).await {
                Ok(()) => locked(fault, wait),
                Err(error) => {
                    tracing::warn!(?error, "the database waits to be rolled back");
                    fault
                }
            });
        }
        admin::wait_for_tables(&mut session, WAIT_BACK).await?;
        sequences::settle(&mut session, place).await?;
        journal.set(&mut session, State::Making).await?;
        objects::put(&mut session, place, &plan).await?;
        attach(&mut session, place, &plan, &plan.new_triggers, &place.kept).await?;
        journal.set(&mut session, State::Swapped).await?;
        session.close().await;
        Ok(())
    }

    async fn settle_in(&self) -> Result<Vec<String>, Fault> {
        let (mut session, place) = admin::open(&self.target.opts, &self.place).await?;
        let mut warnings = Vec::new();
        if let Found::At(State::Swapped) = Journal(&place).find(&mut session).await? {
            warnings.extend(objects::settle(&mut session, &place).await?);
        }
        session.close().await;
        Ok(warnings)
    }

    async fn drop_kept(&self) -> Result<(), Fault> {
        let (mut session, place) = admin::open(&self.target.opts, &self.place).await?;
        let place = &place;
        let journal = Journal(place);
        match journal.find(&mut session).await? {
            Found::Nothing => return Ok(()),
            Found::At(State::Swapped) => journal.set(&mut session, State::Finishing).await?,
            // An earlier attempt was ended between dropping the journal and dropping its schema.
            Found::Bare | Found::At(State::Finishing) => {}
            _ => {
                return Err(Fault::Text(
                    "the restored tables are not in place, so the old ones are not dropped"
                        .to_owned(),
                ));
            }
        }
        admin::wait_for_tables(&mut session, WAIT_BACK).await?;
        drop_schema(&mut session, &place.kept).await?;
        drop_staging(&mut session, place).await?;
        session.close().await;
        Ok(())
    }
}

/// Puts back what an attempt swapped, as far as it came, and drops what it staged.
pub(super) async fn roll_back(opts: &Opts, place: &Place) -> Result<(), Fault> {
    let (mut session, place) = admin::open(opts, place).await?;
    let place = &place;
    admin::wait_for_tables(&mut session, WAIT_BACK).await?;
    let journal = Journal(place);
    match journal.find(&mut session).await? {
        Found::Nothing => return Ok(()),
        Found::Bare | Found::At(State::Staging | State::Ready | State::RolledBack) => {}
        Found::At(state @ (State::Swapping | State::Making | State::Swapped)) => {
            let mut plan = journal.plan(&mut session).await?;
            rename_back(&mut session, place, &mut plan).await?;
            if state != State::Swapping {
                objects::put_back(&mut session, place, &plan).await?;
            }
            attach(&mut session, place, &plan, &plan.triggers, &place.live).await?;
            for key in &plan.unbound {
                key.ensure(&mut session).await?;
            }
            journal.set(&mut session, State::RolledBack).await?;
        }
        Found::At(State::Finishing) => {
            drop_schema(&mut session, &place.kept).await?;
            drop_staging(&mut session, place).await?;
            return Err(Fault::Text(
                "the restore was complete and its old tables were being dropped; that was finished"
                    .to_owned(),
            ));
        }
    }
    if !admin::tables(&mut session, &place.kept).await?.is_empty() {
        return Err(Fault::Text(format!("there are tables left in {}", place.kept)));
    }
    drop_schema(&mut session, &place.kept).await?;
    drop_staging(&mut session, place).await?;
    session.close().await;
    Ok(())
}

/// The way to the one RENAME, and that.
async fn rename(session: &mut Session, place: &Place, plan: &Plan) -> Result<(), Fault> {
    let at = Whereabouts::read(session, place).await?;
    for key in &plan.outward {
        if at.staging.contains(&key.table) {
            key.ensure(session).await?;
        }
    }
    let Some(statement) = plan.forward(place, &at) else {
        return Ok(());
    };
    if !plan.triggers.is_empty() || !plan.inward.is_empty() {
        let locked = lock(session, place, plan, &at).await?;
        let result = detach(session, place, plan).await;
        if locked {
            session.run("UNLOCK TABLES").await?;
        }
        result?;
    }
    Ok(session.run(&statement).await?)
}

/// Waits for everything at once, so that if somebody uses a table nothing was dropped yet. Says whether it locked.
async fn lock(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
    at: &Whereabouts,
) -> Result<bool, Error> {
    let moved = plan.tables.iter().filter(|table| table.replaces && at.live.contains(&table.name));
    let mut tables: Vec<String> = moved.map(|table| place.in_live(&table.name)).collect();
    tables.extend(plan.inward.iter().map(|key| qualified(&key.schema, &key.table)));
    tables.sort();
    tables.dedup();
    let list: Vec<_> = tables.iter().map(|table| format!("{table} WRITE")).collect();
    match session.run(&format!("LOCK TABLES {}", list.join(", "))).await {
        Ok(()) => Ok(true),
        // No right to lock, or a table that nobody can open: then not.
        Err(Error::Server(error)) if matches!(error.code, 1044 | 1142 | WRONG_MERGE) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn detach(session: &mut Session, place: &Place, plan: &Plan) -> Result<(), Error> {
    for trigger in &plan.triggers {
        triggers::drop(session, &place.live, &trigger.name).await?;
    }
    for key in &plan.inward {
        key.remove(session).await?;
    }
    Ok(())
}

/// Makes triggers, and the foreign keys of tables that stay, with the tables that are in place now. `had`: where the
/// tables are that the triggers were on.
async fn attach(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
    triggers: &[Object],
    had: &str,
) -> Result<(), Fault> {
    triggers::ensure(session, &place.live, triggers, had).await?;
    objects::set_collation(session, place, plan).await?;
    for key in &plan.inward {
        key.ensure(session).await?;
    }
    Ok(())
}

/// After a swap that changed nothing: as before, to be tried again.
async fn take_back(session: &mut Session, place: &Place, plan: &Plan) -> Result<(), Fault> {
    admin::wait_for_tables(session, WAIT_BACK).await?;
    attach(session, place, plan, &plan.triggers, &place.live).await?;
    for key in &plan.outward {
        key.remove(session).await?;
    }
    let at = Whereabouts::read(session, place).await?;
    if plan.back(place, &at).is_some() {
        return Err(Fault::Text("some tables were renamed".to_owned()));
    }
    Ok(Journal(place).set(session, State::Ready).await?)
}

async fn rename_back(session: &mut Session, place: &Place, plan: &mut Plan) -> Result<(), Fault> {
    let at = Whereabouts::read(session, place).await?;
    let Some(statement) = plan.back(place, &at) else {
        return Ok(());
    };
    let taken: Vec<&str> = plan.taken(&at).collect();
    let found = triggers::read(session, &place.live, |table| taken.contains(&table)).await?;
    let new: Vec<_> = found
        .iter()
        .filter(|trigger| {
            let mut known = plan.triggers.iter().chain(&plan.new_triggers).chain(&plan.old);
            !known.any(|known| known.is_of_place(trigger))
        })
        .cloned()
        .collect();
    if !new.is_empty() {
        // Somebody made them since the swap.
        plan.triggers.extend(new);
        Journal(place).set_plan(session, plan).await?;
    }
    for trigger in &found {
        triggers::drop(session, &place.live, &trigger.name).await?;
    }
    for key in &plan.inward {
        key.remove(session).await?;
    }
    Ok(session.run(&statement).await?)
}

async fn drop_schema(session: &mut Session, schema: &str) -> Result<(), Error> {
    session.run(&format!("DROP DATABASE IF EXISTS {}", identifier(schema))).await
}

/// The journal goes last, so that whoever comes next knows what the rest is.
async fn drop_staging(session: &mut Session, place: &Place) -> Result<(), Error> {
    for (name, kind) in admin::tables(session, &place.staging).await? {
        if name != journal::TABLE {
            let what = match kind.as_str() {
                "VIEW" => "VIEW",
                "SEQUENCE" => "SEQUENCE",
                _ => "TABLE",
            };
            session.run(&format!("DROP {what} IF EXISTS {}", place.in_staging(&name))).await?;
        }
    }
    drop_schema(session, &place.staging).await
}

/// Says what a timeout means.
pub(super) fn locked(fault: Fault, wait: Duration) -> Fault {
    match fault.code() {
        // Lock wait timeout, or the server's choice in a deadlock.
        1205 | 1213 => Fault::Text(format!(
            "a table was in use by another connection for more than {} s (an open transaction or a long statement); \
             nothing was changed",
            wait.as_secs().max(1)
        )),
        _ => fault,
    }
}
