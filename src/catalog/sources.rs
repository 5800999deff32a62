//! The table of databases and filesystems that restores made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, is_unique_violation, to_word};
use super::{Catalog, CatalogError};

const COLUMNS: &str = "source_kind, name, url, source_options, document, restored_index, job_id, ready, made, created_on";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Database,
    Filesystem,
}

/// A database or filesystem that a restore made, or is making.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRecord {
    pub kind: SourceKind,
    /// Unique for its kind, in any case of its letters.
    pub name: String,
    /// Sealed by the caller, as are `options` and `document`.
    pub url: String,
    pub options: String,
    pub document: String,
    /// The index that belongs to it, sealed by the caller.
    pub restored_index: Option<String>,
    /// The restore.
    pub job_id: Uuid,
    pub ready: bool,
    /// Whether the restore made the place itself.
    pub made: bool,
    pub created_on: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub struct Sources<'c> {
    pub(super) catalog: &'c Catalog,
}

/// The form in which names are compared.
pub(super) fn key(name: &str) -> String {
    name.to_lowercase()
}

impl Sources<'_> {
    /// False: the name is taken.
    pub async fn insert(&self, record: &SourceRecord) -> Result<bool, CatalogError> {
        let record = record.clone();
        self.catalog
            .run(move |db| {
                let record = record.clone();
                async move {
                    let sql = db.sql(&format!(
                        "insert into portal_backup_sources ({COLUMNS}, name_key) \
                         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    ));
                    let result = sqlx::query(sql)
                        .bind(to_word(&record.kind)?)
                        .bind(record.name.clone())
                        .bind(record.url)
                        .bind(record.options)
                        .bind(record.document)
                        .bind(record.restored_index)
                        .bind(record.job_id.to_string())
                        .bind(i64::from(record.ready))
                        .bind(i64::from(record.made))
                        .bind(record.created_on.as_millisecond())
                        .bind(key(&record.name))
                        .execute(&db.pool)
                        .await;
                    match result {
                        Ok(_) => Ok(true),
                        Err(error) if is_unique_violation(&error) => Ok(false),
                        Err(error) => Err(error.into()),
                    }
                }
            })
            .await
    }

    /// By its name, be it ready or not.
    pub async fn get(
        &self,
        kind: SourceKind,
        name: &str,
    ) -> Result<Option<SourceRecord>, CatalogError> {
        let found =
            self.chosen("source_kind = ? and name_key = ?", vec![to_word(&kind)?, key(name)]);
        Ok(found.await?.into_iter().next())
    }

    pub async fn of_job(&self, job: Uuid) -> Result<Option<SourceRecord>, CatalogError> {
        Ok(self.chosen("job_id = ?", vec![job.to_string()]).await?.into_iter().next())
    }

    /// All that are ready, the oldest first.
    pub async fn ready(&self) -> Result<Vec<SourceRecord>, CatalogError> {
        self.chosen("ready = 1", Vec::new()).await
    }

    async fn chosen(
        &self,
        condition: &'static str,
        values: Vec<String>,
    ) -> Result<Vec<SourceRecord>, CatalogError> {
        self.catalog
            .run(move |db| {
                let values = values.clone();
                async move {
                    let sql = db.sql(&format!(
                        "select {COLUMNS} from portal_backup_sources where {condition} \
                         order by created_on, name_key"
                    ));
                    let query = values.into_iter().fold(sqlx::query(sql), |query, v| query.bind(v));
                    query.fetch_all(&db.pool).await?.iter().map(read).collect()
                }
            })
            .await
    }

    /// The restore of this job made the place itself.
    pub async fn set_made(&self, job: Uuid) -> Result<(), CatalogError> {
        self.change("update portal_backup_sources set made = 1 where job_id = ?", job).await
    }

    /// The restore of this job has succeeded: from now on its source is served; or no longer.
    pub async fn set_ready(&self, job: Uuid, ready: bool) -> Result<(), CatalogError> {
        let text = match ready {
            true => "update portal_backup_sources set ready = 1 where job_id = ?",
            false => "update portal_backup_sources set ready = 0 where job_id = ?",
        };
        self.change(text, job).await
    }

    /// Forgets what the restore of this job was making.
    pub async fn forget(&self, job: Uuid) -> Result<(), CatalogError> {
        self.change("delete from portal_backup_sources where job_id = ? and ready = 0", job).await
    }

    async fn change(&self, text: &'static str, job: Uuid) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                sqlx::query(db.sql(text)).bind(job.to_string()).execute(&db.pool).await?;
                Ok(())
            })
            .await
    }
}

fn read(row: &AnyRow) -> Result<SourceRecord, CatalogError> {
    let row = Columns(row);
    Ok(SourceRecord {
        kind: row.word("source_kind")?,
        name: row.text("name")?,
        url: row.text("url")?,
        options: row.text("source_options")?,
        document: row.text("document")?,
        restored_index: row.optional_text("restored_index")?,
        job_id: row.id("job_id")?,
        ready: row.flag("ready")?,
        made: row.flag("made")?,
        created_on: row.time("created_on")?,
    })
}
