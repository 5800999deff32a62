//! The table of copies that sensenet's API made of the index.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, is_unique_violation, to_number};
use super::{Catalog, CatalogError};

/// A copy, as far as it is or got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexCopy {
    pub job_id: Uuid,
    /// As it was asked for.
    pub target: String,
    pub started_on: Option<Timestamp>,
    /// Only of those that succeeded.
    pub finished_on: Option<Timestamp>,
    pub total_bytes: u64,
    pub copied_bytes: u64,
    pub files: u64,
    pub copied_files: u64,
    /// The file being copied.
    pub current_file: Option<String>,
    /// Why it failed or was cancelled.
    pub message: Option<String>,
}

#[derive(Clone, Copy)]
pub struct IndexCopies<'c> {
    pub(super) catalog: &'c Catalog,
}

const COLUMNS: &str = "job_id, target, started_on, finished_on, total_bytes, copied_bytes, files, \
    copied_files, current_file, message";

impl IndexCopies<'_> {
    /// Notes that a copy was asked for; fine when it is noted already.
    pub async fn insert(&self, job_id: Uuid, target: &str) -> Result<(), CatalogError> {
        let target = target.to_owned();
        self.catalog
            .run(move |db| {
                let target = target.clone();
                async move {
                    let sql = db.sql(
                        "insert into portal_backup_index_copies (job_id, target, created_on, total_bytes, \
                         copied_bytes, files, copied_files) values (?, ?, {now}, 0, 0, 0, 0)",
                    );
                    let done =
                        sqlx::query(sql).bind(job_id.to_string()).bind(target).execute(&db.pool).await;
                    match done {
                        Err(error) if !is_unique_violation(&error) => Err(error.into()),
                        _ => Ok(()),
                    }
                }
            })
            .await
    }

    /// Writes how far a copy is; nothing when it is not noted.
    pub async fn save(&self, copy: &IndexCopy) -> Result<(), CatalogError> {
        let copy = copy.clone();
        self.catalog
            .run(move |db| {
                let copy = copy.clone();
                async move {
                    let sql = db.sql(
                        "update portal_backup_index_copies set started_on = ?, finished_on = ?, \
                         total_bytes = ?, copied_bytes = ?, files = ?, copied_files = ?, \
                         current_file = ?, message = ? where job_id = ?",
                    );
                    sqlx::query(sql)
                        .bind(copy.started_on.map(Timestamp::as_millisecond))
                        .bind(copy.finished_on.map(Timestamp::as_millisecond))
                        .bind(to_number(copy.total_bytes))
                        .bind(to_number(copy.copied_bytes))
                        .bind(to_number(copy.files))
                        .bind(to_number(copy.copied_files))
                        .bind(copy.current_file)
                        .bind(copy.message)
                        .bind(copy.job_id.to_string())
                        .execute(&db.pool)
                        .await?;
                    Ok(())
                }
            })
            .await
    }

    /// The newest copies, the oldest of them first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<IndexCopy>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(&format!(
                    "select {COLUMNS} from portal_backup_index_copies \
                     order by created_on desc, job_id limit ?"
                ));
                let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&db.pool).await?;
                rows.iter().rev().map(read).collect()
            })
            .await
    }
}

fn read(row: &AnyRow) -> Result<IndexCopy, CatalogError> {
    let row = Columns(row);
    Ok(IndexCopy {
        job_id: row.id("job_id")?,
        target: row.text("target")?,
        started_on: row.optional_time("started_on")?,
        finished_on: row.optional_time("finished_on")?,
        total_bytes: row.count("total_bytes")?,
        copied_bytes: row.count("copied_bytes")?,
        files: row.count("files")?,
        copied_files: row.count("copied_files")?,
        current_file: row.optional_text("current_file")?,
        message: row.optional_text("message")?,
    })
}
