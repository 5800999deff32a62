//! The table of copies: which further storages have an archive.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, Db, to_word};
use super::{Catalog, CatalogError};

const COLUMNS: &str = "archive_id, name, state, object_name, url, job_id, attempts, next_try, \
    verified_on, locked_until, error";
/// How many archives are asked for in one question.
const BATCH: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// Not made yet.
    Waiting,
    /// Read back and compared.
    Stored,
    /// The last try failed; there will be another.
    Failed,
    /// Somebody stopped it; it is not tried again.
    Cancelled,
    /// It was stored, and is gone.
    Missing,
    /// It was stored where the configuration no longer points. Written only when its archive is deleted.
    Unreachable,
}

/// What is known of an archive in one further storage.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyRecord {
    pub archive_id: Uuid,
    /// The storage's name in the configuration.
    pub name: String,
    pub state: CopyState,
    /// Its name in that storage, once it is there.
    pub object: Option<String>,
    /// Where it lies, without credentials.
    pub url: Option<String>,
    /// The job that makes it, until its end was taken note of.
    pub job_id: Option<Uuid>,
    pub attempts: u32,
    pub next_try: Option<Timestamp>,
    pub verified_on: Option<Timestamp>,
    pub locked_until: Option<Timestamp>,
    pub error: Option<String>,
}

/// A copy that was stored, read back and found equal.
#[derive(Debug, Clone)]
pub struct Copied {
    pub archive_id: Uuid,
    pub name: String,
    pub object: String,
    pub url: String,
    pub at: Timestamp,
    pub locked_until: Option<Timestamp>,
}

