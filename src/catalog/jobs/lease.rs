//! Leases: renewed by heartbeats, ended when their owner is known to be dead.

use std::time::Duration;

use uuid::Uuid;

use super::super::CatalogError;
use super::super::db::{Columns, to_json, to_number};
use super::{Jobs, milliseconds};
use crate::jobs::ProgressView;

/// What a heartbeat brings up.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    pub(crate) lease: Duration,
    pub(crate) progress: ProgressView,
    /// None: unchanged since the last beat. The number is that of the omitted ones.
    pub(crate) warnings: Option<(Vec<String>, u64)>,
}

impl Jobs<'_> {
    /// Renews the lease. None: the job is lost. Else whether its cancellation was requested.
    pub(crate) async fn beat(
        &self,
        id: Uuid,
        fence: i64,
        beat: Beat,
    ) -> Result<Option<bool>, CatalogError> {
        self.0
            .run(move |db| {
                let beat = beat.clone();
                async move {
                    let more = match &beat.warnings {
                        Some(_) => ", warnings = ?, warnings_omitted = ?",
                        None => "",
                    };
                    let sql = db.sql(&format!(
                        "update portal_backup_jobs set lease_until = {{now}} + ?, progress = ?{more} \
                         where id = ? and fence = ? and state = 'running'"
                    ));
                    let mut query = sqlx::query(sql)
                        .bind(milliseconds(beat.lease))
                        .bind(to_json(&beat.progress)?);
                    if let Some((warnings, omitted)) = &beat.warnings {
                        query = query.bind(to_json(warnings)?).bind(to_number(*omitted));
                    }
                    let renewed = query.bind(id.to_string()).bind(fence).execute(&db.pool).await?;
                    if renewed.rows_affected() == 0 {
                        return Ok(None);
                    }
                    let sql =
                        db.sql("select cancel_requested from portal_backup_jobs where id = ? and fence = ?");
                    let row = sqlx::query(sql)
                        .bind(id.to_string())
                        .bind(fence)
                        .fetch_optional(&db.pool)
                        .await?;
                    row.map(|row| Columns(&row).flag("cancel_requested")).transpose()
                }
            })
            .await
    }

    /// The jobs that run by a lease that has not run out: their ids, fences and owners.
    pub(crate) async fn owners(&self) -> Result<Vec<(Uuid, i64, String)>, CatalogError> {
        self.0
            .run(|db| async move {
                let sql = db.sql(
                    "select id, fence, owner from portal_backup_jobs where state = 'running' \
                     and lease_until >= {now} and owner is not null",
                );
                let rows = sqlx::query(sql).fetch_all(&db.pool).await?;
                rows.iter()
                    .map(|row| {
                        let row = Columns(row);
                        Ok((row.id("id")?, row.number("fence")?, row.text("owner")?))
                    })
                    .collect()
            })
            .await
    }

    /// Ends the lease of a job that nobody runs any more. False: somebody else was quicker.
    pub(crate) async fn end_lease(&self, id: Uuid, fence: i64) -> Result<bool, CatalogError> {
        self.0
            .run(move |db| async move {
                let sql = db.sql(
                    "update portal_backup_jobs set lease_until = 0 \
                     where id = ? and fence = ? and state = 'running'",
                );
                let query = sqlx::query(sql).bind(id.to_string()).bind(fence);
                Ok(query.execute(&db.pool).await?.rows_affected() == 1)
            })
            .await
    }
}
