//! Putting another object in the place of an archive's, while a job runs.

use uuid::Uuid;

use super::super::db::{to_json, to_number};
use super::super::{ArchiveRecord, CatalogError};
use super::Jobs;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    Done,
    /// The job is another worker's; nothing was written.
    Lost,
    /// The archive was removed, or lies elsewhere by now; nothing was written.
    Changed,
}

impl Jobs<'_> {
    /// Lets the record of an archive that lies at `from` say what `new` says of its object, in one transaction with
    /// the check that the job is still the caller's. After an error either may be the case.
    pub(crate) async fn replace_archive(
        &self,
        job: Uuid,
        fence: i64,
        from: String,
        new: ArchiveRecord,
    ) -> Result<Replaced, CatalogError> {
        let replaced = self
            .0
            .run(move |db| {
                let (from, new) = (from.clone(), new.clone());
                async move {
                    let mut transaction = db.pool.begin().await?;
                    // Also keeps others from claiming the job until this is decided.
                    let sql = db.sql(
                        "update portal_backup_jobs set attempt = attempt + 0 \
                         where id = ? and fence = ? and state = 'running'",
                    );
                    let ours = sqlx::query(sql).bind(job.to_string()).bind(fence);
                    if ours.execute(&mut *transaction).await?.rows_affected() == 0 {
                        transaction.rollback().await?;
                        return Ok(Replaced::Lost);
                    }
                    let sql = db.sql(
                        "update portal_backup_archives set stale = stale + 1, name = ?, \
                         storage_params = ?, url = ?, size_bytes = ?, sha256 = ?, verified_on = ?, \
                         missing_since = null where id = ? and url = ? and removed_on is null",
                    );
                    let update = sqlx::query(sql)
                        .bind(new.name)
                        .bind(to_json(&new.storage_params)?)
                        .bind(new.url)
                        .bind(to_number(new.size))
                        .bind(new.sha256)
                        .bind(new.verified_on.map(jiff::Timestamp::as_millisecond))
                        .bind(new.id.to_string())
                        .bind(from);
                    if update.execute(&mut *transaction).await?.rows_affected() == 0 {
                        transaction.rollback().await?;
                        return Ok(Replaced::Changed);
                    }
                    transaction.commit().await?;
                    Ok(Replaced::Done)
                }
            })
            .await;
        self.0.archives_changed();
        replaced
    }
}
