//! The writes that end a run, and those about what a run leaves behind.

use uuid::Uuid;

use super::super::db::{Columns, Db, to_json, to_number, to_word};
use super::super::{CatalogError, archives, copies};
use super::{COLUMNS, Jobs, Remains, Row, read};
use crate::jobs::{Finished, JobState, ProgressView};

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Succeeded(Box<Finished>),
    Failed(String),
    Cancelled,
    /// Given back to the queue, as if it had not been begun.
    Requeued,
}

/// What is written at the end of a run.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) outcome: Outcome,
    pub(crate) attempt: u32,
    pub(crate) progress: ProgressView,
    pub(crate) warnings: (Vec<String>, u64),
    /// What is still to be cleaned.
    pub(crate) remains: Vec<Remains>,
}

impl Jobs<'_> {
    /// Publishes the end of a run in one transaction. False: the fence is another's, nothing was written.
    /// A second publication by the same run, whose first answer was lost, is true.
    pub(crate) async fn publish(
        &self,
        id: Uuid,
        fence: i64,
        publication: Publication,
    ) -> Result<bool, CatalogError> {
        let published = self
            .0
            .run(move |db| {
                let publication = publication.clone();
                async move { publish(&db, id, fence, publication).await }
            })
            .await;
        self.0.archives_changed();
        published
    }

    /// Writes down what a run may leave. False: the job is lost.
    pub(crate) async fn save_remains(
        &self,
        id: Uuid,
        fence: i64,
        remains: Vec<Remains>,
    ) -> Result<bool, CatalogError> {
        self.set_remains(id, fence, remains, "state = 'running'").await
    }

    /// The same for a finished job whose remains were cleaned later.
    pub(crate) async fn settle_remains(
        &self,
        id: Uuid,
        fence: i64,
        remains: Vec<Remains>,
    ) -> Result<bool, CatalogError> {
        self.set_remains(id, fence, remains, "state in ('succeeded', 'failed', 'cancelled')").await
    }

    async fn set_remains(
        &self,
        id: Uuid,
        fence: i64,
        remains: Vec<Remains>,
        condition: &'static str,
    ) -> Result<bool, CatalogError> {
        self.0
            .run(move |db| {
                let remains = remains.clone();
                async move {
                    let sql = db.sql(&format!(
                        "update portal_backup_jobs set remains = ?, unclean = ? \
                         where id = ? and fence = ? and {condition}"
                    ));
                    let result = sqlx::query(sql)
                        .bind(stored(&remains)?)
                        .bind(i64::from(!remains.is_empty()))
                        .bind(id.to_string())
                        .bind(fence)
                        .execute(&db.pool)
                        .await?;
                    Ok(result.rows_affected() == 1)
                }
            })
            .await
    }

    /// Finished jobs that left something, by id, those after `after`.
    pub(crate) async fn unclean(&self, after: String) -> Result<Vec<Row>, CatalogError> {
        self.0
            .run(move |db| {
                let after = after.clone();
                async move {
                    let sql = db.sql(&format!(
                        "select {COLUMNS} from portal_backup_jobs where unclean = 1 and id > ? \
                         and state in ('succeeded', 'failed', 'cancelled') order by id limit 20"
                    ));
                    let rows = sqlx::query(sql).bind(after).fetch_all(&db.pool).await?;
                    rows.iter().map(read).collect()
                }
            })
            .await
    }
}

