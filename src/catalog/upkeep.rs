//! What is done to the tables from time to time: old jobs are forgotten, and what the portal's own tables
//! are still to be told is found.

use jiff::Timestamp;
use uuid::Uuid;

use super::db::{Columns, to_number};
use super::{ArchiveRecord, Catalog, CatalogError, archives, jobs};
use crate::jobs::Job;

/// What the portal's audit trail says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing = 0,
    Start = 1,
    End = 2,
}

/// How many rows are looked at together.
const BATCH: i64 = 200;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Upkeep<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Upkeep<'_> {
    /// Forgets jobs that ended before `before`, but for the newest of each kind, tenant and dump, and those
    /// whose leavings are still to be cleaned. Returns how many.
    pub(crate) async fn forget_jobs(&self, before: Timestamp) -> Result<u64, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let mut forgotten = 0;
                let mut after = String::new();
                loop {
                    // MySQL deletes nothing by a subquery on the same table, hence two steps.
                    let sql = db.sql(
                        "select id from portal_backup_jobs where id > ? and unclean = 0 \
                         and state in ('succeeded', 'failed', 'cancelled') and finished_on < ? \
                         and exists (select 1 from portal_backup_jobs newer \
                             where newer.kind = portal_backup_jobs.kind \
                             and newer.tenant_id = portal_backup_jobs.tenant_id \
                             and newer.dump = portal_backup_jobs.dump \
                             and newer.created_on > portal_backup_jobs.created_on) \
                         and not exists (select 1 from portal_backup_schedules \
                             where last_job = portal_backup_jobs.id) \
                         order by id limit ?",
                    );
                    let rows = sqlx::query(sql)
                        .bind(after.clone())
                        .bind(before.as_millisecond())
                        .bind(BATCH)
                        .fetch_all(&db.pool)
                        .await?;
                    if rows.is_empty() {
                        return Ok(forgotten);
                    }
                    for row in &rows {
                        after = Columns(row).text("id")?;
                        let sql =
                            db.sql("delete from portal_backup_jobs where id = ? and unclean = 0");
                        let done = sqlx::query(sql).bind(after.clone()).execute(&db.pool).await?;
                        forgotten += done.rows_affected();
                    }
                }
            })
            .await
    }

    /// Archives that the portal's table does not show as they are, with how many changes that are.
    pub(crate) async fn stale_archives(&self) -> Result<Vec<(ArchiveRecord, i64)>, CatalogError> {
        self.catalog
            .run(|db| async move {
                let columns = archives::COLUMNS;
                let sql = db.sql(&format!(
                    "select {columns}, stale from portal_backup_archives where stale > 0 \
                     order by created_on limit ?"
                ));
                let rows = sqlx::query(sql).bind(BATCH).fetch_all(&db.pool).await?;
                rows.iter()
                    .map(|row| Ok((archives::read(row)?, Columns(row).number("stale")?)))
                    .collect()
            })
            .await
    }

    /// The portal's table shows an archive, unless it has changed again since `stale` was read.
    pub(crate) async fn archive_told(&self, id: Uuid, stale: i64) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db
                    .sql("update portal_backup_archives set stale = 0 where id = ? and stale = ?");
                sqlx::query(sql).bind(id.to_string()).bind(stale).execute(&db.pool).await?;
                Ok(())
            })
            .await
    }

    /// The portal's table lacks an archive, or shows it wrongly: to be told again.
    pub(crate) async fn archive_untold(&self, id: Uuid) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql =
                    db.sql("update portal_backup_archives set stale = stale + 1 where id = ?");
                sqlx::query(sql).bind(id.to_string()).execute(&db.pool).await?;
                Ok(())
            })
            .await
    }

    /// The id of every archive, and whether it was removed, is missing, was made here, and is not told yet.
    pub(crate) async fn archive_states(&self) -> Result<Vec<ArchiveState>, CatalogError> {
        self.catalog
            .run(|db| async move {
                let rows = sqlx::query(
                    "select id, case when removed_on is null then 0 else 1 end as removed, \
                     case when missing_since is null then 0 else 1 end as missing, \
                     case when job_id is null then 0 else 1 end as made_here, stale \
                     from portal_backup_archives",
                )
                .fetch_all(&db.pool)
                .await?;
                rows.iter()
                    .map(|row| {
                        let row = Columns(row);
                        Ok(ArchiveState {
                            id: row.id("id")?,
                            removed: row.flag("removed")?,
                            missing: row.flag("missing")?,
                            made_here: row.flag("made_here")?,
                            stale: row.number("stale")? > 0,
                        })
                    })
                    .collect()
            })
            .await
    }

    /// How many archives were made between two moments, removed ones included.
    pub(crate) async fn count_archives(
        &self,
        tenant_id: Option<i64>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let whose =
                    if tenant_id.is_some() { " and tenant_id = ? and dump = 0" } else { "" };
                let sql = db.sql(&format!(
                    "select count(*) as total from portal_backup_archives \
                     where created_on >= ? and created_on <= ?{whose}"
                ));
                let query = sqlx::query(sql).bind(from.as_millisecond()).bind(to.as_millisecond());
                let query = match tenant_id {
                    Some(tenant) => query.bind(tenant),
                    None => query,
                };
                Columns(&query.fetch_one(&db.pool).await?).count("total")
            })
            .await
    }

    /// Backups and restores of which the audit trail lacks the start or the end.
    pub(crate) async fn untold_jobs(&self) -> Result<Vec<(Job, Told)>, CatalogError> {
        let lacking = "told = 0 or (told = 1 and state in ('succeeded', 'failed', 'cancelled'))";
        self.audited(lacking, Vec::new()).await
    }

    /// Those of which something was claimed to be written there, and that began and ended between two moments.
    pub(crate) async fn told_jobs(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Job, Told)>, CatalogError> {
        let between = "told > 0 and created_on > ? and coalesce(finished_on, created_on) < ?";
        self.audited(between, vec![from.as_millisecond(), to.as_millisecond()]).await
    }

    async fn audited(
        &self,
        condition: &'static str,
        values: Vec<i64>,
    ) -> Result<Vec<(Job, Told)>, CatalogError> {
        self.catalog
            .run(move |db| {
                let values = values.clone();
                async move {
                    let columns = jobs::COLUMNS;
                    let sql = db.sql(&format!(
                        "select {columns}, told from portal_backup_jobs \
                         where kind in ('backup', 'restore') and ({condition}) \
                         order by created_on limit ?"
                    ));
                    let query = values.into_iter().fold(sqlx::query(sql), sqlx::query::Query::bind);
                    let rows = query.bind(BATCH).fetch_all(&db.pool).await?;
                    rows.iter()
                        .map(|row| {
                            let told = match Columns(row).number("told")? {
                                0 => Told::Nothing,
                                1 => Told::Start,
                                _ => Told::End,
                            };
                            Ok((jobs::read(row)?.job, told))
                        })
                        .collect()
                }
            })
            .await
    }

    /// Changes what the audit trail says of a job. False: another process was quicker.
    pub(crate) async fn job_told(
        &self,
        id: Uuid,
        from: Told,
        to: Told,
    ) -> Result<bool, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql =
                    db.sql("update portal_backup_jobs set told = ? where id = ? and told = ?");
                let done = sqlx::query(sql)
                    .bind(to_number(to as u64))
                    .bind(id.to_string())
                    .bind(to_number(from as u64))
                    .execute(&db.pool)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
            .await
    }
}

/// An archive as far as the portal's table is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveState {
    pub(crate) id: Uuid,
    pub(crate) removed: bool,
    pub(crate) missing: bool,
    pub(crate) made_here: bool,
    pub(crate) stale: bool,
}

impl ArchiveState {
    /// Whether the portal's table is to call it removed: of what another service made, that it was not found
    /// does not suffice.
    pub(crate) fn gone(&self) -> bool {
        self.removed || (self.missing && self.made_here)
    }
}