/// The copies of a catalog.
#[derive(Debug, Clone, Copy)]
pub struct Copies<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Copies<'_> {
    /// The copies of these archives, in the order of their names.
    pub async fn of(
        &self,
        archives: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<CopyRecord>>, CatalogError> {
        let mut found: HashMap<Uuid, Vec<CopyRecord>> = HashMap::new();
        for batch in archives.chunks(BATCH) {
            let ids: Vec<_> = batch.iter().map(Uuid::to_string).collect();
            let marks = vec!["?"; ids.len()].join(", ");
            for copy in self.list(format!("archive_id in ({marks})"), ids).await? {
                found.entry(copy.archive_id).or_default().push(copy);
            }
        }
        Ok(found)
    }

    /// Those that are still to be made, of archives that are still there.
    pub async fn unfinished(&self) -> Result<Vec<CopyRecord>, CatalogError> {
        let chosen = "state in ('waiting', 'failed') and exists (select 1 from portal_backup_archives \
                      where id = archive_id and removed_on is null)";
        self.list(chosen.to_owned(), Vec::new()).await
    }

    /// Those of deleted archives that lay where nobody could delete them.
    pub async fn left(&self) -> Result<Vec<CopyRecord>, CatalogError> {
        let chosen = "state = 'unreachable' and exists (select 1 from portal_backup_archives \
                      where id = archive_id and removed_on is not null)";
        self.list(chosen.to_owned(), Vec::new()).await
    }

    async fn list(
        &self,
        chosen: String,
        values: Vec<String>,
    ) -> Result<Vec<CopyRecord>, CatalogError> {
        self.catalog
            .run(move |db| {
                let (chosen, values) = (chosen.clone(), values.clone());
                async move {
                    let sql = db.sql(&format!(
                        "select {COLUMNS} from portal_backup_copies where {chosen} \
                         order by archive_id, name"
                    ));
                    let query = values.into_iter().fold(sqlx::query(sql), sqlx::query::Query::bind);
                    query.fetch_all(&db.pool).await?.iter().map(read).collect()
                }
            })
            .await
    }

    /// Writes a copy's row, unless another process has changed how far it is or whose job it is: then false.
    pub async fn save(&self, copy: &CopyRecord, before: &CopyRecord) -> Result<bool, CatalogError> {
        let (copy, state, job) = (copy.clone(), before.state, before.job_id);
        self.catalog
            .run(move |db| {
                let copy = copy.clone();
                async move {
                    let sql = db.sql(
                        "update portal_backup_copies set state = ?, job_id = ?, attempts = ?, \
                         next_try = ?, error = ? where archive_id = ? and name = ? \
                         and state = ? and coalesce(job_id, '') = ?",
                    );
                    let saved = sqlx::query(sql)
                        .bind(to_word(&copy.state)?)
                        .bind(copy.job_id.map(|id| id.to_string()))
                        .bind(i64::from(copy.attempts))
                        .bind(copy.next_try.map(Timestamp::as_millisecond))
                        .bind(copy.error.clone())
                        .bind(copy.archive_id.to_string())
                        .bind(copy.name.clone())
                        .bind(to_word(&state)?)
                        .bind(job.map(|id| id.to_string()).unwrap_or_default())
                        .execute(&db.pool)
                        .await?;
                    Ok(saved.rows_affected() == 1)
                }
            })
            .await
    }

    /// Lets a copy be made again, in the place of the object that is named.
    pub async fn renew(&self, archive: Uuid, name: &str, object: &str) -> Result<(), CatalogError> {
        let (name, object) = (name.to_owned(), object.to_owned());
        self.catalog
            .run(move |db| {
                let (name, object) = (name.clone(), object.clone());
                async move {
                    let sql = db.sql(
                        "update portal_backup_copies set state = 'waiting', object_name = null, \
                         url = null, attempts = 0, next_try = null, verified_on = null, \
                         locked_until = null, error = null \
                         where archive_id = ? and name = ? and object_name = ?",
                    );
                    let renew = sqlx::query(sql).bind(archive.to_string()).bind(name).bind(object);
                    renew.execute(&db.pool).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Forgets a copy, unless it lies elsewhere by now: then false.
    pub async fn forget(&self, copy: &CopyRecord) -> Result<bool, CatalogError> {
        let copy = copy.clone();
        self.catalog
            .run(move |db| {
                let copy = copy.clone();
                async move {
                    let sql = db.sql(
                        "delete from portal_backup_copies where archive_id = ? and name = ? \
                         and coalesce(url, '') = ?",
                    );
                    let forget = sqlx::query(sql)
                        .bind(copy.archive_id.to_string())
                        .bind(copy.name)
                        .bind(copy.url.unwrap_or_default());
                    Ok(forget.execute(&db.pool).await?.rows_affected() == 1)
                }
            })
            .await
    }
}

/// Notes within a transaction that an archive is to be sent to these storages.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    db: &Db,
    archive: Uuid,
    names: &[String],
) -> Result<(), CatalogError> {
    for name in names {
        let sql = db.sql(
            "insert into portal_backup_copies (archive_id, name, state, attempts) \
             values (?, ?, 'waiting', 0)",
        );
        let query = sqlx::query(sql).bind(archive.to_string()).bind(name.clone());
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes within a transaction that a copy is there. `Superseded`: nobody waits for it any more.
pub(super) async fn mark_stored(
    connection: &mut AnyConnection,
    db: &Db,
    copied: &Copied,
) -> Result<(), CatalogError> {
    let sql = db.sql(
        "update portal_backup_copies set state = 'stored', object_name = ?, url = ?, job_id = null, \
         next_try = null, verified_on = ?, locked_until = ?, error = null \
         where archive_id = ? and name = ? and state <> 'stored'",
    );
    let stored = sqlx::query(sql)
        .bind(copied.object.clone())
        .bind(copied.url.clone())
        .bind(copied.at.as_millisecond())
        .bind(copied.locked_until.map(Timestamp::as_millisecond))
        .bind(copied.archive_id.to_string())
        .bind(copied.name.clone())
        .execute(connection)
        .await?;
    match stored.rows_affected() {
        0 => Err(CatalogError::Superseded(
            "the archive was deleted, or another job has made the copy, while this one was made",
        )),
        _ => Ok(()),
    }
}

fn read(row: &AnyRow) -> Result<CopyRecord, CatalogError> {
    let row = Columns(row);
    Ok(CopyRecord {
        archive_id: row.id("archive_id")?,
        name: row.text("name")?,
        state: row.word("state")?,
        object: row.optional_text("object_name")?,
        url: row.optional_text("url")?,
        job_id: row.optional_id("job_id")?,
        attempts: u32::try_from(row.number("attempts")?).unwrap_or(u32::MAX),
        next_try: row.optional_time("next_try")?,
        verified_on: row.optional_time("verified_on")?,
        locked_until: row.optional_time("locked_until")?,
        error: row.optional_text("error")?,
    })
}
