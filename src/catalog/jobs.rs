//! The table of jobs. Every write of a worker checks its fence; every time is the database's.

mod lease;
mod outcome;
mod replace;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, Db, is_unique_violation, to_json, to_number, to_word};
use super::{Catalog, CatalogError};
use crate::jobs::{Job, JobFilter, JobKind, JobState, NewJob, ProgressView};

pub(crate) use lease::Beat;
pub(crate) use outcome::{Outcome, Publication};
pub(crate) use replace::Replaced;

pub(super) const COLUMNS: &str = "id, kind, state, tenant_id, dump, request, attempt, fence, \
    cancel_requested, progress, warnings, warnings_omitted, remains, archive_id, error, \
    created_on, started_on, finished_on, \
    case when state = 'running' and lease_until < {now} then 1 else 0 end as abandoned";

/// What an attempt may have left somewhere, in its handler's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remains {
    /// Tells attempts apart: unlike the attempt's number, a fence is never used twice.
    pub(crate) fence: i64,
    pub(crate) value: serde_json::Value,
}

/// A job, and what only workers need to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) job: Job,
    pub(crate) fence: i64,
    pub(crate) remains: Vec<Remains>,
}

/// The jobs of a catalog.
#[derive(Clone, Copy)]
pub(crate) struct Jobs<'c>(pub(crate) &'c Catalog);