async fn publish(
    db: &Db,
    id: Uuid,
    fence: i64,
    publication: Publication,
) -> Result<bool, CatalogError> {
    let Publication { outcome, attempt, progress, warnings: (warnings, omitted), remains } =
        publication;
    let requeued = matches!(outcome, Outcome::Requeued);
    let (state, error, finished) = match outcome {
        Outcome::Succeeded(finished) => (JobState::Succeeded, None, *finished),
        Outcome::Failed(error) => (JobState::Failed, Some(error), Finished::default()),
        Outcome::Cancelled => (JobState::Cancelled, None, Finished::default()),
        Outcome::Requeued => (JobState::Queued, None, Finished::default()),
    };
    let archive_id =
        finished.archive.as_ref().map(|archive| archive.id).or(finished.verified.map(|(id, _)| id));
    // A job that goes back keeps what it excludes.
    let end = if requeued { "" } else { "finished_on = {now}, exclusive_key = null, " };
    let mut transaction = db.pool.begin().await?;
    let sql = db.sql(&format!(
        "update portal_backup_jobs set {end}state = ?, owner = null, lease_until = null, attempt = ?, \
         progress = ?, warnings = ?, warnings_omitted = ?, remains = ?, unclean = ?, error = ?, \
         archive_id = coalesce(?, archive_id) where id = ? and fence = ? and state = 'running'"
    ));
    let updated = sqlx::query(sql)
        .bind(to_word(&state)?)
        .bind(i64::from(attempt))
        .bind(to_json(&progress)?)
        .bind(to_json(&warnings)?)
        .bind(to_number(omitted))
        .bind(stored(&remains)?)
        .bind(i64::from(!remains.is_empty()))
        .bind(error)
        .bind(archive_id.map(|id| id.to_string()))
        .bind(id.to_string())
        .bind(fence)
        .execute(&mut *transaction)
        .await?;
    if updated.rows_affected() == 0 {
        transaction.rollback().await?;
        // The end of a run leaves the fence as it was.
        let sql = db.sql("select state from portal_backup_jobs where id = ? and fence = ?");
        let row =
            sqlx::query(sql).bind(id.to_string()).bind(fence).fetch_optional(&db.pool).await?;
        return Ok(match row {
            Some(row) => Columns(&row).word::<JobState>("state")? == state,
            None => false,
        });
    }
    if let Some(archive) = &finished.archive {
        archives::insert(&mut transaction, db.dialect, archive).await?;
        copies::insert(&mut transaction, db, archive.id, &finished.copies).await?;
    }
    if let Some((id, at)) = finished.verified {
        archives::mark_verified(&mut transaction, db, id, at).await?;
    }
    if let Some((id, at)) = finished.proved {
        archives::mark_proved(&mut transaction, db, id, at).await?;
    }
    if let Some(copied) = &finished.copied {
        copies::mark_stored(&mut transaction, db, copied).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

fn stored(remains: &[Remains]) -> Result<Option<String>, CatalogError> {
    if remains.is_empty() { Ok(None) } else { to_json(&remains).map(Some) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalog::{ArchiveRecord, Catalog, Copied, CopyRecord, CopyState};
    use crate::config::Secret;
    use crate::jobs::{JobKind, NewJob};

    fn publication(outcome: Outcome) -> Publication {
        Publication {
            outcome,
            attempt: 1,
            progress: ProgressView::default(),
            warnings: (Vec::new(), 0),
            remains: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_result_is_published_whole_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
        let catalog = Catalog::open(&url).await.unwrap();
        let jobs = Jobs(&catalog);
        let new = NewJob {
            kind: JobKind::Backup,
            tenant_id: 1,
            dump: true,
            request: serde_json::Value::Null,
            exclusive: Some("dump".to_owned()),
            archive_id: None,
        };
        let id = Uuid::new_v4();
        assert!(jobs.insert(id, new).await.unwrap());
        let lease = Duration::from_secs(60);
        let fence = jobs.claim("a".to_owned(), lease, None, &[]).await.unwrap().unwrap().fence;
        assert!(jobs.claim("b".to_owned(), lease, None, &[]).await.unwrap().is_none());

        // An archive that cannot be recorded leaves the job as it was.
        let known = ArchiveRecord::sample();
        assert!(catalog.archives().insert(&known).await.unwrap());
        let made = |archive| {
            let finished = Finished::archive(archive);
            publication(Outcome::Succeeded(Box::new(finished)))
        };
        assert!(jobs.publish(id, fence, made(known)).await.is_err());
        let row = jobs.get(id).await.unwrap().unwrap();
        assert_eq!((row.job.state, row.job.archive_id), (JobState::Running, None));

        let archive = ArchiveRecord::sample();
        assert!(!jobs.publish(id, fence - 1, made(archive.clone())).await.unwrap());
        assert!(jobs.publish(id, fence, made(archive.clone())).await.unwrap());
        // Its answer was lost, so it is asked again.
        assert!(jobs.publish(id, fence, made(archive.clone())).await.unwrap());
        let failed = publication(Outcome::Failed("x".to_owned()));
        assert!(!jobs.publish(id, fence, failed).await.unwrap());
        let row = jobs.get(id).await.unwrap().unwrap();
        assert_eq!((row.job.state, row.job.archive_id), (JobState::Succeeded, Some(archive.id)));
        assert!(jobs.holder("dump".to_owned()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_copy_that_nobody_waits_for_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
        let catalog = Catalog::open(&url).await.unwrap();
        let jobs = Jobs(&catalog);
        let run = async |outcome: Outcome| {
            let new = NewJob {
                kind: JobKind::Copy,
                tenant_id: 1,
                dump: true,
                request: serde_json::Value::Null,
                exclusive: None,
                archive_id: None,
            };
            let id = Uuid::new_v4();
            assert!(jobs.insert(id, new).await.unwrap());
            let lease = Duration::from_secs(60);
            let claimed = jobs.claim("a".to_owned(), lease, Some(id), &[]).await.unwrap().unwrap();
            let published = jobs.publish(id, claimed.fence, publication(outcome)).await;
            (published, jobs.get(id).await.unwrap().unwrap().job.state)
        };
        let archive = ArchiveRecord::sample();
        let copied = |object: &str| {
            let copied = Copied {
                archive_id: archive.id,
                name: "disk".to_owned(),
                object: object.to_owned(),
                url: format!("file:///{object}"),
                at: jiff::Timestamp::now(),
                locked_until: None,
            };
            let finished = Finished { copied: Some(copied), ..Finished::default() };
            Outcome::Succeeded(Box::new(finished))
        };
        let copies = vec!["disk".to_owned()];
        let made = Finished { copies, ..Finished::archive(archive.clone()) };
        run(Outcome::Succeeded(Box::new(made))).await.0.unwrap();
        assert!(run(copied("x")).await.0.unwrap());
        let objects = async || {
            let copies = catalog.copies().of(&[archive.id]).await.unwrap();
            let copies = copies.into_values().flatten();
            copies.map(|copy| copy.object.unwrap()).collect::<Vec<_>>()
        };
        let superseded = |published| matches!(published, Err(CatalogError::Superseded(_)));
        // Another job has made it.
        let (published, state) = run(copied("x_2")).await;
        assert!(superseded(published) && state == JobState::Running);
        assert_eq!(objects().await, ["x"]);
        // Its row as it was before it was stored forgets nothing.
        let stored = catalog.copies().of(&[archive.id]).await.unwrap()[&archive.id][0].clone();
        let stale = CopyRecord { state: CopyState::Waiting, url: None, ..stored.clone() };
        assert!(!catalog.copies().save(&stale, &stale).await.unwrap());
        assert!(!catalog.copies().forget(&stale).await.unwrap());
        assert_eq!(objects().await, ["x"]);
        // The archive was deleted.
        assert!(catalog.copies().forget(&stored).await.unwrap());
        assert!(superseded(run(copied("x_3")).await.0));
    }
}