impl Jobs<'_> {
    /// Inserts a queued job. None when another holds its exclusive key.
    pub(crate) async fn insert(&self, id: Uuid, new: NewJob) -> Result<bool, CatalogError> {
        self.0
            .run(move |db| {
                let new = new.clone();
                async move {
                    let mut connection = db.pool.acquire().await?;
                    match insert(&mut connection, &db, id, &new).await {
                        Ok(()) => Ok(true),
                        Err(CatalogError::Database(error)) if is_unique_violation(&error) => {
                            Ok(false)
                        }
                        Err(error) => Err(error),
                    }
                }
            })
            .await
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<Option<Row>, CatalogError> {
        self.0.run(move |db| async move { get(&db, id).await }).await
    }

    /// The job that holds an exclusive key.
    pub(crate) async fn holder(&self, exclusive: String) -> Result<Option<Row>, CatalogError> {
        self.0
            .run(move |db| {
                let exclusive = exclusive.clone();
                async move {
                    let sql = db.sql(&format!(
                        "select {COLUMNS} from portal_backup_jobs where exclusive_key = ?"
                    ));
                    let row = sqlx::query(sql).bind(exclusive).fetch_optional(&db.pool).await?;
                    row.as_ref().map(read).transpose()
                }
            })
            .await
    }

    /// Newest first; with `running_first` those that run come first, then those that wait.
    pub(crate) async fn list(
        &self,
        filter: JobFilter,
        running_first: bool,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Row>, CatalogError> {
        self.0
            .run(move |db| async move {
                let (chosen, words, numbers) = choose(filter)?;
                let order = if running_first {
                    "case state when 'running' then 0 when 'queued' then 1 else 2 end, "
                } else {
                    ""
                };
                // The long columns are read only for the few rows that are wanted; MySQL knows no
                // limit within `in (…)`, hence the join.
                let sql = db.sql(&format!(
                    "select {COLUMNS} from portal_backup_jobs join (select id as chosen from portal_backup_jobs where {chosen} \
                     order by {order}created_on desc, id desc limit ? offset ?) c on id = chosen \
                     order by {order}created_on desc, id desc"
                ));
                let query = words.into_iter().fold(sqlx::query(sql), sqlx::query::Query::bind);
                let query = numbers.into_iter().fold(query, sqlx::query::Query::bind);
                let rows = query
                    .bind(i64::from(limit))
                    .bind(to_number(offset))
                    .fetch_all(&db.pool)
                    .await?;
                rows.iter().map(read).collect()
            })
            .await
    }

    /// How many jobs of each kind are in each state.
    pub(crate) async fn counts(&self) -> Result<Vec<(JobKind, JobState, u64)>, CatalogError> {
        self.0
            .run(|db| async move {
                let rows = sqlx::query(
                    "select kind, state, count(*) as total from portal_backup_jobs group by kind, state",
                )
                .fetch_all(&db.pool)
                .await?;
                let read = |row: &AnyRow| {
                    let row = Columns(row);
                    Ok((row.word("kind")?, row.word("state")?, row.count("total")?))
                };
                rows.iter().map(read).collect()
            })
            .await
    }

    pub(crate) async fn count(&self, filter: JobFilter) -> Result<u64, CatalogError> {
        self.0
            .run(move |db| async move {
                let (chosen, words, numbers) = choose(filter)?;
                let sql = db.sql(&format!(
                    "select count(*) as total from portal_backup_jobs where {chosen}"
                ));
                let query = words.into_iter().fold(sqlx::query(sql), sqlx::query::Query::bind);
                let query = numbers.into_iter().fold(query, sqlx::query::Query::bind);
                Columns(&query.fetch_one(&db.pool).await?).count("total")
            })
            .await
    }

    /// Takes the oldest job that nobody runs, or only `only`, or only one of `kinds` if there are some. `owner` names the
    /// worker, for people.
    pub(crate) async fn claim(
        &self,
        owner: String,
        lease: Duration,
        only: Option<Uuid>,
        kinds: &'static [JobKind],
    ) -> Result<Option<Row>, CatalogError> {
        const FREE: &str = "(state = 'queued' or (state = 'running' and lease_until < {now}))";
        self.0
            .run(move |db| {
                let owner = owner.clone();
                async move {
                    let mut mine = String::new();
                    if !kinds.is_empty() {
                        mine += &format!(" and kind in ({})", vec!["?"; kinds.len()].join(", "));
                    }
                    if only.is_some() {
                        mine += " and id = ?";
                    }
                    let sql = db.sql(&format!(
                        "select id, fence from portal_backup_jobs where {FREE}{mine} \
                         order by created_on, id limit 16"
                    ));
                    let mut query = sqlx::query(sql);
                    for kind in kinds {
                        query = query.bind(to_word(kind)?);
                    }
                    let query = match only {
                        Some(id) => query.bind(id.to_string()),
                        None => query,
                    };
                    for free in query.fetch_all(&db.pool).await? {
                        let id = Columns(&free).id("id")?;
                        let fence = Columns(&free).number("fence")?;
                        let sql = db.sql(&format!(
                            "update portal_backup_jobs set state = 'running', owner = ?, fence = fence + 1, \
                             attempt = attempt + 1, lease_until = {{now}} + ?, \
                             started_on = coalesce(started_on, {{now}}), \
                             warnings = '[]', warnings_omitted = 0 \
                             where id = ? and fence = ? and {FREE}"
                        ));
                        let taken = sqlx::query(sql)
                            .bind(owner.clone())
                            .bind(milliseconds(lease))
                            .bind(id.to_string())
                            .bind(fence)
                            .execute(&db.pool)
                            .await?;
                        // Otherwise another worker was quicker.
                        if taken.rows_affected() == 1 {
                            let row = get(&db, id).await?;
                            return Ok(row.filter(|row| row.fence == fence + 1));
                        }
                    }
                    Ok(None)
                }
            })
            .await
    }

    /// Changes what a job keeps of its request, until somebody wants it cancelled or it has ended.
    pub(crate) async fn set_request(
        &self,
        id: Uuid,
        request: serde_json::Value,
    ) -> Result<(), CatalogError> {
        self.0
            .run(move |db| {
                let request = request.clone();
                async move {
                    let sql = db.sql(
                        "update portal_backup_jobs set request = ? where id = ? \
                         and cancel_requested = 0 and state in ('queued', 'running')",
                    );
                    let query = sqlx::query(sql).bind(to_json(&request)?).bind(id.to_string());
                    query.execute(&db.pool).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Ends a job that nobody runs, or notes the wish for the worker that runs it.
    pub(crate) async fn request_cancel(&self, id: Uuid) -> Result<Option<Row>, CatalogError> {
        self.0
            .run(move |db| async move {
                // Between the two it may be claimed or given back, so both may miss it once.
                for _ in 0..3 {
                    for sql in [
                        "update portal_backup_jobs set state = 'cancelled', cancel_requested = 1, \
                         finished_on = {now}, exclusive_key = null, owner = null, \
                         lease_until = null, fence = fence + 1 where id = ? and \
                         (state = 'queued' or (state = 'running' and lease_until < {now}))",
                        "update portal_backup_jobs set cancel_requested = 1 where id = ? and state = 'running'",
                    ] {
                        let result =
                            sqlx::query(db.sql(sql)).bind(id.to_string()).execute(&db.pool).await?;
                        if result.rows_affected() == 1 {
                            return get(&db, id).await;
                        }
                    }
                    let row = get(&db, id).await?;
                    if row.as_ref().is_none_or(|row| row.job.state.is_finished()) {
                        return Ok(row);
                    }
                }
                get(&db, id).await
            })
            .await
    }
}

type Choice = (String, Vec<String>, Vec<i64>);

/// The condition, then its parameters: words come before numbers.
fn choose(filter: JobFilter) -> Result<Choice, CatalogError> {
    let mut chosen = "1 = 1".to_owned();
    let mut words = Vec::new();
    let mut numbers = Vec::new();
    if let Some(kind) = filter.kind {
        chosen.push_str(" and kind = ?");
        words.push(to_word(&kind)?);
    }
    if let Some(tenant_id) = filter.tenant_id {
        // A dump is of all tenants.
        chosen.push_str(" and (tenant_id = ? or dump = 1)");
        numbers.push(tenant_id);
    }
    if let Some(dump) = filter.dump {
        chosen.push_str(" and dump = ?");
        numbers.push(dump.into());
    }
    if let Some(state) = filter.state {
        // A running job whose lease has run out is told as queued, so it is found as such.
        match state {
            JobState::Queued => chosen.push_str(
                " and (state = 'queued' or (state = 'running' and lease_until <= {now}))",
            ),
            JobState::Running => chosen.push_str(" and state = 'running' and lease_until > {now}"),
            finished => {
                chosen.push_str(" and state = ?");
                words.push(to_word(&finished)?);
            }
        }
    }
    if filter.unfinished {
        chosen.push_str(" and state in ('queued', 'running')");
    }
    Ok((chosen, words, numbers))
}

/// Inserts within a caller's connection or transaction.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    db: &Db,
    id: Uuid,
    new: &NewJob,
) -> Result<(), CatalogError> {
    let sql = db.sql(
        "insert into portal_backup_jobs (id, kind, state, tenant_id, dump, request, \
         exclusive_key, attempt, fence, cancel_requested, progress, warnings, \
         warnings_omitted, unclean, told, archive_id, created_on) \
         values (?, ?, 'queued', ?, ?, ?, ?, 0, 0, 0, ?, '[]', 0, 0, 0, ?, {now})",
    );
    sqlx::query(sql)
        .bind(id.to_string())
        .bind(to_word(&new.kind)?)
        .bind(new.tenant_id)
        .bind(i64::from(new.dump))
        .bind(to_json(&new.request)?)
        .bind(new.exclusive.clone())
        .bind(to_json(&ProgressView::default())?)
        .bind(new.archive_id.map(|id| id.to_string()))
        .execute(connection)
        .await?;
    Ok(())
}

async fn get(db: &Db, id: Uuid) -> Result<Option<Row>, CatalogError> {
    let sql = db.sql(&format!("select {COLUMNS} from portal_backup_jobs where id = ?"));
    let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&db.pool).await?;
    row.as_ref().map(read).transpose()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

pub(super) fn read(row: &AnyRow) -> Result<Row, CatalogError> {
    let row = Columns(row);
    let state = if row.flag("abandoned")? { JobState::Queued } else { row.word("state")? };
    let remains = match row.optional_text("remains")? {
        Some(_) => row.json("remains")?,
        None => Vec::new(),
    };
    let job = Job {
        id: row.id("id")?,
        kind: row.word("kind")?,
        state,
        tenant_id: row.number("tenant_id")?,
        dump: row.flag("dump")?,
        request: row.json("request")?,
        attempt: u32::try_from(row.number("attempt")?).unwrap_or(u32::MAX),
        progress: row.json("progress")?,
        archive_id: row.optional_id("archive_id")?,
        error: row.optional_text("error")?,
        warnings: row.json("warnings")?,
        warnings_omitted: row.count("warnings_omitted")?,
        created_on: row.time("created_on")?,
        started_on: row.optional_time("started_on")?,
        finished_on: row.optional_time("finished_on")?,
        cancel_requested: row.flag("cancel_requested")?,
    };
    Ok(Row { job, fence: row.number("fence")?, remains })
}
